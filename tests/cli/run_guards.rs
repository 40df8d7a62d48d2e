//! Guards: conditions for starting a job.

use crate::support::env::TestEnv;

#[test]
fn failed_disk_guard_prevents_start() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--require-free-disk", "999T", "--", "touch", "ran"]);
    assert_eq!(output.code, 125);
    assert!(output.stderr().contains("error: "), "{}", output.stderr());
    let failed = env.event("job_failed");
    assert_eq!(failed["error"]["kind"], "resource_limit");
    let types = env.types(&env.only_run());
    assert_eq!(
        types,
        ["run_opened", "job_submitted", "job_failed", "run_closed"]
    );
    assert!(!env.exists("ran"));
}

#[test]
fn failed_memory_guard_prevents_start() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--require-free-mem", "999T", "--", "true"]);
    assert_eq!(output.code, 125);
    assert_eq!(env.event("job_failed")["error"]["kind"], "resource_limit");
}

#[test]
fn load_guard_is_checked_against_load() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--max-load", "0", "--", "true"]);
    let load = &env.event("job_submitted")["telemetry_before"]["load_1m"];
    let expected = if load.as_f64().unwrap() > 0.0 { 125 } else { 0 };
    assert_eq!(output.code, expected, "load {load}");
}

#[test]
fn satisfied_guards_allow_start() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "--require-free-disk",
        "1K",
        "--require-free-mem",
        "1K",
        "--max-load",
        "100000",
        "--",
        "true",
    ]);
}
