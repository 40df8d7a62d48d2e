//! The stages of a job, and what each of them records.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::env::TestEnv;

const SNAPSHOTS: [&str; 2] = ["telemetry_before", "process_before"];

/// Returns when a snapshot of an event was taken.
#[track_caller]
fn taken<'a>(event: &'a Value, snapshot: &str) -> &'a str {
    event[snapshot]["taken_ts"]
        .as_str()
        .unwrap_or_else(|| panic!("no {snapshot}: {event}"))
}

#[test]
fn job_stages_are_logged_in_order() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    assert_eq!(
        env.types(&env.only_run()),
        [
            "run_opened",
            "job_submitted",
            "job_validated",
            "job_started",
            "job_completed",
            "run_closed"
        ],
    );
}

#[test]
fn failing_job_ends_with_job_failed() {
    let env = TestEnv::new();
    env.run(&["run", "--", "false"]);
    let types = env.types(&env.only_run());
    assert_eq!(types[3..], ["job_started", "job_failed", "run_closed"]);
}

#[test]
fn each_stage_has_both_snapshots_with_time() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    for event in env.events(&env.only_run()) {
        if event["type"].as_str().unwrap().starts_with("job_") {
            for snapshot in SNAPSHOTS {
                assert!(taken(&event, snapshot).ends_with('Z'));
            }
        }
    }
}

#[test]
fn job_end_has_snapshots_from_both_sides() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    let started = env.event("job_started");
    let end = env.event("job_completed");
    let start_ts = started["ts"].as_str().unwrap();
    for kind in ["telemetry", "process"] {
        let before = taken(&end, &format!("{kind}_before"));
        let after = taken(&end, &format!("{kind}_after"));
        assert!(
            before <= start_ts && start_ts <= after,
            "{before} {start_ts} {after}"
        );
        assert!(after <= end["ts"].as_str().unwrap());
    }
}

#[test]
fn telemetry_describes_host() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    let telemetry = &env.event("job_started")["telemetry_before"];
    for key in [
        "cpu_count",
        "mem_total_bytes",
        "mem_available_bytes",
        "mem_used_bytes",
        "load_1m",
        "uptime_s",
        "disk_total_bytes",
        "disk_available_bytes",
        "net_rx_bytes",
        "gpu_devices",
        "tpu_devices",
    ] {
        assert!(telemetry[key].is_number(), "{key}: {telemetry}");
    }
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert!(telemetry["cpu_count"].as_u64().unwrap() >= cpus as u64);
}

#[test]
fn process_snapshot_names_largest_processes() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    let processes = &env.event("job_completed")["process_after"];
    for key in ["total", "zombies", "cpu_percent", "mem_percent"] {
        assert!(processes[key].is_number(), "{key}: {processes}");
    }
    let top = processes["top_mem"].as_array().unwrap();
    assert!(!top.is_empty() && processes["top_cpu"].is_array());
    let rss = |p: &Value| p["rss_bytes"].as_u64().unwrap();
    assert!(top.is_sorted_by(|a, b| rss(a) >= rss(b)), "{top:?}");
}

#[test]
fn foreign_process_arguments_are_not_recorded() {
    let env = TestEnv::new();
    let other = env.spawn(&[
        "run",
        "--run",
        "other",
        "--",
        "sh",
        "-c",
        "cat; : SECRET-ARGUMENT",
    ]);
    env.wait_for("job_started");
    env.ok(&["run", "--run", "mine", "--", "true"]);
    let log = std::fs::read_to_string(env.log_path("mine")).unwrap();
    assert!(!log.contains("SECRET-ARGUMENT"));
    other.end();
}

#[test]
fn job_end_records_resource_usage() {
    let env = TestEnv::new();
    let burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    env.ok(&["run", "--", "sh", "-c", burn]);
    let end = env.event("job_completed");
    let cost = &end["cost"];
    assert!(cost["cpu_ms"].as_u64().unwrap() > 0, "{cost}");
    assert!(cost["max_rss_bytes"].as_u64().unwrap() > 100_000, "{cost}");
    assert!(
        cost["read_bytes"].is_u64() && cost["written_bytes"].is_u64(),
        "{cost}"
    );
    assert!(end["duration_ms"].as_u64().unwrap() > 0, "{end}");
}

