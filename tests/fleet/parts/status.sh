# shellcheck shell=bash
# The question, asked of `runlog status` itself; and that the volumes hold what is asked for.
# shellcheck source=../volumes.sh
source "$FLEET_HERE/volumes.sh"

install() {
    need jq jq
}

start() {
    volumes
}

check() {
    pass "status answers" answer status sh -e "$(recipe question.sh)"
    # shellcheck disable=SC2016 # That of jq.
    pass "there are runs of each kind" jq -es '
        def sum(f): map(f) | add;
        all(.runs == .completed + .failed + .running_or_lost + .open)
        and sum(.runs) > 450 and sum(.completed) > 90 and sum(.failed) > 90
        and sum(.running_or_lost) > 20 and sum(.open) > 90
        and (map(.host) | unique | length) == 4 and (map(.name) | unique | length) > 7
        and any(.failure_percent == null) and (map(.max_rss_bytes) | max) > 30000000
        ' "$WORK/status.jsonl"
    pass "some logs are damaged" damaged
    pass "some segments are compressed, and some twice there" twice
}

damaged() {
    local code=0
    runlog -C "$VOLUMES/web-1.1" status --json >"$WORK/one" 2>"$WORK/warnings" || code=$?
    cat "$WORK/warnings"
    ((code == 5)) && grep -q 'checksum' "$WORK/warnings"
}

twice() {
    local plain=("$VOLUMES"/*/.omne/var/runs/twice/events-*.jsonl)
    ((${#plain[@]} == 10)) && [[ -f ${plain[0]}.gz ]]
}
