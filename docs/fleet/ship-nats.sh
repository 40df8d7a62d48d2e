#!/bin/sh
# ship-nats.sh DIR: DIR is for the cursors.
here=$(dirname "$0")
exec sh "$here/ship.sh" "$1" python3 "$here/publish.py"
