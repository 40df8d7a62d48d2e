#!/bin/sh
# ship-postgres.sh DIR [HOST]: DIR is for the cursors.
here=$(dirname "$0")
exec sh "$here/ship.sh" "$1" psql -X -v host="${2:-$(uname -n)}" -f "$here/store.sql"
