# shellcheck shell=bash
# rsyslog: imfile follows the segments, over rotation and over restarts of rsyslog.
# shellcheck source-path=SCRIPTDIR source=../events.sh
source "$FLEET_HERE/events.sh"

install() {
    need_packages rsyslog rsyslog-relp
}

start() {
    RELP_PORT=$(free_port)
    export RELP_PORT RUNLOG_VOLUME="$WORK/volume"
    export RSYSLOG_FOLDER="$WORK/spool" COLLECTOR_FOLDER="$WORK/collector"
    mkdir "$RSYSLOG_FOLDER" "$COLLECTOR_FOLDER"
    shipper=$(fill rsyslog.conf)
    service collector rsyslogd -n -i "$WORK/collector.pidfile" -f "$(fill collector.conf)"
    within 20 listening
    new_volume volume
    start_shipper
}

listening() {
    : <"/dev/tcp/127.0.0.1/$RELP_PORT"
}

start_shipper() {
    service shipper rsyslogd -n -i "$WORK/shipper.pidfile" -f "$shipper"
}

# arrived: whether each line of the log is there, whole, and nothing else is. Lines may be there
# twice.
arrived() {
    same <(runlog tail --all -n all --json) <(sort -u "$COLLECTOR_FOLDER/events.jsonl")
}

check() {
    pass "what was there" within 30 arrived
    ROTATE=--no-compress write_events volume 10
    pass "runs that appear, and segments that are sealed" within 30 arrived

    stop shipper
    ROTATE=--no-compress write_events volume 5
    start_shipper
    pass "what came while it was stopped, sealed segments too" within 30 arrived

    ROTATE=--no-compress write_events volume 20 &
    local writer=$!
    for _ in 1 2 3 4 5; do
        sleep "0.$((RANDOM % 10))"
        stop shipper
        start_shipper
    done
    wait "$writer"
    pass "restarted 5 times while it was written" within 30 arrived
    wc -l "$COLLECTOR_FOLDER/events.jsonl"
}