#[test]
fn job_start_identifies_process() {
    let env = TestEnv::new();
    let output = env.ok(&[
        "run",
        "--",
        "sh",
        "-c",
        "cut -d' ' -f1,22 /proc/$$/stat; echo $$",
    ]);
    let started = env.event("job_started");
    let expected = format!("{0} {1}\n{0}\n", started["pid"], started["start_ticks"]);
    assert_eq!(output.stdout(), expected);
    assert!(started["boot_id"].is_string() && started["pid_namespace"].is_u64());
    assert_eq!(started["attempt"], 1);
}

#[test]
fn submission_is_durable_before_job_runs() {
    let env = TestEnv::new();
    let script = "cat .omne/var/runs/*/events.jsonl";
    let output = env.ok(&["run", "--", "sh", "-c", script]);
    let events = crate::support::checks::events(&output.stdout);
    assert_eq!(events[1]["type"], "job_submitted");
    assert_eq!(events[2]["type"], "job_validated");
}

#[test]
fn inputs_labels_and_variable_names_are_recorded() {
    let env = TestEnv::new();
    let script = r#"echo "$TOKEN""#;
    let output = env.ok(&[
        "run",
        "--name",
        "nightly",
        "--input",
        "rev=a=b",
        "--label",
        "team=x",
        "--env",
        "TOKEN=hunter2",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["inputs"], json!({"rev": "a=b"}));
    assert_eq!(submitted["labels"], json!({"team": "x"}));
    assert_eq!(submitted["env"], json!({"TOKEN": null}));
    assert_eq!(submitted["argv"], json!(["sh", "-c", script]));
    assert_eq!(output.stdout(), "hunter2\n");
    assert_eq!(env.event("run_opened")["name"], "nightly");
    assert!(env.only_run().starts_with("nightly-"));
}

#[test]
fn variable_values_are_recorded_on_request() {
    let env = TestEnv::new();
    env.ok(&["run", "--env", "MODE=fast", "--record-env", "--", "true"]);
    assert_eq!(env.event("job_submitted")["env"], json!({"MODE": "fast"}));
}

#[test]
fn job_runs_in_given_directory() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("sub")).unwrap();
    let output = env.ok(&["run", "--cwd", "sub", "--", "pwd"]);
    assert_eq!(
        output.stdout().trim_end(),
        env.path("sub").to_str().unwrap()
    );
    assert_eq!(
        env.event("job_submitted")["cwd"],
        env.path("sub").to_str().unwrap()
    );
}

#[test]
fn job_environment_names_run() {
    let env = TestEnv::new();
    let script = r#"echo "$RUNLOG_RUN_ID $RUNLOG_JOB_ID $RUNLOG_JOB_VOLUME""#;
    let output = env.ok(&["run", "--job", "me", "--", "sh", "-c", script]);
    let root = env.root().display();
    assert_eq!(output.stdout(), format!("{} me {root}\n", env.only_run()));
}

#[test]
fn non_utf8_arguments_are_passed_and_recorded() {
    use std::os::unix::ffi::OsStrExt as _;
    let env = TestEnv::new();
    let word = std::ffi::OsStr::from_bytes(b"a\xff");
    let output = crate::support::env::finish(env.command(&["run", "--", "printf", "%s"]).arg(word));
    assert_eq!(output.stdout, b"a\xff");
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["argv_b64"], json!(["cHJpbnRm", "JXM=", "Yf8="]));
}

#[test]
fn non_utf8_program_is_recorded() {
    use std::os::unix::ffi::OsStrExt as _;
    let env = TestEnv::new();
    let word = std::ffi::OsStr::from_bytes(b"p\xff");
    std::os::unix::fs::symlink("/bin/true", env.root().join(word)).unwrap();
    let program = std::path::Path::new(".").join(word);
    let output = crate::support::env::finish(env.command(&["run", "--"]).arg(program));
    assert_eq!(output.code, 0);
    let validated = env.event("job_validated");
    let recorded = validated["program_b64"].as_str().unwrap();
    let recorded = STANDARD.decode(recorded).unwrap();
    assert_eq!(recorded, env.root().join(word).as_os_str().as_bytes());
}

#[test]
fn samples_are_taken_while_job_runs() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--sample", "10ms", "--", "cat"]);
    let sampled = env.wait_for("job_sampled");
    assert_eq!(job.end().code, 0);
    let tree = sampled
        .get("job")
        .or_else(|| sampled["process_before"].get("job"))
        .unwrap();
    for key in [
        "processes",
        "cpu_ms",
        "rss_bytes",
        "read_bytes",
        "written_bytes",
    ] {
        assert!(tree[key].is_u64(), "{key}: {sampled}");
    }
}
