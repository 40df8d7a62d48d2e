//! What users of other tools type, and what to type instead.

/// Commands of other tools.
pub(super) const COMMANDS: [(&[&str], &str); 23] = [
    (
        &["kill", "cancel", "terminate", "abort"],
        "stop a run with `runlog stop RUN`",
    ),
    (
        &["rm", "remove", "delete", "del"],
        "remove a run with `runlog gc RUN`",
    ),
    (
        &["clean", "cleanup", "prune", "purge"],
        "remove old runs with `runlog gc --max-age 30d`",
    ),
    (
        &["wait", "join"],
        "wait for a run with `runlog status --wait RUN`",
    ),
    (
        &["show", "info", "inspect", "describe", "get"],
        "show a run with `runlog status RUN`",
    ),
    (
        &["history", "log", "runs", "jobs", "list-units", "list-jobs"],
        "list runs with `runlog status`, show the events of one with `runlog replay RUN`",
    ),
    (
        &["events", "timeline"],
        "show the events of a run with `runlog replay RUN`",
    ),
    (
        &["follow", "attach"],
        "follow a run with `runlog tail -f RUN`, its output with `runlog tail -f --output RUN`",
    ),
    (
        &["output", "cat", "journal"],
        "print the output of a run with `runlog tail --output RUN`",
    ),
    (
        &["grep", "search", "find"],
        "search what all runs printed with `runlog tail --output --all --grep REGEX`",
    ),
    (
        &["stats", "statistics", "report"],
        "show statistics with `runlog status --stats`",
    ),
    (
        &["watch", "top", "monitor"],
        "watch the runs with `runlog status --watch`",
    ),
    (
        &["exec", "start", "wrap"],
        "run a command with `runlog run COMMAND`",
    ),
    (
        &["restart", "retry", "rerun"],
        "run it again with `runlog run --again RUN`",
    ),
    (
        &["verify", "check", "fsck"],
        "check a run with `runlog replay --verify RUN`",
    ),
    (
        &["recover", "repair"],
        "recover a run with `runlog replay --recover RUN`",
    ),
    (
        &["rollback", "undo"],
        "undo a run with `runlog replay --rollback RUN`",
    ),
    (
        &["export"],
        "export a run with `runlog replay --export FORMAT RUN`",
    ),
    (
        &["note", "event", "add"],
        "add a note with `runlog emit NAME`",
    ),
    (
        &["diff", "compare"],
        "compare two runs with `runlog replay --diff RUN RUN`",
    ),
    (
        &["init", "setup"],
        "omit it: the first `runlog run COMMAND` creates what it needs",
    ),
    (&["version"], "print the version with `runlog --version`"),
    (
        &["pause", "suspend", "resume"],
        "list the commands with `runlog --help`",
    ),
];

