//! `runlog replay --diff`.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::checks::snapshot;
use crate::support::env::TestEnv;

fn diff(env: &TestEnv, a: &str, b: &str) -> (i32, Value) {
    let output = env.run(&["replay", "--diff", a, b, "--json"]);
    (output.code, serde_json::from_slice(&output.stdout).unwrap())
}

/// Creates runs named after their jobs: two that succeed and one that fails.
fn with_runs() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--name", "a", "--", "true"]);
    env.ok(&["run", "-q", "--name", "b", "--", "true"]);
    assert_eq!(
        env.run(&["run", "-q", "--name", "c", "--", "false"]).code,
        1
    );
    env
}

#[test]
fn runs_with_same_outcome_are_equal() {
    let env = with_runs();
    let (code, told) = diff(&env, "a", "b");
    assert_eq!(
        (code, &told["same"], &told["differs"]),
        (0, &json!(true), &json!([]))
    );
    assert_eq!(told["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(told["jobs"][0]["a"]["job_id"], "a");
    assert_eq!(told["jobs"][0]["b"]["job_id"], "b");
}

#[test]
fn runs_with_different_outcomes_differ() {
    let env = with_runs();
    let (code, told) = diff(&env, "a", "c");
    assert_eq!((code, &told["same"]), (1, &json!(false)));
    assert_eq!(told["differs"], json!(["state", "jobs"]));
    assert_eq!(told["jobs"][0]["differs"], json!(["stage", "exit_code"]));
}

#[test]
fn diff_table_as_text() {
    let env = with_runs();
    let output = env.run(&["replay", "--diff", "a", "c"]);
    let shown = snapshot(&env, &output);
    // Resource usage differs between runs, and the host between machines.
    let lines = shown.lines().filter(|line| {
        !["host", "duration", "CPU", "peak RSS", "read ", "written"]
            .iter()
            .any(|what| line.trim_start().starts_with(what))
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    exit 1
    -- stdout
    A  a-[ULID]
    B  c-[ULID]

    JOB  WHAT  A  B  CHANGE
    (run)  state  ✓ completed  ✗ failed  ≠
    a, c  stage  ✓ completed  ✗ failed  ≠
     exit  0  1  ≠

    different outcomes
    ");
    assert!(shown.contains("peak RSS"), "{shown}");
}

#[test]
fn jobs_are_matched_by_id() {
    let env = TestEnv::new();
    for (run, jobs) in [("x", ["one", "two"]), ("y", ["two", "three"])] {
        for job in jobs {
            env.ok(&["run", "-q", "--run", run, "--job", job, "--", "true"]);
        }
        env.ok(&["run", "--run", run, "--close"]);
    }
    let (code, told) = diff(&env, "x", "y");
    assert_eq!(code, 1);
    let rows: Vec<_> = told["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (job["job_id"].as_str().unwrap(), job["differs"].clone()))
        .collect();
    assert_eq!(
        rows,
        [
            ("one", json!(["missing"])),
            ("two", json!([])),
            ("three", json!(["missing"])),
        ]
    );
}
