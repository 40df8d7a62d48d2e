# shellcheck shell=bash
# Volumes with events, and the events that must arrive.

# new_volume DIR: creates a volume, with a run that stays open and has lines of every length.
new_volume() {
    mkdir -p "$1"
    runlog -C "$1" emit --run collector --open begun host='"'
    # A line of almost the maximum length, and text that breaks other programs.
    head -c 1000000 /dev/zero | tr '\0' x | runlog -C "$1" emit --run collector --lines
    # shellcheck disable=SC1003,SC2016 # Nothing in these is meant for the shell.
    printf '%s\n' '\\' '\N' '\.' '"a","b"' '<1>x' '%s $1' 'ünï ☃ 𝄞' ' ' '{"a":"\u0001\u001f\\u0000\\"}' |
        runlog -C "$1" emit --run collector --lines hostile
}

# write_events DIR ROUNDS: jobs that succeed and fail, notes, and a rotation in each round.
write_events() {
    local round
    for ((round = 0; round < $2; round++)); do
        runlog -C "$1" run -q --name build -- sh -c 'echo built'
        runlog -C "$1" run -q --name test -- sh -c "exit $((RANDOM % 3))" || true
        runlog -C "$1" run -q --name retried --retries 1 --retry-delay 1ms -- false || true
        for tick in 1 2 3; do
            runlog -C "$1" emit --no-sync --run collector tick "n=$tick"
        done
        # shellcheck disable=SC2086 # None or one.
        runlog -C "$1" rotate collector --force ${ROTATE:-} >/dev/null
    done
}

# keep_writing DIR: writes events in the background, until `enough`.
keep_writing() {
    rm -f "$WORK/enough"
    while [[ -d $WORK && ! -e $WORK/enough ]]; do
        write_events "$1" 1
    done &
    WRITER=$!
}

enough() {
    touch "$WORK/enough"
    wait "$WRITER"
}

# ids DIR: the id of every event in a volume.
ids() {
    runlog -C "$1" tail --all -n all --json | jq -r .id
}

# crash TIMES "NAME..." COMMAND...: starts the command repeatedly and kills it with SIGKILL at a
# random moment: one of its processes with one of these names, shortly after it appears, or `all`
# of them. Counts the killed processes in KILLED.
crash() {
    local times=$1 names time name victim pid end
    read -ra names <<<"$2"
    shift 2
    local -A count=()
    for ((time = 0; time < times; time++)); do
        service crashed "$@"
        pid=$(cat "$WORK/crashed.pid")
        name=${names[RANDOM % ${#names[@]}]}
        victim=
        if [[ $name == all ]]; then
            sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
        else
            # Poll without a pause, because the process may exist for only a few milliseconds.
            end=$((SECONDS + 20))
            until victim=$(pgrep -g "$pid" "$name") || ((SECONDS > end)); do :; done
            # Some take milliseconds, others have to load first.
            sleep "0.$((RANDOM % 2 * (RANDOM % 8)))$((RANDOM % 4))"
        fi
        if [[ -n $victim ]]; then
            # shellcheck disable=SC2086 # Several, if there are.
            kill -s KILL -- $victim 2>/dev/null || true
        fi
        # The others end by themselves, unless the victim had ended before.
        if [[ -z $victim ]] || ! within 5 not kill -0 "$pid" 2>/dev/null; then
            name=all
            kill -s KILL -- "-$pid" 2>/dev/null || true
        fi
        count[$name]=$((${count[$name]:-0} + 1))
        wait "$pid" 2>/dev/null || true
        if ! within 60 no_group "$pid"; then
            echo "what $* started goes on after $name was killed" >&2
            return 1
        fi
        rm "$WORK/crashed.pid"
    done
    KILLED=
    for name in "${!count[@]}"; do
        KILLED+="${KILLED:+, }$name ${count[$name]}"
    done
}
