//! What users of other tools type: it works, or a hint says what to type instead.

use std::fmt::Write as _;

use insta::assert_snapshot;

use crate::support::checks::snapshot;
use crate::support::env::TestEnv;

/// The hint for arguments that are refused.
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
    let help = env.ok(&["--help"]).stdout();
    assert!(!help.contains("logs"), "{help}");
}

#[test]
fn commands_of_other_tools_get_hints() {
    let mut hints = String::new();
    for word in [
        "stop", "kill", "rm", "prune", "wait", "show", "history", "attach", "watch", "exec",
        "cargo", "statsu",
    ] {
        writeln!(hints, "{word}: {}", hint(&[word, "build"])).unwrap();
    }
    assert_snapshot!(hints, @"
    stop: get the process ID with `runlog status RUN`, then `kill PID`
    kill: get the process ID with `runlog status RUN`, then `kill PID`
    rm: remove a run with `runlog gc RUN`
    prune: remove old runs with `runlog gc`
    wait: wait for a run with `runlog status --wait RUN`
    show: show a run with `runlog status RUN`
    history: list runs with `runlog status`, show the events of one with `runlog replay RUN`
    attach: follow a run with `runlog tail -f RUN`, its output with `runlog tail -f --output RUN`
    watch: watch the runs with `runlog status --watch`
    exec: run a command with `runlog run COMMAND`
    cargo: run a command with `runlog run cargo`
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
        &["status", "-x"],
    ] {
        writeln!(hints, "{args:?}: {}", hint(args)).unwrap();
    }
    assert_snapshot!(hints, @r#"
    ["status", "-o", "json"]: print JSON Lines with --json
    ["status", "--output", "json"]: print JSON Lines with --json
    ["tail", "--format=json"]: print JSON Lines with --json
    ["tail", "--output", "json"]: print JSON Lines with --json
    ["run", "-d", "true"]: start in the background with `runlog run --detach`
    ["run", "--workdir", "/", "true"]: choose the directory of the command with `runlog run --cwd DIR`
    ["run", "--unknown", "true"]: put options of the command after its name: `runlog run COMMAND OPTIONS`
    ["run", "--nam", "true"]: 
    ["status", "--last", "3"]: limit the number of runs or events with -n N
    ["status", "-x"]:
    "#);
}

#[test]
fn tail_starts_at_given_line() {
    let env = TestEnv::new();
    env.ok(&["run", "-n", "it", "printf", "a\\nb\\nc\\n"]);
    assert_eq!(env.ok(&["logs", "-n", "+2"]).stdout(), "b\nc\n");
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
