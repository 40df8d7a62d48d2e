# shellcheck shell=bash
# Functions for the parts that run one query on many volumes. The volumes are created once.

VOLUMES=$FLEET/volumes

# volumes: creates twelve volumes of three hosts, and starts a job.
volumes() {
    if ! [[ -d $VOLUMES ]]; then
        rm -rf "$VOLUMES.new"
        mkdir "$VOLUMES.new"
        local host n maker makers=()
        for host in web-1 web-2 db.example; do
            for n in 1 2 3; do
                make_volume "$host" "$host.$n" &
                makers+=($!)
            done
        done
        make_volume web-1 'größe of "it"' many &
        makers+=($!)
        for maker in "${makers[@]}"; do
            wait "$maker"
        done
        # One volume without runs yet, and one whose runs were all removed.
        mkdir -p "$VOLUMES.new/new/.omne" "$VOLUMES.new/no-volume" "$VOLUMES.new/old"
        runlog -C "$VOLUMES.new/old" run --quiet --name backup -- true
        runlog -C "$VOLUMES.new/old" gc --max-age 0 >>"$WORK/make.log" 2>&1
        mv "$VOLUMES.new" "$VOLUMES"
    fi
    service job runlog -C "$VOLUMES/web-2.1" run --name backup -- sleep 600
    within 20 job_runs
}

make_volume() {
    "$FLEET_HERE/make_volume" "$1" "$VOLUMES.new/$2" "${3:-}" >>"$WORK/make.log" 2>&1
}

job_runs() {
    [[ $(runlog -C "$VOLUMES/web-2.1" status --state running --json | wc -l) == 1 ]]
}

# answer NAME COMMAND...: runs a command in the directory of the volumes, and saves its answer in
# NAME.jsonl.
answer() {
    local name=$1
    shift
    (cd "$VOLUMES" && "$@") >"$WORK/answer" 2>"$WORK/$name.err" || {
        tail -n 20 "$WORK/$name.err"
        return 1
    }
    # Sort the keys.
    jq -cS . "$WORK/answer" >"$WORK/$name.jsonl" || {
        head -n 5 "$WORK/answer"
        return 1
    }
}

# agrees NAME COMMAND...: returns whether the command gives the same answer as `runlog status`.
agrees() {
    answer status sh -e "$(recipe question.sh)" &&
        answer "$@" &&
        [[ $(wc -l <"$WORK/status.jsonl") -gt 10 ]] &&
        same "$WORK/status.jsonl" "$WORK/$1.jsonl"
}

# events: prints the number of events of each type that runlog reads in all volumes.
events() {
    local omne code
    for omne in */.omne; do
        code=0
        runlog -C "${omne%/.omne}" tail --all -n all --json || code=$?
        ((code == 0 || code == 5)) || return 1
    done | jq -cs 'group_by(.type)[] | {type: .[0].type, events: length}'
}

# reads_as_runlog NAME COMMAND...: returns whether the command reads the same events, each once.
# It gets the start of the query on standard input, up to `line`.
reads_as_runlog() {
    local query=$1
    shift
    answer events events &&
        sed '/^), run AS/,$d' "$VOLUMES/$query" >"$WORK/events.sql" &&
        echo ') SELECT type, count(*) AS events FROM line GROUP BY type' >>"$WORK/events.sql" &&
        answer read "$@" &&
        [[ -s $WORK/events.jsonl ]] &&
        same "$WORK/events.jsonl" "$WORK/read.jsonl"
}
