# shellcheck shell=bash
# Functions that the parts share. WORK is the directory of the part, in which it runs.

# need COMMAND PACKAGE...: installs Debian packages if the command does not exist. Services in
# them are not started.
need() {
    local command=$1
    shift
    if command -v "$command" >/dev/null; then
        return
    fi
    need_packages "$@"
}

# need_packages PACKAGE...: installs those Debian packages that are missing.
need_packages() {
    local missing=() package
    for package in "$@"; do
        if [[ $(dpkg-query -Wf '${Status}' "$package" 2>/dev/null) != *' installed' ]]; then
            missing+=("$package")
        fi
    done
    if ((${#missing[@]} == 0)); then
        return
    fi
    if [[ -z ${FLEET_APT:-} ]]; then
        apt-get update -qq
        export FLEET_APT=1
    fi
    # Level 1 is for machines without services, so none is started.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$WORK/apt.log" 2>&1
}

# need_python PACKAGE==VERSION...: installs packages for `python`, which runs in a venv.
need_python() {
    if ! [[ -x $FLEET_VENV/bin/pip ]]; then
        python3 -m venv "$FLEET_VENV"
    fi
    "$FLEET_VENV/bin/pip" install -q --disable-pip-version-check "$@"
    export PATH="$FLEET_VENV/bin:$PATH"
}

# recipe NAME: prints the path of a file in docs/fleet/.
recipe() {
    local file="$FLEET_RECIPES/$1"
    if ! [[ -f $file ]]; then
        echo "docs/fleet has no file $1" >&2
        return 1
    fi
    echo "$1" >>"$FLEET/used"
    echo "$file"
}

# fill NAME: copies a configuration file of docs/fleet/ to WORK and replaces variables of the
# form `${NAME}` in it; prints its path.
fill() {
    local file names
    file=$(recipe "$1")
    # Other text that looks like a variable is not changed.
    # shellcheck disable=SC2016 # These are the names, not their values.
    names=$(grep -o '\${[A-Z_]*}' "$file" | sort -u | tr '\n' ' ')
    envsubst "$names" <"$file" >"$WORK/$1"
    echo "$WORK/$1"
}

# free_port: prints a port of 127.0.0.1 that no process listens on.
free_port() {
    python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

# service NAME COMMAND...: starts a service in its own process group, with its output in
# NAME.log.
service() {
    local name=$1
    shift
    setsid "$@" >>"$WORK/$name.log" 2>&1 </dev/null &
    echo $! >"$WORK/$name.pid"
}

# running NAME: returns whether the service is alive.
running() {
    kill -0 "$(cat "$WORK/$1.pid" 2>/dev/null)" 2>/dev/null
}

# stop NAME [SIGNAL]: ends a service and all processes that it started, and waits for it.
stop() {
    local pid
    if ! [[ -f $WORK/$1.pid ]]; then
        return
    fi
    pid=$(cat "$WORK/$1.pid")
    kill -s "${2:-TERM}" -- "-$pid" 2>/dev/null || true
    # Its processes may outlive it, and no wait may last forever.
    if ! within 20 no_group "$pid"; then
        kill -s KILL -- "-$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
    rm -f "$WORK/$1.pid"
}

no_group() {
    ! kill -0 -- "-$1" 2>/dev/null
}

stop_all() {
    local file
    touch "$WORK/enough" # for who writes in the background
    for file in "$WORK"/*.pid; do
        if [[ -f $file ]]; then
            stop "$(basename "$file" .pid)"
        fi
    done
    wait
}

# within SECONDS COMMAND...: returns whether the command succeeds within that time, with retries.
# The last attempt may report the reason.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > end)); then
            "$@"
            return
        fi
        sleep 0.1
    done
}

not() {
    ! "$@"
}

# pass WHAT COMMAND...: runs one check.
pass() {
    local what=$1
    shift
    if "$@" >"$WORK/check.log" 2>&1; then
        echo "ok $PART: $what" | tee -a "$FLEET/results"
    else
        echo "FAILED $PART: $what" | tee -a "$FLEET/results"
        tail -n 20 "$WORK/check.log"
    fi
}

# same FILE FILE: returns whether two files have the same lines in any order, and at least one;
# shows the difference.
same() {
    LC_ALL=C sort "$1" >"$WORK/left"
    LC_ALL=C sort "$2" >"$WORK/right"
    if ! [[ -s $WORK/left ]]; then
        echo 'there is nothing to compare'
        return 1
    fi
    if ! diff "$WORK/left" "$WORK/right" >"$WORK/differs"; then
        wc -l "$WORK/left" "$WORK/right"
        cut -c -300 "$WORK/differs" | head -n 20
        return 1
    fi
}
