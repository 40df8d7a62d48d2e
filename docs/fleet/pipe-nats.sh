#!/bin/sh
# pipe-nats.sh FILE: FILE is for the cursors.
here=$(dirname "$0")
runlog tail --all -f --json --cursor-file "$1" | python3 "$here/publish.py"
