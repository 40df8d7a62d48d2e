//! `replay --rollback`: rolls a run back with the commands that its jobs recorded.

use std::fs;

use crate::support::checks::snapshot;
use crate::support::env::{TestEnv, wait_until};
use insta::assert_snapshot;

const UNDO: [&str; 3] = ["replay", "--rollback", "it"];

/// Runs a job of the run `it` whose rollback appends to the file `undone`.
fn job(env: &TestEnv, name: &str, command: &str) -> i32 {
    let rollback = format!("echo {name} >> undone");
    let run = [
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        name,
        "--rollback",
        &rollback,
    ];
    env.run(&[&run[..], &["--", "sh", "-c", command]].concat())
        .code
}

fn undone(env: &TestEnv) -> String {
    fs::read_to_string(env.path("undone")).unwrap_or_default()
}

#[test]
fn undo_rolls_back_newest_job_first_and_once() {
    let env = TestEnv::new();
    job(&env, "a", "true");
    job(&env, "b", "true");
    env.ok(&["run", "-q", "--run", "it", "--job", "c", "--", "true"]);
    assert_eq!(job(&env, "d", "exit 3"), 3);
    assert_eq!(undone(&env), "d\n");
    env.ok(&["run", "--run", "it", "--close"]);
    assert_snapshot!(snapshot(&env, &env.run(&UNDO)), @"
    exit 0
    -- stdout
    it  job b was undone
    it  job a was undone
    ");
    assert_eq!(undone(&env), "d\nb\na\n");
    assert_snapshot!(snapshot(&env, &env.run(&UNDO)), @"
    exit 0
    -- stdout
    it  nothing to undo
    ");
    let status = env.status("it");
    assert_eq!(status["state"], "failed");
    assert_eq!(status["jobs"][0]["stage"], "rolled_back");
    env.ok(&["replay", "--verify", "it"]);
}

#[test]
fn undo_stops_at_failure_and_resumes_there() {
    let env = TestEnv::new();
    job(&env, "a", "true");
    let rollback = "test -e ready && echo b >> undone";
    let run = [
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        "b",
        "--rollback",
        rollback,
    ];
    env.ok(&[&run[..], &["--", "true"]].concat());
    let output = env.run(&UNDO);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 1
    -- stdout
    it  job b was not undone: it exited with code 1
    -- stderr
    warning: the rollback failed: it exited with code 1
    ");
    assert_eq!(undone(&env), "");
    assert!(env.event("job_rolled_back")["error"].is_object());
    env.write("ready", "");
    env.ok(&UNDO);
    assert_eq!(undone(&env), "b\na\n");
}

#[test]
fn interrupted_rollback_is_repeated_only_with_force() {
    let env = TestEnv::new();
    let rollback = "echo a >> undone; while ! test -e stop && test -d .omne; do sleep 0.01; done";
    let run = [
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        "a",
        "--rollback",
        rollback,
    ];
    env.ok(&[&run[..], &["--", "true"]].concat());
    let undo = env.spawn(&UNDO);
    wait_until("it was begun", || undone(&env) == "a\n");
    undo.kill();
    env.write("stop", "");
    let refused = env.run(&UNDO);
    assert_snapshot!(snapshot(&env, &refused), @"
    exit 1
    -- stdout
    it  job a was not undone: its rollback was started before and was interrupted; check what it did, then use --force
    ");
    assert_eq!(undone(&env), "a\n");
    env.ok(&["replay", "--rollback", "it", "--force"]);
    assert_eq!(undone(&env), "a\na\n");
    assert_eq!(env.status("it")["jobs"][0]["stage"], "rolled_back");
}

#[test]
fn running_run_is_not_undone() {
    let env = TestEnv::new();
    job(&env, "a", "true");
    let goes_on = env.spawn(&["run", "-q", "--run", "it", "--job", "b", "--", "cat"]);
    wait_until("it has started", || {
        env.events_of_type("it", "job_started").len() == 2
    });
    assert_snapshot!(snapshot(&env, &env.run(&UNDO)), @"
    exit 4
    -- stderr
    error: cannot undo run `it` while it is running: the supervisor of job b holds its lease; it is process [PID], and its front is process [PID]
    hint: wait for the run to end (`runlog status --wait it`), or stop it, then retry
    ");
    goes_on.kill();
    let output = env.run(&UNDO);
    assert_eq!(output.code, 1, "{}", output.stderr());
    assert!(
        output.stderr().contains("replay --recover"),
        "{}",
        output.stderr()
    );
    assert_eq!(undone(&env), "");
}

#[test]
fn masked_rollback_is_not_run() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        "a",
        "--redact",
        "secret",
        "--rollback",
        "echo secret >> undone",
        "--",
        "true",
    ]);
    assert_snapshot!(snapshot(&env, &env.run(&UNDO)), @"
    exit 1
    -- stdout
    it  job a was not undone: its recorded command contains masked secrets and cannot be run
    ");
    assert_eq!(undone(&env), "");
}

#[test]
fn unstarted_job_has_nothing_to_undo() {
    let env = TestEnv::new();
    let run = [
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        "a",
        "--rollback",
        "touch undone",
    ];
    assert_eq!(
        env.run(&[&run[..], &["--", "./no-such-program"]].concat())
            .code,
        127
    );
    env.ok(&UNDO);
    assert!(!env.exists("undone"));
}

#[test]
fn rollback_runs_in_directory_of_job() {
    let env = TestEnv::new();
    fs::create_dir(env.path("there")).unwrap();
    env.ok(&[
        "run",
        "-q",
        "--run",
        "it",
        "--cwd",
        "there",
        "--rollback",
        "pwd > where",
        "--",
        "true",
    ]);
    env.ok(&["rotate", "it", "--keep", "0"]);
    env.ok(&UNDO);
    let there = fs::read_to_string(env.path("there/where")).unwrap();
    assert_eq!(there.trim_end(), env.path("there").to_str().unwrap());
}

#[test]
fn rollback_needs_named_run() {
    let env = TestEnv::new();
    env.ok(&["run", "-n", "it", "--rollback", "touch undone", "true"]);
    assert_snapshot!(snapshot(&env, &env.run(&["replay", "--rollback"])), @"
    exit 2
    -- stderr
    error: no run given
    hint: name the run to change; list the runs with `runlog status`
    ");
    assert_eq!(env.run(&["replay", "--recover"]).code, 2);
    assert!(!env.exists("undone"));
}

#[test]
fn rollback_dry_run_shows_commands() {
    let env = TestEnv::new();
    let run = |job, rollback| {
        let job = ["--job", job, "--rollback", rollback, "true"];
        env.ok(&[&["run", "-q", "--run", "it"][..], &job].concat());
    };
    run("a", "touch a");
    run("b", "touch b");
    let output = env.ok(&["replay", "--rollback", "it", "--dry-run"]);
    assert_eq!(
        output.stdout(),
        "would undo job b: touch b\nwould undo job a: touch a\n"
    );
    assert!(!env.exists("a") && !env.exists("b"));
    env.ok(&UNDO);
    assert_eq!(
        env.ok(&["replay", "--rollback", "it", "--dry-run"])
            .stdout(),
        ""
    );
}

#[test]
fn status_reports_undone_jobs() {
    let env = TestEnv::new();
    job(&env, "a", "true");
    env.ok(&["run", "--run", "it", "--close"]);
    env.ok(&UNDO);
    assert_snapshot!(env.status("it")["because"].as_str().unwrap(), @"the run is closed and no job failed; 1 completed job was undone");
}

#[test]
fn joining_job_stops_rollback() {
    let env = TestEnv::new();
    job(&env, "a", "true");
    let rollback = r#""$RUNLOG" run --detach --run it --job new -- sleep 1000"#;
    let run = [
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        "b",
        "--rollback",
        rollback,
    ];
    env.ok(&[&run[..], &["--", "true"]].concat());
    let output = env.run(&UNDO);
    assert_eq!(output.code, 1, "{}", output.stdout());
    assert!(
        output
            .stdout()
            .contains("job a was not undone: job new of the run is running"),
        "{}",
        output.stdout()
    );
    assert_eq!(undone(&env), "");
    env.ok(&["stop", "it"]);
}

/// Runs the jobs `a` and `b`, of which `b` has the rollback `rollback`.
fn two_jobs(env: &TestEnv, rollback: &str) {
    job(env, "a", "true");
    let run = ["run", "-q", "--run", "it", "--job", "b", "--no-capture"];
    env.ok(&[&run[..], &["--rollback", rollback, "--", "true"]].concat());
}

#[test]
fn damage_during_the_undoing_stops_it() {
    let env = TestEnv::new();
    let log = env.log_path("it");
    let hurt = format!(
        "printf X | dd of='{}' bs=1 seek=40 conv=notrunc status=none",
        log.display()
    );
    two_jobs(&env, &hurt);
    let output = env.run(&UNDO);
    assert_eq!(output.code, 5, "{}", output.stderr());
    assert_eq!(undone(&env), "");
    assert_eq!(env.run(&[&UNDO[..], &["--force"]].concat()).code, 5);
    assert_eq!(undone(&env), "a\n");
}

#[test]
fn unrecorded_end_of_undoing_is_a_failure() {
    let env = TestEnv::new();
    let log = env.log_path("it");
    let limit = format!(
        "prlimit --pid $PPID --fsize=$(stat -c %s '{}')",
        log.display()
    );
    two_jobs(&env, &limit);
    let output = env.run(&UNDO);
    assert_eq!(output.code, 1, "{}", output.stderr());
    let told = output.stdout();
    assert!(told.contains("its end is not in the log"), "{told}");
    assert_eq!(undone(&env), "");
}
