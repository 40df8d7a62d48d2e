# shellcheck shell=bash
# PostgreSQL: batches are transactions, and the key removes duplicates.
# shellcheck source-path=SCRIPTDIR source=../events.sh
source "$FLEET_HERE/events.sh"

install() {
    need psql postgresql-client
    if ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
        need_packages postgresql
    fi
}

start() {
    PGPORT=$(free_port)
    export PGHOST=127.0.0.1 PGPORT PGUSER=runlog PGDATABASE=postgres
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    data="$WORK/data"
    mkdir "$data"
    # The server refuses to run as root.
    owner=()
    if ((EUID == 0)); then
        chown postgres: "$data"
        owner=(setpriv --reuid=postgres --regid=postgres --init-groups)
    fi
    (cd "$data" && "${owner[@]}" "$bin/initdb" -D . -A trust -U "$PGUSER" -E UTF8 >"$WORK/initdb.log")
    start_server
    psql -Xq -f "$(recipe events.sql)"
}

start_server() {
    service postgres "${owner[@]}" "$bin/postgres" -D "$data" -h "$PGHOST" -p "$PGPORT" -k ''
    within 30 psql -Xqc 'select 1'
}

stored() {
    psql -XAtc "select id from events where host = '$1'"
}

# arrived HOST: returns whether each event of its volume is stored exactly once.
arrived() {
    same <(ids "$WORK/$1") <(stored "$1")
}

ship() {
    RUNLOG_VOLUME="$WORK/$1" service "ship-$1" sh "$shipper" "$WORK/ship-$1" "$1"
}

more_handed_over_than_stored() {
    grep -h -e '^COPY ' -e '^INSERT ' ./*.log |
        awk '/^COPY/ { handed += $2 } /^INSERT/ { stored += $3 } END { exit handed <= stored }'
}

# The numbers of the fleet, according to the database and the volumes.
by_database() {
    psql -XAtF, -f "$(recipe fleet.sql)" | awk -F, -v OFS=, '{ print $1, $2, $3, $4, $6 }'
}

by_volumes() {
    local host
    for host in alpha beta; do
        runlog -C "$host" status --json | jq -rs --arg host "$host" '
            map(select(.closed_ts)) | group_by(.name)[]
            | [.[0].name, $host, length, (map(select(.state == "failed")) | length),
               (map(.jobs[].max_rss_bytes) | max)] | join(",")'
    done
}

check() {
    shipper=$(recipe ship-postgres.sh)
    recipe ship.sh >/dev/null
    recipe store.sql >/dev/null

    new_volume alpha
    keep_writing alpha
    SHIP_PAUSE=0.01 RUNLOG_VOLUME="$WORK/alpha" \
        crash 40 "all sh runlog psql" sh "$shipper" "$WORK/ship-alpha" alpha
    enough
    ship alpha
    pass "every event once, shipper killed 40 times ($KILLED)" within 120 arrived alpha
    pass "lines are kept byte for byte" same \
        <(runlog -C alpha tail --all -n all --json) <(psql -XAtc 'select line from events')

    # The database dies in the middle. The shipper exits and is started again.
    stop postgres KILL
    write_events alpha 2
    within 120 not running ship-alpha
    start_server
    stop ship-alpha
    rm ship-alpha/cursors
    ship alpha
    pass "every event once, database killed, shipped from the start again" within 120 arrived alpha
    pass "the key dropped what came twice" within 120 more_handed_over_than_stored

    new_volume beta
    write_events beta 3
    ship beta
    pass "a second host" within 120 arrived beta
    by_database >by-database
    by_volumes >by-volumes
    pass "failures and memory by name and host as runlog status tells them" same by-database by-volumes
    pass "they tell of $(wc -l <by-volumes) names on hosts" test "$(wc -l <by-volumes)" -eq 6
}
