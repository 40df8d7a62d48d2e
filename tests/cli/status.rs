//! `runlog status`: its text and JSON output.

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::checks::snapshot;
use crate::support::env::{Background, TestEnv};

/// Returns `status` with these arguments as a snapshot.
fn status(env: &TestEnv, args: &[&str]) -> String {
    let args: Vec<_> = ["status"].iter().chain(args).copied().collect();
    snapshot(env, &env.run(&args))
}

/// Creates three runs in this order: `one` completed, `two` failed, `three` open.
fn three_runs(env: &TestEnv) {
    env.ok(&["run", "-q", "--run", "one", "--close", "--", "true"]);
    env.run(&[
        "run", "-q", "--run", "two", "--close", "--name", "tests", "--", "false",
    ]);
    env.ok(&["emit", "--open", "--run", "three", "hello"]);
}

fn waiting_job(env: &TestEnv) -> Background {
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    job
}

#[test]
fn status_lists_runs_newest_last() {
    let env = TestEnv::new();
    three_runs(&env);
    assert_snapshot!(status(&env, &[]), @"
    exit 0
    -- stdout
    RUN  STATE  JOBS  OPENED  DURATION  EVENTS
    one  ✓ completed  1  [TIME]  [DURATION]  6
    two  ✗ failed  1 (1 failed)  [TIME]  [DURATION]  6
    three  ○ open  0  [TIME]  2
    ");
}

#[test]
fn status_of_completed_run() {
    let env = TestEnv::new();
    env.ok(&["run", "--name", "nightly", "--", "sh", "-c", "exit 0"]);
    assert_snapshot!(status(&env, &["latest"]), @"
    exit 0
    -- stdout
    run  nightly-[ULID]
    name  nightly
    state  ✓ completed
    because  the run is closed and no job failed
    opened  [TIME] +00:00 on [HOST]
    closed  [TIME] +00:00 (after [DURATION])
    log  6 events, [SIZE]
    path  [ROOT]/.omne/var/runs/nightly-[ULID]

    JOB  STAGE  EXIT  DURATION  CPU  PEAK RSS  COMMAND
    nightly  ✓ completed  0  [DURATION]  [DURATION]  [SIZE]  sh -c 'exit 0'
    ");
}

#[test]
fn status_of_failed_run() {
    let env = TestEnv::new();
    env.run(&[
        "run",
        "--rollback",
        "exit 5",
        "--",
        "sh",
        "-c",
        "kill -TERM $$",
    ]);
    assert_snapshot!(status(&env, &["latest"]), @"
    exit 0
    -- stdout
    run  sh-[ULID]
    name  sh
    state  ✗ failed
    because  the run is closed and job sh failed: it was killed by SIGTERM
    opened  [TIME] +00:00 on [HOST]
    closed  [TIME] +00:00 (after [DURATION])
    log  8 events, [SIZE]
    path  [ROOT]/.omne/var/runs/sh-[ULID]

    JOB  STAGE  EXIT  DURATION  CPU  PEAK RSS  COMMAND
    sh  ↩ rolled_back  SIGTERM  [DURATION]  [DURATION]  [SIZE]  sh -c 'kill -TERM $$'
    sh: it was killed by SIGTERM (signal)
    sh: rollback failed: it exited with code 5: exit 5
    ");
}

#[test]
fn status_of_run_with_several_jobs() {
    let env = TestEnv::new();
    let job = waiting_job(&env);
    env.run(&["run", "--run", "it", "--", "sh", "-c", "exit 3"]);
    env.run(&["run", "--run", "it", "--", "no-such-cmd"]);
    env.run(&[
        "run",
        "--run",
        "it",
        "--timeout",
        "10ms",
        "--",
        "sleep",
        "60",
    ]);
    assert_snapshot!(status(&env, &["it"]), @"
    exit 0
    -- stdout
    run  it
    name  it
    state  ▶ running
    because  the supervisor of job cat holds its lease; it is process [PID], and its front is process [PID]
    opened  [TIME] +00:00 on [HOST]
    log  14 events, [SIZE]
    path  [ROOT]/.omne/var/runs/it

    JOB  STAGE  EXIT  DURATION  CPU  PEAK RSS  COMMAND
    cat  ▶ started  [DURATION]…  cat
    sh  ✗ failed  3  [DURATION]  [DURATION]  [SIZE]  sh -c 'exit 3'
    no-such-cmd  ✗ failed  not_found  no-such-cmd
    sleep  ✗ failed  SIGTERM  [DURATION]  [DURATION]  [SIZE]  sleep 60
    sh: it exited with code 3 (exit)
    no-such-cmd: command not found: `no-such-cmd` (not_found)
    sleep: it ran longer than 0.01 s (timeout)
    ");
    job.end();
}

#[test]
fn status_json_has_documented_keys() {
    let env = TestEnv::new();
    env.run(&["run", "--", "sh", "-c", "exit 3"]);
    let run = env.status("latest");
    for key in [
        "run_id",
        "name",
        "state",
        "because",
        "opened_ts",
        "closed_ts",
        "duration_ms",
        "events",
        "bytes",
        "jobs",
    ] {
        assert!(!run[key].is_null(), "{key}: {run}");
    }
    let job = run["jobs"][0].as_object().unwrap();
    for key in [
        "job_id",
        "stage",
        "exit_code",
        "signal",
        "error",
        "duration_ms",
        "max_rss_bytes",
        "cpu_ms",
    ] {
        assert!(job.contains_key(key), "{key}: {run}");
    }
    assert_eq!(
        (&job["stage"], &job["exit_code"]),
        (&"failed".into(), &3.into())
    );
    assert_eq!(job["error"]["kind"], "exit");
}

#[test]
fn status_json_keys_are_same_in_every_state() {
    let env = TestEnv::new();
    let keys = |run: &Value| -> (Vec<String>, Vec<String>) {
        let of = |v: &Value| v.as_object().unwrap().keys().cloned().collect();
        (of(run), of(&run["jobs"][0]))
    };
    let job = waiting_job(&env);
    let running = keys(&env.status("it"));
    job.end();
    assert_eq!(keys(&env.status("it")), running);
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(keys(&env.status("it")), running);
}

#[test]
fn status_byte_and_event_counts_match_log() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--", "true"]);
    let length = std::fs::metadata(env.log_path("it")).unwrap().len();
    let status = env.status("it");
    assert_eq!(
        (status["bytes"].as_u64(), status["events"].as_u64()),
        (Some(length), Some(5))
    );
}

#[test]
fn ambiguous_prefix_is_rejected() {
    let env = TestEnv::new();
    three_runs(&env);
    assert_snapshot!(status(&env, &["t"]), @"
    exit 2
    -- stderr
    error: `t` matches several runs: three, two
    hint: use more characters of the ID
    ");
}

#[test]
fn unknown_run_exits_3() {
    let env = TestEnv::new();
    three_runs(&env);
    assert_snapshot!(status(&env, &["nope"]), @"
    exit 3
    -- stderr
    error: no run `nope`
    hint: list the runs with `runlog status`, or removed ones with --retired
    ");
}

#[test]
fn missing_volume_exits_3_and_is_not_created() {
    let env = TestEnv::new();
    assert_snapshot!(status(&env, &[]), @"
    exit 3
    -- stderr
    error: no volume: neither `[ROOT]` nor any directory above it has an .omne directory
    hint: create one with `runlog run COMMAND`, or name one with -C DIR
    ");
    assert!(!env.exists(".omne"));
}

#[test]
fn volume_without_runs_is_reported() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path(".omne")).unwrap();
    assert_snapshot!(status(&env, &[]), @"
    exit 0
    -- stderr
    no runs in `[ROOT]`
    ");
}

#[test]
fn latest_without_runs_exits_3() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path(".omne")).unwrap();
    assert_snapshot!(status(&env, &["latest"]), @"
    exit 3
    -- stderr
    error: no runs in `[ROOT]`
    hint: start one with `runlog run -- COMMAND`
    ");
}

/// Creates a run whose first event is damaged in the log.
fn damaged(env: &TestEnv) {
    env.ok(&["emit", "--open", "--run", "it", "first"]);
    let log = std::fs::read_to_string(env.log_path("it")).unwrap();
    let bad = log.replacen("keep_open", "kept_open", 1);
    std::fs::write(env.log_path("it"), bad).unwrap();
}

#[test]
fn damaged_line_is_reported_and_neighbors_are_read() {
    let env = TestEnv::new();
    damaged(&env);
    assert_snapshot!(status(&env, &["it"]), @"
    exit 5
    -- stdout
    run  it
    name
    state  ○ open
    because  the run is not closed, and no job is live
    opened  [TIME] +00:00
    log  2 events, [SIZE]
    path  [ROOT]/.omne/var/runs/it
    damage  1 damaged place skipped
    -- stderr
    warning: [ROOT]/.omne/var/runs/it/events.jsonl:1:[OFFSET]: damaged line: its checksum does not match
    ");
}

#[test]
fn finished_run_is_read_from_last_line_only() {
    let env = TestEnv::new();
    damaged(&env);
    env.ok(&["run", "--run", "it", "--close", "--force"]);
    let output = env.ok(&["status", "it"]);
    assert_eq!(output.stderr(), "");
    assert_eq!(env.status("it")["state"], "completed");
}

#[test]
fn failed_job_shows_last_lines_of_stderr() {
    let env = TestEnv::new();
    let script = "for i in 1 2 3; do echo out $i; done; \
                  for i in $(seq 20); do printf 'error %s\\033[2J\\r\\n' $i >&2; done; exit 3";
    let quiet = "echo only; echo stdout; exit 1";
    env.run(&[
        "run", "-q", "--run", "it", "--job", "a", "--", "sh", "-c", script,
    ]);
    env.run(&[
        "run", "-q", "--run", "it", "--job", "b", "--", "sh", "-c", quiet,
    ]);
    env.run(&[
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        "c",
        "--",
        "sh",
        "-c",
        "echo fine",
    ]);
    let text = env.run(&["status", "it"]).stdout();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with('│')).collect();
    assert_eq!(lines.len(), 12, "{text}");
    assert_eq!(lines[0], "│ error 11");
    assert_eq!(lines[9], "│ error 20");
    assert_eq!(lines[10..], ["│ only", "│ stdout"]);
    let json = env.run(&["status", "it", "--json"]).stdout();
    assert!(!json.contains("error 11"), "{json}");
}

#[test]
fn running_run_shows_time_so_far() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    let run = env.status("it");
    assert!(run["duration_ms"].is_u64(), "{run}");
    assert!(run["jobs"][0]["duration_ms"].is_u64(), "{run}");
    let list = env.ok(&["status"]).stdout();
    assert!(list.lines().last().unwrap().contains("s…"), "{list}");
    job.end();
    let list = env.run(&["status"]).stdout();
    assert!(!list.contains('…'), "{list}");
}