/// Options of other tools, for one command each.
pub(super) const OPTIONS: [(&str, &[&str], &str); 46] = [
    (
        "run",
        &["--daemon", "--background", "--detached", "-d", "-b"],
        "start in the background with --detach",
    ),
    (
        "run",
        &["--chdir", "--workdir", "--working-dir", "--dir", "-w"],
        "choose the directory of the command with --cwd DIR",
    ),
    (
        "run",
        &["--interactive", "-i", "-it"],
        "omit it: the command has the terminal anyway",
    ),
    (
        "run",
        &["--rm"],
        "omit it: remove old runs with `runlog gc --max-age 30d`",
    ),
    (
        "run",
        &["--user", "-u"],
        "run it as another user with `runlog run sudo -u USER COMMAND`",
    ),
    (
        "run",
        &["--shell", "-c"],
        "run a line of shell with `runlog run sh -c '…'`",
    ),
    (
        "run",
        &["--restart", "--retry", "--max-retries"],
        "repeat a command that failed with --retries N",
    ),
    (
        "run",
        &["--silent"],
        "store the output without printing it with --quiet",
    ),
    (
        "run",
        &["--env-file", "--environment", "--setenv"],
        "set variables with --env KEY=VALUE",
    ),
    (
        "run",
        &["--max-time", "--time-limit", "--time", "-t"],
        "end it after a time with --timeout DURATION",
    ),
    (
        "run",
        &["--output", "--out", "-o", "--log", "--log-file"],
        "omit it: the output is stored; print it with `runlog tail --output RUN`",
    ),
    (
        "run",
        &["--wait", "--foreground"],
        "omit it: runlog waits for the command",
    ),
    (
        "run",
        &["--pty", "--no-pty", "--no-tty"],
        "choose with --tty auto, always or never",
    ),
    (
        "run",
        &["--id"],
        "choose the ID with --run ID, or write it to a file with --id-file FILE",
    ),
    (
        "run",
        &["--tag", "--meta"],
        "record a label with --label KEY=VALUE",
    ),
    (
        "status",
        &["--all", "-a", "-l", "--no-trunc", "--sort"],
        "omit it: all runs are listed in full, the newest one last",
    ),
    (
        "status",
        &["--follow", "-f", "-w"],
        "watch the runs with --watch, or wait for one with --wait RUN",
    ),
    (
        "status",
        &["--failed", "--running", "--filter"],
        "select runs with --state, such as `--state failed,lost`",
    ),
    (
        "status",
        &["--limit", "--last", "--max-count", "--tail"],
        "limit the number of runs with -n N",
    ),
    (
        "status",
        &["--format", "--output"],
        "print JSON Lines with --json, or choose a format with --export",
    ),
    (
        "status",
        &["--html", "--csv", "--prometheus"],
        "choose the format with --export, such as `--export html`",
    ),
    (
        "status",
        &["--logs"],
        "print the output of a run with `runlog tail --output RUN`",
    ),
    (
        "status",
        &["--quiet", "-q"],
        "print only IDs with `runlog status --json | jq -r .run_id`",
    ),
    (
        "status",
        &["--grep"],
        "search what all runs printed with `runlog tail --output --all --grep REGEX`",
    ),
    (
        "status",
        &["--job"],
        "show the jobs of a run with `runlog status RUN`",
    ),
    (
        "tail",
        &["--tail", "--limit", "--last", "--max-count", "-c"],
        "limit the number of lines with -n N",
    ),
    (
        "tail",
        &["--stdout", "--stderr"],
        "select a stream with --output --stream stdout or stderr",
    ),
    (
        "tail",
        &["-F", "--retry"],
        "use -f: it continues when the log is rotated",
    ),
    (
        "tail",
        &["--unit", "-u", "--run"],
        "name the run: `runlog tail RUN`",
    ),
    ("tail", &["-g"], "search with --grep REGEX"),
    (
        "tail",
        &["--reverse", "-r"],
        "reverse the lines with `runlog tail RUN | tac`",
    ),
    (
        "gc",
        &["--older-than", "--until", "--vacuum-time"],
        "remove old runs with --max-age DURATION",
    ),
    (
        "gc",
        &["--keep", "--keep-last"],
        "keep the newest N runs with --max-runs N",
    ),
    (
        "gc",
        &["--vacuum-size"],
        "limit the size of all runs with --max-size SIZE",
    ),
    (
        "gc",
        &["--all", "-a"],
        "remove all runs that have ended with --max-runs 0",
    ),
    ("gc", &["-n"], "show what would be removed with --dry-run"),
    ("gc", &["--force", "-f"], "omit it: gc asks nothing"),
    (
        "stop",
        &["--all", "-a"],
        "name the runs: `runlog stop RUN RUN`",
    ),
    (
        "stop",
        &["-s", "--force", "-f", "--kill"],
        "choose the signal with --signal, such as `--signal KILL`",
    ),
    (
        "stop",
        &["-t", "--time"],
        "send SIGKILL after a time with --kill-after DURATION",
    ),
    (
        "replay",
        &["--follow", "-f"],
        "follow a run with `runlog tail -f RUN`",
    ),
    (
        "replay",
        &["--html", "--junit", "--csv", "--otlp", "--format"],
        "choose the format with --export, such as `--export html`",
    ),
    (
        "replay",
        &["--undo", "--restore"],
        "undo a run with --rollback",
    ),
    (
        "emit",
        &["--message", "-m", "--level"],
        "give values as KEY=VALUE: `runlog emit NAME message='…'`",
    ),
    (
        "emit",
        &["--type", "--name"],
        "name the note: `runlog emit NAME`",
    ),
    (
        "emit",
        &["--json", "--body"],
        "give the data as JSON with --data",
    ),
];

/// Words of other tools for the states of runs.
pub(super) const STATES: [(&[&str], &str); 4] = [
    (
        &[
            "success",
            "succeeded",
            "successful",
            "ok",
            "done",
            "finished",
            "exited",
        ],
        "use `completed`",
    ),
    (&["error", "errored", "failure", "fail"], "use `failed`"),
    (&["active", "alive", "started", "live"], "use `running`"),
    (&["dead", "killed", "crashed", "orphaned"], "use `lost`"),
];
