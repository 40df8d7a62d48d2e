#!/bin/sh
# ship.sh DIR COMMAND...: passes new events of the volume to COMMAND, which stores its
# standard input and exits with 0. DIR is for the cursors. Exits with the code of the command
# that failed, and continues there when it is started again.
set -eu
dir=$1
shift
mkdir -p "$dir"
# One at a time. The children of a killed one hold the lock too until they exit.
exec 9>"$dir/lock"
flock 9
while :; do
    # A copy that a crash left may be ahead of the store.
    rm -f "$dir/next"
    if [ -e "$dir/cursors" ]; then
        cp "$dir/cursors" "$dir/next"
    fi
    code=0
    runlog tail --all --json --cursor-file "$dir/next" >"$dir/batch" || code=$?
    # 5: damage or a gap, which stderr and the batch report.
    case $code in
    0 | 5) ;;
    *) exit "$code" ;;
    esac
    if [ -s "$dir/batch" ]; then
        "$@" <"$dir/batch"
        mv "$dir/next" "$dir/cursors"
    fi
    sleep "${SHIP_PAUSE:-1}"
done
