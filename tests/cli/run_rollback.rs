//! `--rollback`: a command that compensates for a failed job.

use rustix::process::Signal;

use crate::support::env::TestEnv;

#[test]
fn rollback_runs_on_failure_and_keeps_exit_code() {
    let env = TestEnv::new();
    let output = env.run(&[
        "run",
        "--rollback",
        "touch undone",
        "--",
        "sh",
        "-c",
        "exit 4",
    ]);
    assert_eq!(output.code, 4);
    assert!(env.exists("undone"));
    let types = env.types(&env.only_run());
    assert_eq!(
        types[4..],
        [
            "job_failed",
            "job_rollback_started",
            "job_rolled_back",
            "run_closed"
        ]
    );
    let rolled_back = env.event("job_rolled_back");
    for key in ["telemetry_after", "process_after", "cost"] {
        assert!(rolled_back[key].is_object(), "{key}: {rolled_back}");
    }
    assert!(rolled_back["error"].is_null(), "{rolled_back}");
    assert_eq!(env.status("latest")["state"], "failed");
}

#[test]
fn rollback_start_is_durable_before_it_runs() {
    let env = TestEnv::new();
    env.run(&[
        "run",
        "--rollback",
        "cat .omne/var/runs/*/events.jsonl >seen",
        "--",
        "false",
    ]);
    let seen = crate::support::checks::events(&std::fs::read(env.path("seen")).unwrap());
    assert_eq!(seen.last().unwrap()["type"], "job_rollback_started");
}

#[test]
fn rollback_failure_is_recorded() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--rollback", "exit 5", "--", "false"]);
    assert_eq!(output.code, 1);
    let rolled_back = env.event("job_rolled_back");
    assert_eq!(rolled_back["exit_code"], 5);
    assert_eq!(rolled_back["error"]["kind"], "exit");
    let detail = env.ok(&["status", "latest"]).stdout();
    assert!(detail.contains("rollback failed"), "{detail}");
}

#[test]
fn limits_of_job_duration_do_not_apply_to_rollback() {
    let env = TestEnv::new();
    let limited = ["run", "-q", "--fail-if-shorter", "1h"];
    let output = env.run(&[&limited[..], &["--rollback", "true", "--", "true"]].concat());
    assert_eq!(output.code, 1, "{}", output.stderr());
    assert!(env.event("job_failed")["error"].is_object());
    assert!(env.event("job_rolled_back")["error"].is_null());
}

#[test]
fn rollback_is_skipped_on_success() {
    let env = TestEnv::new();
    env.ok(&["run", "--rollback", "touch undone", "--", "true"]);
    assert!(!env.exists("undone"));
}

#[test]
fn rollback_is_skipped_when_nothing_started() {
    let env = TestEnv::new();
    env.run(&["run", "--rollback", "touch undone", "--", "no-such-cmd"]);
    assert!(!env.exists("undone"));
}

#[test]
fn rollback_runs_once_after_last_attempt() {
    let env = TestEnv::new();
    env.run(&[
        "run",
        "--retries",
        "2",
        "--retry-delay",
        "0",
        "--rollback",
        "echo x >>undone",
        "--",
        "false",
    ]);
    assert_eq!(std::fs::read(env.path("undone")).unwrap(), b"x\n");
}

#[test]
fn rollback_runs_on_interrupt() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--rollback", "touch undone", "--", "cat"]);
    env.wait_for("job_started");
    job.signal(Signal::INT);
    assert_eq!(job.wait().code, 1002);
    assert!(env.exists("undone"));
}

#[test]
fn rollback_runs_after_timeout() {
    let env = TestEnv::new();
    env.run(&[
        "run",
        "--timeout",
        "50ms",
        "--rollback",
        "touch undone",
        "--",
        "sleep",
        "60",
    ]);
    assert!(env.exists("undone"));
}

#[test]
fn rollback_knows_run_and_prints_to_stderr() {
    let env = TestEnv::new();
    let output = env.run(&[
        "run",
        "--rollback",
        "echo \"$RUNLOG_RUN_ID\"",
        "--",
        "false",
    ]);
    let run = env.only_run();
    // Only the job uses stdout.
    let stderr = format!("run_id={run}\n{run}\n");
    assert_eq!((output.stdout(), output.stderr()), (String::new(), stderr));
    assert_eq!(env.captured(&run, "false"), format!("{run}\n").as_bytes());
}

#[test]
fn rollback_end_is_written_once_after_short_write() {
    let env = TestEnv::new();
    for n in 0..20 {
        let job = format!("j{n}");
        env.ok(&["run", "-q", "--run", "it", "--job", &job, "--", "true"]);
    }
    // The file may grow by the end of the rollback, but not by the close of the run after it.
    let log = env.path(".omne/var/runs/it/events.jsonl");
    let rollback = format!(
        "prlimit --pid $PPID --fsize=$(($(stat -c %s '{}') + 6000))",
        log.display()
    );
    let run = [
        "run",
        "-q",
        "--run",
        "it",
        "--close",
        "--rollback",
        &rollback,
    ];
    let output = env.run(&[&run[..], &["--", "false"]].concat());
    assert_eq!(output.code, 1, "{}", output.stderr());
    assert!(
        output
            .stderr()
            .contains("the close of the run is not in the log"),
        "{}",
        output.stderr()
    );
    let text = std::fs::read_to_string(log).unwrap();
    assert_eq!(text.matches("\"job_rolled_back\"").count(), 1);
    env.ok(&["replay", "it", "--verify"]);
}
