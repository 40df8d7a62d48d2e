//! `run --again RUN --failed`: several jobs, one after the other, in one run.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::run_again::{again, refused, shared_run};
use crate::support::env::{TestEnv, wait_until};

#[test]
fn failed_jobs_are_run_again_in_one_run() {
    let env = TestEnv::new();
    shared_run(&env);
    let (output, run) = again(&env, &["it", "--failed", "--label", "try=2"]);
    assert_eq!((output.code, &*output.stdout()), (4, "a\nc\n"));
    assert_eq!(output.run_id(), run);
    let status = env.status(&run);
    assert_eq!(status["state"], "failed");
    assert_eq!(status["rerun_of"], "it");
    let jobs = status["jobs"].as_array().unwrap();
    let jobs: Vec<_> = jobs
        .iter()
        .map(|job| (&job["job_id"], &job["labels"]))
        .collect();
    let label = json!({"try": "2"});
    assert_eq!(jobs, [(&json!("a"), &label), (&json!("c"), &label)]);
    let links = env.events_of_type("it", "job_rerun");
    let links: Vec<_> = links.iter().map(|link| &link["job_id"]).collect();
    assert_eq!(links, ["a", "c"]);
    // Jobs that fail can be run again as often as needed.
    let (output, _) = again(&env, &[&run, "--failed", "-q"]);
    assert_eq!(output.code, 4);
    env.ok(&["run", "-q", "--name", "good", "true"]);
    let said = refused(&env, 125, &["good", "--failed"]);
    assert!(said.contains("has no failed job"), "{said}");
}

#[test]
fn interrupt_cancels_following_jobs() {
    let env = TestEnv::new();
    for job in ["a", "b"] {
        // A shell that starts a process may lose a signal in that moment, so it becomes it.
        let script = "echo $RUNLOG_JOB_ID >>started; test -e slow && exec sleep 1000; exit 1";
        env.run(&["run", "-q", "--run", "it", "--job", job, "sh", "-c", script]);
    }
    fs::remove_file(env.path("started")).unwrap();
    env.write("slow", "");
    let job = env.spawn(&["run", "--again", "it", "--failed"]);
    wait_until("the job has started", || {
        fs::read(env.path("started")).is_ok_and(|text| text == b"a\n")
    });
    job.signal(Signal::INT);
    // The signal itself ended the process.
    assert_eq!(job.end().code, 1002);
    assert_eq!(fs::read_to_string(env.path("started")).unwrap(), "a\n");
    assert_eq!(env.status("latest")["state"], "failed");
}

/// Runs two failed jobs again, and kills the front while the first one runs.
fn front_killed_in_rerun(options: &[&str]) -> TestEnv {
    let env = TestEnv::new();
    for job in ["a", "b"] {
        let script = "echo $RUNLOG_JOB_ID >>started; \
                      while test -e slow; do sleep 0.01; done; exit 1";
        env.run(&["run", "-q", "--run", "it", "--job", job, "sh", "-c", script]);
    }
    fs::remove_file(env.path("started")).unwrap();
    env.write("slow", "");
    let job = env.spawn(&[&["run", "-q", "--again", "it", "--failed"], options].concat());
    wait_until("the first job runs", || {
        fs::read_to_string(env.path("started")).is_ok_and(|started| started == "a\n")
    });
    job.signal(Signal::KILL);
    env
}

#[test]
fn killed_front_cancels_following_jobs() {
    let env = front_killed_in_rerun(&[]);
    wait_until("the run is closed", || {
        env.status("latest")["state"] == "failed"
    });
    assert_eq!(fs::read_to_string(env.path("started")).unwrap(), "a\n");
}

#[test]
fn kept_rerun_continues_after_front_is_killed() {
    let env = front_killed_in_rerun(&["--if-killed", "keep"]);
    fs::remove_file(env.path("slow")).unwrap();
    wait_until("the run is closed", || {
        env.status("latest")["state"] == "failed"
    });
    assert_eq!(fs::read_to_string(env.path("started")).unwrap(), "a\nb\n");
    env.ok(&["replay", "--verify", "latest"]);
}

#[test]
fn detached_rerun_of_failed_jobs_reports_its_run() {
    let env = TestEnv::new();
    shared_run(&env);
    let output = env.ok(&["run", "--again", "it", "--failed", "--detach"]);
    let run = output.stdout().trim().to_owned();
    env.run(&["status", "--wait", &run]);
    assert_eq!(env.status(&run)["jobs_total"], 2);
    assert_eq!(env.status(&run)["state"], "failed");
}
