//! Habits of users of other tools: the command works, or a hint says what to type instead.

use std::fmt::Write as _;

use insta::assert_snapshot;

use crate::support::checks::{numbered, snapshot};
use crate::support::crash::on_small_disk;
use crate::support::env::TestEnv;

/// Returns the hint for rejected arguments.
#[track_caller]
fn hint(args: &[&str]) -> String {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--name", "build", "--", "true"]);
    let output = env.run(args);
    assert_ne!(output.code, 0, "{args:?}");
    let stderr = output.stderr();
    assert!(!stderr.contains("to pass '"), "{stderr}");
    let hints: Vec<_> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("hint: "))
        .collect();
    assert!(hints.len() <= 1, "{stderr}");
    hints.concat()
}

#[test]
fn run_takes_command_without_dashes() {
    let env = TestEnv::new();
    let output = env.ok(&["run", "-n", "list", "printf", "%s|", "-n", "--", "-C", "x"]);
    assert_eq!(output.stdout(), "-n|--|-C|x|");
    assert_eq!(env.status("latest")["name"], "list");
    assert_eq!(env.ok(&["run", "-q", "--", "true", "-x"]).code, 0);
    assert_eq!(env.run(&["run", "sh", "-c", "exit 3"]).code, 3);
    let output = env.run(&["run", "-x", "ls"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 2
    -- stderr
    error: unexpected argument '-x' found

    Usage: runlog run [OPTIONS] [--] COMMAND [ARGS]…
     runlog run --again RUN [--job ID | --failed] [OPTIONS]
     runlog run --run ID --close

    For more information, try '--help'.
    hint: put options of the command after its name: `runlog run COMMAND OPTIONS`
    ");
}

#[test]
fn aliases_of_other_tools_work() {
    let env = TestEnv::new();
    env.ok(&["run", "--name", "build", "--", "sh", "-c", "echo a; echo b"]);
    for alias in ["ls", "ps", "list"] {
        assert_eq!(
            env.ok(&[alias, "--json"]).stdout,
            env.ok(&["status", "--json"]).stdout
        );
    }
    assert_eq!(env.ok(&["logs", "build"]).stdout(), "a\nb\n");
    assert_eq!(
        env.ok(&["--color", "never", "logs", "-n", "1"]).stdout(),
        "b\n"
    );
    assert_eq!(
        env.ok(&["help", "logs"]).stdout,
        env.ok(&["help", "tail"]).stdout
    );
    let help = env.ok(&["--help"]).stdout();
    assert!(!help.contains("logs"), "{help}");
}

#[test]
fn commands_of_other_tools_get_hints() {
    let mut hints = String::new();
    for word in [
        "kill", "rm", "prune", "wait", "show", "history", "grep", "stats", "attach", "watch",
        "exec", "diff", "init", "cargo", "rn", "statsu",
    ] {
        writeln!(hints, "{word}: {}", hint(&[word, "build"])).unwrap();
    }
    assert_snapshot!(hints, @"
    kill: stop a run with `runlog stop RUN`
    rm: remove a run with `runlog gc RUN`
    prune: remove old runs with `runlog gc --max-age 30d`
    wait: wait for a run with `runlog status --wait RUN`
    show: show a run with `runlog status RUN`
    history: list runs with `runlog status`, show the events of one with `runlog replay RUN`
    grep: search what all runs printed with `runlog tail --output --all --grep REGEX`
    stats: show statistics with `runlog status --stats`
    attach: follow a run with `runlog tail -f RUN`, its output with `runlog tail -f --output RUN`
    watch: watch the runs with `runlog status --watch`
    exec: run a command with `runlog run COMMAND`
    diff: compare two runs with `runlog replay --diff RUN RUN`
    init: omit it: the first `runlog run COMMAND` creates what it needs
    cargo: run a command with `runlog run cargo`
    rn: run a command with `runlog run COMMAND`
    statsu:
    ");
}

#[test]
fn options_of_other_tools_get_hints() {
    let mut hints = String::new();
    for args in [
        &["status", "-o", "json"][..],
        &["status", "--output", "json"],
        &["tail", "--format=json"],
        &["tail", "--output", "json"],
        &["run", "-d", "true"],
        &["run", "--workdir", "/", "true"],
        &["run", "--unknown", "true"],
        &["run", "--nam", "true"],
        &["status", "--last", "3"],
        &["status", "--csv"],
        &["status", "-x"],
        &["status", "--no-color"],
        &["run", "--max-time", "5", "true"],
        &["tail", "--stderr"],
        &["stop", "--kill", "it"],
        &["help", "bogus"],
        &["--json", "status"],
        &["--name", "x", "run", "true"],
        &["--name=x", "run", "true"],
        &["-q", "run", "true"],
        &["--bogus", "run", "true"],
        &["status", "--timeout", "stop"],
    ] {
        writeln!(hints, "{args:?}: {}", hint(args)).unwrap();
    }
    assert_snapshot!(hints, @r#"
    ["status", "-o", "json"]: print JSON Lines with --json
    ["status", "--output", "json"]: print JSON Lines with --json
    ["tail", "--format=json"]: print JSON Lines with --json
    ["tail", "--output", "json"]: print JSON Lines with --json
    ["run", "-d", "true"]: start in the background with --detach
    ["run", "--workdir", "/", "true"]: choose the directory of the command with --cwd DIR
    ["run", "--unknown", "true"]: put options of the command after its name: `runlog run COMMAND OPTIONS`
    ["run", "--nam", "true"]: 
    ["status", "--last", "3"]: limit the number of runs with -n N
    ["status", "--csv"]: choose the format with --export, such as `--export html`
    ["status", "-x"]: 
    ["status", "--no-color"]: switch colors off with --color never
    ["run", "--max-time", "5", "true"]: end it after a time with --timeout DURATION
    ["tail", "--stderr"]: select a stream with --output --stream stdout or stderr
    ["stop", "--kill", "it"]: choose the signal with --signal, such as `--signal KILL`
    ["help", "bogus"]: list the commands with `runlog --help`
    ["--json", "status"]: put it after the command: `runlog status --json`
    ["--name", "x", "run", "true"]: put it after the command: `runlog run --name`
    ["--name=x", "run", "true"]: put it after the command: `runlog run --name`
    ["-q", "run", "true"]: put it after the command: `runlog run -q`
    ["--bogus", "run", "true"]: put options of the command after its name: `runlog run COMMAND OPTIONS`
    ["status", "--timeout", "stop"]:
    "#);
}

#[test]
fn negative_number_is_refused_as_value() {
    for (args, reason) in [
        (
            &["run", "--retries", "-1", "true"][..],
            "`-1` is not a whole number, such as 10",
        ),
        (
            &["status", "-n", "-1"],
            "`-1` is not a whole number, such as 10",
        ),
        (
            &["gc", "--max-runs", "x"],
            "`x` is not a whole number, such as 10",
        ),
        (
            &["run", "--retries", "5000000000", "true"],
            "`5000000000` is too large",
        ),
        (&["stop", "--timeout", "-1", "it"], "`-1` is not a duration"),
        (&["gc", "--max-age", "-1d"], "`-1d` is not a duration"),
        (
            &["run", "--capture-limit", "-1", "true"],
            "`-1` is not a size",
        ),
    ] {
        let output = TestEnv::new().run(args);
        assert_eq!(output.code, 2, "{args:?}");
        let stderr = output.stderr();
        assert!(stderr.contains(reason), "{args:?}: {stderr}");
        assert!(!stderr.contains("hint:"), "{args:?}: {stderr}");
    }
}

#[test]
fn tail_reports_empty_selection() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "-n", "it", "true"]);
    for args in [
        &["tail", "--job", "nope"][..],
        &["tail", "--type", "note"],
        &["tail", "--until", "2000-01-01"],
    ] {
        let output = env.ok(args);
        assert_eq!(output.stdout(), "");
        assert_eq!(output.stderr(), "no events match\n");
        assert_eq!(env.ok(&[args, &["--json"]].concat()).stderr(), "");
    }
    assert_eq!(env.ok(&["tail", "--type", "run_opened"]).stderr(), "");
}

#[test]
fn tail_starts_at_given_line() {
    let env = TestEnv::new();
    env.ok(&["run", "-n", "it", "printf", "a\\nb\\nc\\n"]);
    assert_eq!(env.ok(&["logs", "-n", "+2"]).stdout(), "b\nc\n");
    assert_eq!(env.ok(&["logs", "-n", "-2"]).stdout(), "b\nc\n");
    assert_eq!(env.ok(&["logs", "-n", "+1"]).stdout(), "a\nb\nc\n");
    assert_eq!(
        env.ok(&["logs", "-n", "+2", "--stream", "stdout"]).stdout(),
        "b\nc\n"
    );
    let all = env.ok(&["tail", "--json", "-n", "all"]).stdout();
    let from_third = env.ok(&["tail", "--json", "-n", "+3"]).stdout();
    let lines: Vec<_> = all.split_inclusive('\n').skip(2).collect();
    assert_eq!(from_third, lines.concat());
    assert_eq!(env.ok(&["tail", "--json", "-n", "+9"]).stdout(), "");
    assert_eq!(env.run(&["tail", "-n", "+x"]).code, 2);
}

#[test]
fn unknown_event_type_is_reported() {
    let env = TestEnv::new();
    env.ok(&["run", "true"]);
    let output = env.ok(&["tail", "--type", "bogus,job_started"]);
    assert_eq!(
        output.stderr(),
        "warning: `bogus` is not a type of event that runlog writes\n"
    );
    assert_eq!(output.stdout().lines().count(), 1);
}

#[test]
fn env_without_value_comes_from_environment() {
    let env = TestEnv::new();
    let args = [
        "run",
        "--record-env",
        "-e",
        "FOO",
        "--env",
        "BAR=2",
        "sh",
        "-c",
    ];
    let mut command = env.command(&args);
    command.arg("echo $FOO$BAR").env("FOO", "1");
    let output = crate::support::env::finish(&mut command);
    assert_eq!(output.stdout(), "12\n");
    let recorded = env.event("job_submitted")["env"].clone();
    assert_eq!(recorded, serde_json::json!({"FOO": "1", "BAR": "2"}));
    let output = env.run(&["run", "--env", "MISSING", "true"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 2
    -- stderr
    error: --env MISSING: environment variable not found
    hint: set the variable, or give its value: --env KEY=VALUE
    ");
}

#[test]
fn shell_words_as_command_get_hints() {
    let env = TestEnv::new();
    env.executable("script.sh", "#!/bin/sh\n");
    std::fs::create_dir(env.path("away")).unwrap();
    env.executable("away/local.sh", "#!/bin/sh\n");
    let mut hints = String::new();
    for args in [
        &["run", "-q", "--", "a | b"][..],
        &["run", "-q", "--", "FOO=1", "x"],
        &["run", "-q", "--", "cd", "/x"],
        &["run", "-q", "--", "source", "x"],
        &["run", "-q", "--", "no-such-program"],
        &["run", "-q", "--lock", "nightly", "true"],
        &["-C", "..", "run", "-q", "--", "./script.sh"],
        &["run", "-q", "--", "local.sh"],
        &["run", "-q", "--cwd", "..", "--", "script.sh"],
    ] {
        let mut command = env.command(args);
        let output = crate::support::env::finish(command.current_dir(env.path("away")));
        assert_eq!(output.code, 127, "{args:?}");
        let stderr = output.stderr();
        let hint = stderr.lines().find(|line| line.starts_with("hint: "));
        writeln!(hints, "{args:?}: {}", hint.unwrap_or_default()).unwrap();
    }
    assert_snapshot!(hints, @r#"
    ["run", "-q", "--", "a | b"]: hint: run a line of shell with `runlog run sh -c '…'`
    ["run", "-q", "--", "FOO=1", "x"]: hint: set a variable with --env FOO=VALUE
    ["run", "-q", "--", "cd", "/x"]: hint: set the directory with --cwd DIR
    ["run", "-q", "--", "source", "x"]: hint: run the shell builtin `source` in a shell: `runlog run sh -c '…'`
    ["run", "-q", "--", "no-such-program"]: hint: check the spelling of the command and PATH
    ["run", "-q", "--lock", "nightly", "true"]: hint: check the spelling of the command; a lock is named with --lock=nightly
    ["-C", "..", "run", "-q", "--", "./script.sh"]: hint: choose the directory with --cwd DIR; -C selects the volume
    ["run", "-q", "--", "local.sh"]: hint: write `./local.sh` for the file in its directory
    ["run", "-q", "--cwd", "..", "--", "script.sh"]: hint: write `./script.sh` for the file in its directory
    "#);
}

#[test]
fn nested_run_uses_nearest_volume() {
    let env = TestEnv::new();
    for dir in ["a", "b", "none"] {
        std::fs::create_dir(env.path(dir)).unwrap();
    }
    env.ok(&["-C", "b", "run", "-q", "true"]);
    let script = r#"cd a && "$RUNLOG" run -q sh -c '
        cd ../b && "$RUNLOG" run -q -n inner true && "$RUNLOG" emit in-a &&
        cd ../none && "$RUNLOG" run -q -n job-volume true'"#;
    assert_eq!(env.sh(script).code, 0);
    let names = |volume: &str| {
        let lines = env.json_lines(&["-C", volume, "status", "--json"]);
        let name = |run: &serde_json::Value| run["name"].as_str().unwrap().to_owned();
        lines.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names("b"), ["true", "inner"]);
    assert_eq!(names("a"), ["sh", "job-volume"]);
    let notes = env
        .ok(&["-C", "a", "tail", "--type", "note", "sh"])
        .stdout();
    assert!(notes.contains("in-a"), "{notes}");
}

#[test]
fn implausible_suggestions_are_left_out() {
    let env = TestEnv::new();
    let typed = |args: &[&str]| {
        let output = env.run(args);
        assert_eq!(output.code, 2, "{args:?}");
        output.stderr()
    };
    for args in [
        &["status", "--follow"][..],
        &["status", "--sort", "time"],
        &["status", "--user"],
        &["status", "--state", "done"],
        &["tail", "--unit", "x"],
        &["tail", "--tail", "5"],
        &["gc", "--older-than", "7d"],
        &["gc", "--keep", "5"],
        &["run", "--shell", "x"],
        &["run", "--restart", "always", "true"],
        &["stop", "-9", "x"],
        &["restart", "x"],
        &["top"],
        &["history"],
    ] {
        let stderr = typed(args);
        assert!(!stderr.contains("tip:"), "{args:?}: {stderr}");
    }
    for (args, suggested) in [
        (&["status", "--jsn"][..], "--json"),
        (&["run", "--timout", "3", "true"], "--timeout"),
        (&["statsu"], "status"),
        (&["completion", "bash"], "completions"),
    ] {
        let stderr = typed(args);
        assert!(
            stderr.contains("tip:") && stderr.contains(suggested),
            "{stderr}"
        );
        assert!(!stderr.contains("complete-runs"), "{stderr}");
    }
    env.ok(&["run", "-q", "true"]);
    env.ok(&["status", "--since", "-1h"]);
    env.ok(&["tail", "--since", "-1h", "--until", "@4000000000"]);
}

#[test]
fn quiet_on_success_prints_output_of_failures() {
    let env = TestEnv::new();
    let script = "echo out; echo err >&2; exit $0";
    let quiet = ["run", "--quiet-on-success", "sh", "-c", script];
    let output = env.ok(&[&quiet[..], &["0"]].concat());
    assert_eq!((output.stdout(), output.stderr()), Default::default());
    let output = env.run(&[&quiet[..], &["3"]].concat());
    assert_eq!((output.code, &*output.stdout()), (3, "out\n"));
    let stderr = output.stderr();
    assert!(stderr.starts_with("run_id=sh-"), "{stderr}");
    let lines: Vec<_> = stderr.lines().skip(1).collect();
    assert_eq!(lines, ["job sh failed: it exited with code 3", "err"]);
}

#[test]
fn quiet_on_success_prints_rollback_to_stderr() {
    let env = TestEnv::new();
    let rollback = ["--rollback", "echo undone; echo and more"];
    for limit in [
        &[][..],
        &["--capture-limit", "5"],
        &["--capture-limit", "1"],
    ] {
        let quiet = [&["run", "--quiet-on-success"], limit, &rollback].concat();
        let output = env.run(&[&quiet[..], &["sh", "-c", "echo job; exit 3"]].concat());
        assert_eq!((output.code, &*output.stdout()), (3, "job\n"), "{limit:?}");
        let stderr = output.stderr();
        assert!(stderr.contains("undone\nand more\n"), "{limit:?}: {stderr}");
    }
}

#[test]
fn quiet_on_success_prints_errors_without_stdout() {
    let env = TestEnv::new();
    let job = "\"$RUNLOG\" run --quiet-on-success sh -c 'seq 100000; echo err >&2; exit 3'";
    let closed = env.sh(&format!("{{ {job}; echo code $? >&2; }} | head -1"));
    assert_eq!(closed.stdout(), "1\n");
    let stderr = closed.stderr();
    let lines: Vec<_> = stderr.lines().skip(1).collect();
    assert_eq!(
        lines,
        ["job sh failed: it exited with code 3", "err", "code 3"]
    );
    let full = env.sh(&format!("{job} >/dev/full"));
    assert_eq!(full.code, 3);
    let stderr = full.stderr();
    let lines: Vec<_> = stderr.lines().skip(2).collect();
    let warning = "warning: cannot print the output: No space left on device (os error 28)";
    assert_eq!(lines, ["err", warning]);
}

#[test]
fn quiet_on_success_prints_what_is_not_stored() {
    let env = TestEnv::new();
    let script = "seq 9; echo err >&2; sleep 0.1; seq 10 12; exit $0";
    for code in [0, 3] {
        let limit = ["run", "--quiet-on-success", "--capture-limit", "7"];
        let output = env.run(&[&limit[..], &["sh", "-c", script, &code.to_string()]].concat());
        assert_eq!(output.code, code);
        assert_eq!(output.stdout(), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n");
        assert!(output.stderr().contains("err\n"), "{}", output.stderr());
    }
}

#[test]
fn quiet_on_success_prints_all_on_full_disk() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" run --quiet-on-success -- sh -c 'seq 300000; exit 3' >../out 2>../err
        echo "code $?"
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    assert_eq!(output.stdout(), "code 3\n");
    let printed = std::fs::read_to_string(env.path("out")).unwrap();
    let expected = numbered(1..300_001, |n| n.to_string());
    assert!(
        printed == expected,
        "{} of {} bytes",
        printed.len(),
        expected.len()
    );
}
