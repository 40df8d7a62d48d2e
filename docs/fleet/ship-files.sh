#!/bin/sh
# ship-files.sh DIR: each batch becomes a file in DIR/batches.
here=$(dirname "$0")
mkdir -p "$1/batches"
# shellcheck disable=SC2016 # It is for the inner shell, whose $0 is DIR.
exec sh "$here/ship.sh" "$1" sh -euc '
    cat >"$0/new"
    sync "$0/new"
    mv "$0/new" "$0/batches/$(date +%s.%N).jsonl"' "$1"
