# shellcheck shell=bash
# The query with `runlog status` itself, and checks that the volumes contain every case.
# shellcheck source-path=SCRIPTDIR source=../volumes.sh
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
    jq -cs 'reduce (.[] | del(.name, .host, .failure_percent, .max_rss_bytes) | to_entries[]) as $e
        ({}; .[$e.key] += $e.value) | ., all(.[]; . >= 40)
        ' "$WORK/status.jsonl" >"$WORK/sums"
    pass "runs of each kind: $(head -n 1 "$WORK/sums")" grep -qx true "$WORK/sums"
    # shellcheck disable=SC2016 # That of jq.
    pass "names, hosts and what is not known" jq -es '
        (map(.host) | unique | length) == 5 and (map(.name) | unique | length) >= 30
        and any(.failure_percent == null) and any(.max_rss_bytes == null)
        and (map(.max_rss_bytes) | max) > 20000000' "$WORK/status.jsonl"
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
