# shellcheck shell=bash
# What the parts have in common. WORK is the directory of the part, and where it runs.

# need COMMAND PACKAGE...: installs Debian packages if there is no such command. What comes
# with them is not started as a service of the machine.
need() {
    local command=$1
    shift
    if command -v "$command" >/dev/null; then
        return
    fi
    need_packages "$@"
}

# need_packages PACKAGE...: installs the Debian packages that are missing.
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
    # Level 1 is that of a machine without services: none is started.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$WORK/apt.log" 2>&1
}

# need_python PACKAGE==VERSION...: installs them for `python`, which is that of a venv.
need_python() {
    if ! [[ -x $FLEET_VENV/bin/pip ]]; then
        python3 -m venv "$FLEET_VENV"
    fi
    "$FLEET_VENV/bin/pip" install -q --disable-pip-version-check "$@"
    export PATH="$FLEET_VENV/bin:$PATH"
}

# recipe NAME: the path of a file of docs/fleet/.
recipe() {
    local file="$FLEET_RECIPES/$1"
    if ! [[ -f $file ]]; then
        echo "docs/fleet has no file $1" >&2
        return 1
    fi
    echo "$1" >>"$FLEET/used"
    echo "$file"
}

# fill NAME: a configuration file of docs/fleet/, in WORK, with the variables filled in that are
# written `${NAME}`; prints its path.
fill() {
    local file names
    file=$(recipe "$1")
    # What else looks like a variable is left as it is.
    # shellcheck disable=SC2016 # These are the names, not their values.
    names=$(grep -o '\${[A-Z_]*}' "$file" | sort -u | tr '\n' ' ')
    envsubst "$names" <"$file" >"$WORK/$1"
    echo "$WORK/$1"
}

# free_port: a port of 127.0.0.1 that nobody listens to.
free_port() {
    python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

# service NAME COMMAND...: starts it in a process group of its own; what it prints goes to
# NAME.log.
service() {
    local name=$1
    shift
    setsid "$@" >>"$WORK/$name.log" 2>&1 </dev/null &
    echo $! >"$WORK/$name.pid"
}

# running NAME: whether the service lives.
running() {
    kill -0 "$(cat "$WORK/$1.pid" 2>/dev/null)" 2>/dev/null
}

# stop NAME [SIGNAL]: ends a service with all that it started, and waits for it.
stop() {
    local pid
    if ! [[ -f $WORK/$1.pid ]]; then
        return
    fi
    pid=$(cat "$WORK/$1.pid")
    kill -s "${2:-TERM}" -- "-$pid" 2>/dev/null || true
    # What it started may outlive it, and no wait is to be without an end.
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

# within SECONDS COMMAND...: whether it succeeds in that time, tried again and again; the last
# time it may say why not.
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

# pass WHAT COMMAND...: one check.
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

# same FILE FILE: whether two files have the same lines, in any order, and not none; shows what
# differs.
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
