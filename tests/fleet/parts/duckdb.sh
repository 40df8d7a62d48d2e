# shellcheck shell=bash
# DuckDB reads the segments of many volumes, and the output of `runlog status`.
# shellcheck source-path=SCRIPTDIR source=../volumes.sh
source "$FLEET_HERE/volumes.sh"

install() {
    need jq jq
    need_python duckdb-cli==1.5.6
}

start() {
    volumes
}

check() {
    cp "$(recipe question.duckdb.sql)" "$VOLUMES"
    pass "the answer of runlog status" agrees duckdb sh -e "$(recipe question.duckdb.sh)"
    pass "each event once" reads_as_runlog question.duckdb.sql duckdb -jsonlines -f "$WORK/events.sql"
    cp "$(recipe shipped.sql)" "$VOLUMES"
    pass "the same from lines of runlog status" agrees shipped sh -e "$(recipe shipped.sh)"
}
