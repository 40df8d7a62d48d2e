//! `run --again`: jobs that it refuses to run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::run_again::{again, refused};
use crate::support::checks::snapshot;
use crate::support::env::{TestEnv, pid_of};
use crate::support::process::wait_until_dead;
use crate::support::segments;

#[test]
fn command_with_masked_secrets_is_refused() {
    let env = TestEnv::new();
    for options in [
        &["--redact", "hunter2", "echo", "hunter2"][..],
        &["--redact", "hunter2", "--on-end", "echo hunter2", "true"],
        &["--redact", "hunter2", "--input", "a=hunter2", "true"],
    ] {
        env.ok(&[&["run", "-q", "--name", "it"], options].concat());
        let said = refused(&env, 125, &["it"]);
        assert!(said.contains("contains masked secrets"), "{said}");
    }
    assert_snapshot!(
        snapshot(&env, &env.run(&["run", "--again", "it"])),
        @"
    exit 125
    -- stderr
    error: the record of job `it` in run `it-[ULID]` contains masked secrets and cannot be run
    hint: give the command with its secrets: `runlog run COMMAND`
    "
    );
}

#[test]
fn variable_without_recorded_value_is_requested() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "-q",
        "--name",
        "it",
        "--env",
        "WHO=a",
        "sh",
        "-c",
        "echo $WHO",
    ]);
    let said = refused(&env, 125, &["it"]);
    assert!(said.contains("job `it` needs the variable WHO"), "{said}");
    let (output, _) = again(&env, &["it", "--env", "WHO=b"]);
    assert_eq!(output.stdout(), "b\n");
    let output = env.sh("WHO=c $RUNLOG run --again it 2>&-");
    assert_eq!(output.stdout(), "c\n");
}

#[test]
fn running_job_is_not_run_a_second_time() {
    let env = TestEnv::new();
    // An id of its own: processes are also found by the ids in their environment.
    let script = "test -e stop || exec sleep 1000";
    let job = env.spawn(&["run", "-q", "--run", "not-twice", "sh", "-c", script]);
    let pid = env.wait_for("job_started")["pid"].as_i64().unwrap();
    let said = refused(&env, 125, &["not-twice"]);
    assert!(
        said.contains("may still be running: its supervisor is alive"),
        "{said}"
    );
    job.kill_both();
    job.wait();
    let said = refused(&env, 125, &["not-twice"]);
    assert!(
        said.contains(&format!("its process {pid} is still running")),
        "{said}"
    );
    kill_process(pid_of(pid), Signal::KILL).unwrap();
    wait_until_dead(u32::try_from(pid).unwrap());
    env.write("stop", "");
    let (output, run) = again(&env, &["not-twice"]);
    assert_eq!(output.code, 0);
    assert_eq!(env.status("not-twice")["state"], "lost");
    assert_eq!(env.status("not-twice")["rerun_by"], Value::from(&*run));
}

#[test]
fn run_without_recorded_command_is_refused() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--name", "kept", "true"]);
    let said = refused(&env, 125, &["nothing"]);
    assert!(said.contains("no run `nothing`"), "{said}");
    let said = refused(&env, 125, &["kept~1"]);
    assert!(said.contains("no run `kept~1`"), "{said}");
    let said = refused(&env, 2, &["kept", "echo"]);
    assert!(said.contains("another one was given"), "{said}");
    env.ok(&["emit", "--open", "--run", "empty", "x"]);
    let said = refused(&env, 125, &["empty"]);
    assert!(said.contains("run `empty` has no job"), "{said}");
    let foreign = env.path(".omne/var/runs/pipe");
    fs::create_dir(&foreign).unwrap();
    let head = r#""id":"01m8h2rt96qydjbf2c912e8txh","ts":"2026-11-22T04:54:59Z","run_id":"pipe""#;
    let lines = format!(
        "{{{head},\"type\":\"pipe.started\",\"pipe\":\"pipe\"}}\n\
         {{{head},\"type\":\"node.started\",\"node_id\":\"n\",\"kind\":\"bash\",\"name\":\"ls\"}}\n"
    );
    fs::write(foreign.join("events.jsonl"), lines).unwrap();
    let said = refused(&env, 125, &["pipe"]);
    assert!(said.contains("another program wrote it"), "{said}");
    let run = env.status("kept")["run_id"].as_str().unwrap().to_owned();
    env.ok(&["gc", "--max-runs", "0"]);
    let said = refused(&env, 125, &[&run]);
    assert!(said.contains("or removed ones with --retired"), "{said}");
}

#[test]
fn log_others_can_write_is_refused() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--name", "it", "true"]);
    let dir = env.run_dir(&env.only_run());
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).unwrap();
    let said = refused(&env, 125, &["it"]);
    assert!(said.contains("may be written by others"), "{said}");
}

#[test]
fn dropped_segment_leaves_nothing_to_run() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "true"]);
    for _ in 0..2 {
        segments::rotate(&env, "it");
        env.ok(&["emit", "--run", "it", "x"]);
    }
    segments::keep(&env, "it", 1);
    let said = refused(&env, 125, &["it"]);
    assert!(said.contains("was removed with its segment"), "{said}");
}
