# shellcheck shell=bash
# rsyslog: imfile follows the segments across rotations and restarts of rsyslog.
# shellcheck source-path=SCRIPTDIR source=../events.sh
source "$FLEET_HERE/events.sh"

install() {
    need_packages rsyslog rsyslog-relp
}

start() {
    RELP_PORT=$(free_port)
    export RELP_PORT RUNLOG_VOLUME="$WORK/volume"
    export RSYSLOG_DIR="$WORK/state" COLLECTOR_DIR="$WORK/collector"
    mkdir "$RSYSLOG_DIR" "$COLLECTOR_DIR"
    service collector rsyslogd -n -i "$WORK/collector.pidfile" -f "$(fill collector.conf)"
    within 20 listening
    new_volume volume
    export RUNLOG_FILES="$RUNLOG_VOLUME/.omne/var/runs/*/events*.jsonl"
    shipper=$(fill rsyslog.conf)
    start_shipper
}

listening() {
    : <"/dev/tcp/127.0.0.1/$RELP_PORT"
}

start_shipper() {
    rm -f "$WORK/shipper.pidfile"
    service shipper rsyslogd -n -i "$WORK/shipper.pidfile" -f "$shipper"
    # rsyslog may miss a signal that arrives earlier.
    within 20 test -s "$WORK/shipper.pidfile"
}

# arrived: returns whether each line of the log has arrived complete, and nothing else. Lines may
# arrive twice.
arrived() {
    same <(runlog tail --all -n all --json) <(sort -u "$COLLECTOR_DIR/events.jsonl")
}

# noted NAME: returns whether a note with this name has arrived.
noted() {
    grep -qs "\"name\":\"$1\"" "$COLLECTOR_DIR/events.jsonl"
}

# has_read FILE: returns whether the shipper has read it to its end, including a torn line.
has_read() {
    local fd pid size
    pid=$(cat "$WORK/shipper.pid")
    size=$(stat -c %s "$1")
    for fd in /proc/"$pid"/fd/*; do
        if [[ $fd -ef $1 ]] && grep -qsx "pos:[[:space:]]*$size" "/proc/$pid/fdinfo/${fd##*/}"; then
            return
        fi
    done
    return 1
}

# restarts TIMES SIGNAL: ends the shipper with a signal at random moments, and starts it again.
restarts() {
    local time
    for ((time = 0; time < $1; time++)); do
        sleep "0.$((RANDOM % 10))"
        stop shipper "$2"
        start_shipper
    done
}

# forget: removes the shipper's record of what it has sent, and what the collector has received.
forget() {
    stop shipper
    rm "$RSYSLOG_DIR"/imfile-state:*
    : >"$COLLECTOR_DIR/events.jsonl"
}

check() {
    check_segments
    check_limits
    forget
    check_batches
}

check_segments() {
    export ROTATE=--no-compress
    pass "what was there" within 120 arrived
    write_events volume 10
    pass "runs that appear, and segments that are sealed" within 120 arrived

    stop shipper
    write_events volume 5
    start_shipper
    pass "what came while it was stopped, sealed segments too" within 120 arrived

    keep_writing volume
    restarts 5 TERM
    enough
    pass "restarted 5 times while it was written" within 120 arrived

    keep_writing volume
    restarts 5 KILL
    enough
    forget
    start_shipper
    pass "killed 5 times, then told again from the start" within 120 arrived
    export ROTATE=
}

# Events that, according to the page, do not arrive.
check_limits() {
    local log="$RUNLOG_VOLUME/.omne/var/runs/collector/events.jsonl"
    runlog emit --run collector before-torn
    within 120 noted before-torn
    printf '{"v":1,"seq":99' >>"$log"
    within 120 has_read "$log"
    runlog emit --run collector after-torn
    within 120 noted after-torn
    pass "as the page says: a torn line that was mended is glued to the next" \
        grep -qs '^{"v":1,"seq":99.*"log_repaired"' "$COLLECTOR_DIR/events.jsonl"

    stop shipper
    runlog emit --run collector compressed
    runlog rotate collector --force >/dev/null
    runlog emit --run collector after-compressed
    start_shipper
    within 120 noted after-compressed
    pass "as the page says: what was compressed unread is missing" not noted compressed
}

check_batches() {
    recipe ship.sh >/dev/null
    export RUNLOG_FILES="$WORK/ship/batches/*.jsonl"
    shipper=$(fill rsyslog.conf)
    SHIP_PAUSE=0.1 service batches sh "$(recipe ship-files.sh)" "$WORK/ship"
    start_shipper
    pass "in batches: what was there, repaired and compressed" within 120 arrived
    keep_writing volume
    restarts 5 TERM
    enough
    pass "in batches: restarted 5 times while it was written and compressed" within 120 arrived

    keep_writing volume
    restarts 5 KILL
    enough
    forget
    start_shipper
    pass "in batches: killed 5 times, then told again from the start" within 120 arrived
}
