# shellcheck shell=bash
# ClickHouse, as a Python library, reads the segments of many volumes.
# shellcheck source-path=SCRIPTDIR source=../volumes.sh
source "$FLEET_HERE/volumes.sh"

install() {
    need jq jq
    need_python chdb==4.4.0
}

start() {
    volumes
}

check() {
    cp "$(recipe question.clickhouse.sql)" "$VOLUMES"
    pass "the answer of runlog status" agrees clickhouse sh -e "$(recipe question.clickhouse.sh)"
    pass "each event once" reads_as_runlog question.clickhouse.sql \
        python -c 'import chdb, sys; print(chdb.query(open(sys.argv[1]).read(), "JSONEachRow"))' \
        "$WORK/events.sql"
}
