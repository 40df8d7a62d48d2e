//! `runlog status --wait`: the outcome of a run as an exit code.

use serde_json::Value;

use crate::support::env::{Background, TestEnv, wait_until};

fn waiting_job(env: &TestEnv) -> Background {
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    job
}

fn wait(env: &TestEnv, args: &[&str]) -> i32 {
    let args: Vec<_> = ["status", "--wait"].iter().chain(args).copied().collect();
    env.run(&args).code
}

#[test]
fn wait_for_completed_run_exits_0() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    assert_eq!(wait(&env, &["latest"]), 0);
}

#[test]
fn wait_for_failed_run_exits_1() {
    let env = TestEnv::new();
    env.run(&["run", "--", "false"]);
    assert_eq!(wait(&env, &["latest"]), 1);
}

#[test]
fn wait_for_lost_run_exits_1() {
    let env = TestEnv::new();
    waiting_job(&env).kill();
    assert_eq!(wait(&env, &["it"]), 1);
}

#[test]
fn wait_timeout_exits_4() {
    let env = TestEnv::new();
    let job = waiting_job(&env);
    assert_eq!(wait(&env, &["it", "--timeout", "20ms"]), 4);
    assert_eq!(wait(&env, &["it", "--timeout", "1ms"]), 4);
    job.end();
}

#[test]
fn wait_includes_open_run() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--", "true"]);
    assert_eq!(wait(&env, &["it", "--timeout", "20ms"]), 4);
}

#[test]
fn wait_names_damage_at_once() {
    let env = TestEnv::new();
    let log = env.log_path("it");
    // A line that the supervisor itself passes over would not keep the run open.
    let script = r#"until grep -q '"type":"job_started"' "$0"; do :; done; echo garbage >>"$0""#;
    let log_text = log.to_str().unwrap();
    let run = ["run", "--run", "it", "--close", "--"];
    env.run(&[&run[..], &["sh", "-c", script, log_text]].concat());
    let output = env.run(&["status", "--wait", "it", "--timeout", "20ms"]);
    assert_eq!(output.code, 4);
    let warning = format!("warning: {}:", log.display());
    assert!(output.stderr().starts_with(&warning), "{}", output.stderr());
}

#[test]
fn wait_ends_with_run() {
    let env = TestEnv::new();
    let job = waiting_job(&env);
    let waiter = env.spawn(&["status", "--wait", "it", "--json"]);
    job.end();
    env.ok(&["run", "--run", "it", "--close"]);
    let output = waiter.end();
    assert_eq!(output.code, 0);
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(run["state"], "completed");
}

#[test]
fn wait_ends_when_supervisor_is_killed() {
    let env = TestEnv::new();
    let job = waiting_job(&env);
    let mut waiter = env.spawn(&["status", "--wait", "it"]);
    job.kill();
    wait_until("the end of the wait", || waiter.has_ended());
    assert_eq!(waiter.end().code, 1);
}

#[test]
fn wait_for_unknown_run_is_rejected() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    assert_eq!(wait(&env, &["nope"]), 3);
}

#[test]
fn wait_for_all_runs_is_rejected() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    assert_eq!(wait(&env, &[]), 2);
}
