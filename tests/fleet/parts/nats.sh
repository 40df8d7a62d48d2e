# shellcheck shell=bash
# NATS JetStream: the server drops messages with a known key.
# shellcheck source-path=SCRIPTDIR source=../events.sh
source "$FLEET_HERE/events.sh"

install() {
    need nats-server nats-server
    need_python nats-py==2.16.0
}

start() {
    NATS_PORT=$(free_port)
    export NATS_PORT NATS_DIR="$WORK/store" NATS_URL="nats://127.0.0.1:$NATS_PORT"
    conf=$(fill nats.conf)
    start_server
}

start_server() {
    service nats nats-server -c "$conf"
    within 30 stored
}

# Prints the id of each message in the stream; none if there is no stream yet.
stored() {
    python "$FLEET_HERE/read_nats.py" id
}

arrived() {
    same <(ids "$WORK/volume") <(stored)
}

check() {
    local shipper pipe
    shipper=$(recipe ship-nats.sh)
    pipe=$(recipe pipe-nats.sh)
    recipe ship.sh >/dev/null
    recipe publish.py >/dev/null
    export RUNLOG_VOLUME="$WORK/volume"

    new_volume volume
    keep_writing volume
    SHIP_PAUSE=0.01 crash 40 "all sh runlog python" sh "$shipper" "$WORK/ship"
    enough
    service ship sh "$shipper" "$WORK/ship"
    pass "every event once, shipper killed 40 times ($KILLED)" within 120 arrived
    pass "lines are kept byte for byte" same \
        <(runlog tail --all -n all --json) <(python "$FLEET_HERE/read_nats.py" line)

    # The server dies in the middle. It restores the keys from its storage.
    stop nats KILL
    write_events volume 2
    within 120 not running ship
    start_server
    stop ship
    rm -r ship
    service ship sh "$shipper" "$WORK/ship"
    pass "every event once, server killed, shipped from the start again" within 120 arrived
    pass "the server knew what came twice" within 120 grep -h ' [1-9][0-9]* known' ship.log
    stop ship

    keep_writing volume
    crash 15 runlog sh "$pipe" "$WORK/pipe.cursors"
    enough
    service pipe sh "$pipe" "$WORK/pipe.cursors"
    pass "through a pipe: every event once, tail killed 15 times ($KILLED)" within 120 arrived
    stop pipe

    keep_writing volume
    crash 15 python sh "$pipe" "$WORK/pipe.cursors"
    enough
    rm pipe.cursors
    service pipe sh "$pipe" "$WORK/pipe.cursors"
    pass "through a pipe: every event once, reader killed ($KILLED), told again from the start" \
        within 120 arrived
}
