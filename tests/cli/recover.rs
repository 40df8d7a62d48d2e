//! `replay --recover` ends what a crash interrupted, once, and only what is known to be dead.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use insta::assert_snapshot;
use rustix::process::{Signal, getpgid, kill_process_group, test_kill_process_group};
use serde_json::Value;

use crate::support::checks::snapshot;
use crate::support::env::{Background, TestEnv, pid_of, wait_until};
use crate::support::process::wait_until_dead;

const RECOVER: [&str; 3] = ["replay", "--recover", "it"];

/// Runs a job in the run `it` with these options, and kills its supervisor once the job has
/// started.
fn supervisor_killed(env: &TestEnv, options: &[&str]) -> Background {
    // The job runs until its directory is removed or `stop` exists.
    let script = "while test -d .omne && ! test -e stop; do sleep 0.01; done";
    let run = ["run", "-q", "--name", "it", "--job", "it"];
    let args: Vec<_> = run.iter().chain(options).copied().collect();
    let args = [args.as_slice(), &["--", "sh", "-c", script]].concat();
    let job = env.spawn(&args);
    env.wait_for("job_started");
    job.kill_both();
    job
}

/// Runs such a job and kills it too. Returns the id of the run.
fn lost(env: &TestEnv, options: &[&str]) -> String {
    let pid = {
        let supervisor = supervisor_killed(env, options);
        supervisor.wait();
        pid_of(env.event("job_started")["pid"].as_i64().unwrap())
    };
    let group = getpgid(Some(pid)).unwrap();
    kill_process_group(group, Signal::KILL).ok();
    wait_until("the job is dead", || {
        test_kill_process_group(group).is_err()
    });
    env.only_run()
}

/// Returns everything in the directory of a run.
fn bytes(env: &TestEnv, run: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(env.run_dir(run))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn dry_run_of_recovery_changes_nothing() {
    let env = TestEnv::new();
    let job = env.spawn(&[
        "run",
        "--run",
        "it",
        "--close",
        "--rollback",
        "touch undone",
        "--",
        "cat",
    ]);
    let pid = env.wait_for("job_started")["pid"].as_u64().unwrap();
    job.kill();
    wait_until_dead(u32::try_from(pid).unwrap());
    let before = fs::read(env.log_path("it")).unwrap();
    for args in [&["it"][..], &["--all"], &["it", "--with-rollback"]] {
        let plan = env.ok(&[&["replay", "--recover", "--dry-run"], args].concat());
        let stdout = plan.stdout();
        assert!(
            stdout.starts_with("it  would end job cat as failed"),
            "{stdout}"
        );
        assert!(stdout.ends_with("it  would close the run\n"), "{stdout}");
    }
    assert_eq!(fs::read(env.log_path("it")).unwrap(), before);
    assert!(!env.exists("undone"));
    env.ok(&["replay", "--recover", "it"]);
    let after = env.ok(&["replay", "--recover", "--dry-run", "it"]).stdout();
    assert_eq!(after, "it  nothing to recover: it is failed\n");
    assert_eq!(env.run(&["replay", "--dry-run", "it"]).code, 2);
}

#[test]
fn recover_ends_lost_run_once() {
    let env = TestEnv::new();
    let run = lost(&env, &[]);
    assert_eq!(env.status(&run)["state"], "lost");
    assert_snapshot!(snapshot(&env, &env.run(&RECOVER)), @"
    exit 0
    -- stdout
    it-[ULID]  job it was lost and is now failed
    it-[ULID]  recovered; it is now failed: the run is closed and job it failed: its supervisor died before the job's end was recorded; its first process [PID] is dead
    -- stderr
    run_id=it-[ULID]
    ");
    let failed = env.event("job_failed");
    assert_eq!(failed["error"]["kind"], "lost");
    for key in [
        "telemetry_before",
        "telemetry_after",
        "process_before",
        "process_after",
    ] {
        assert!(failed[key].is_object(), "{key}: {failed}");
    }
    assert_eq!(env.types(&run).last().unwrap(), "run_closed");
    assert_eq!(env.status(&run)["state"], "failed");
    assert_eq!(env.run(&["status", &run, "--wait"]).code, 1);
    env.ok(&["replay", "--verify", &run]);

    let after = bytes(&env, &run);
    assert_snapshot!(snapshot(&env, &env.run(&RECOVER)), @"
    exit 0
    -- stdout
    it-[ULID]  nothing to recover: it is failed
    -- stderr
    run_id=it-[ULID]
    ");
    env.ok(&["replay", "--recover", "--all"]);
    assert_eq!(bytes(&env, &run), after);
}

#[test]
fn recover_leaves_surviving_job_with_hint() {
    let env = TestEnv::new();
    supervisor_killed(&env, &[]).wait();
    let run = env.only_run();
    let before = bytes(&env, &run);
    let output = env.run(&RECOVER);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 1
    -- stdout
    it-[ULID]  not changed (lost): job it may still be running: its process [PID] is still running
    -- stderr
    run_id=it-[ULID]
    hint: wait for the process to exit or kill it, then retry
    ");
    let all = env.ok(&["replay", "--recover", "--all"]);
    assert!(all.stderr().contains("hint: wait for the process to exit"));
    assert_eq!(bytes(&env, &run), before);
    env.write("stop", "");
    wait_until("the job has ended", || env.run(&RECOVER).code == 0);
    assert_eq!(env.status(&run)["state"], "failed");
}

#[test]
fn recover_leaves_running_run() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "-q", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    let before = bytes(&env, "it");
    assert_snapshot!(snapshot(&env, &env.run(&RECOVER)), @"
    exit 4
    -- stdout
    it  not changed (running): the supervisor of job cat holds its lease; it is process [PID], and its front is process [PID]
    -- stderr
    hint: follow the run with `runlog tail -f it`; it is still running
    ");
    env.ok(&["replay", "--recover", "--all"]);
    assert_eq!(bytes(&env, "it"), before);
    job.end();
    // The run stays open for more jobs, so it is not lost.
    let before = bytes(&env, "it");
    env.ok(&RECOVER);
    assert_eq!(bytes(&env, "it"), before);
}

#[test]
fn recover_waits_for_running_sibling_job() {
    let env = TestEnv::new();
    let lost = env.spawn(&["run", "-q", "--run", "it", "--job", "a", "--", "cat"]);
    env.wait_for("job_started");
    lost.kill();
    let runs = env.spawn(&["run", "-q", "--run", "it", "--job", "b", "--", "cat"]);
    wait_until("both have started", || {
        env.events_of_type("it", "job_started").len() == 2
    });
    assert_eq!(env.run(&RECOVER).code, 4);
    runs.end();
    wait_until("the first has ended", || env.run(&RECOVER).code == 0);
    assert_eq!(env.status("it")["state"], "failed");
}

/// Creates the run `it` as omne leaves it if it is killed while writing the line after an event
/// of this type.
fn torn_run_of_omne(env: &TestEnv, kind: &str) {
    env.ok(&["emit", "--open", "--run", "other", "x"]);
    fs::create_dir(env.run_dir("it")).unwrap();
    let line = format!(
        "{{\"id\":\"01k0000000000000000000000a\",\"ts\":\"2026-01-01T00:00:00Z\",\
         \"run_id\":\"it\",\"type\":\"{kind}\",\"pipe\":\"p\"}}\n{{\"torn"
    );
    fs::write(env.log_path("it"), line).unwrap();
}

#[test]
fn recover_says_what_helps_without_lease_file() {
    let env = TestEnv::new();
    let run = lost(&env, &[]);
    fs::remove_file(env.run_dir(&run).join("jobs/it.out")).unwrap();
    let output = env.run(&RECOVER);
    assert_eq!(output.code, 1);
    let hint = "hint: recover it where the job ran, or after that host has booted again";
    assert!(output.stderr().contains(hint), "{}", output.stderr());
}

#[test]
fn recover_leaves_foreign_run() {
    let env = TestEnv::new();
    torn_run_of_omne(&env, "pipe.started");
    let before = bytes(&env, "it");
    assert_snapshot!(snapshot(&env, &env.run(&RECOVER)), @"
    exit 1
    -- stdout
    it  not changed (unknown): the run is not closed, and another program wrote it, whose writer cannot be checked
    -- stderr
    hint: leave it to the program that writes it; only that program can end the run
    ");
    assert_eq!(env.run(&["replay", "--recover", "--all"]).code, 0);
    assert_eq!(bytes(&env, "it"), before);
}

#[test]
fn recover_leaves_torn_tail_of_foreign_run() {
    let env = TestEnv::new();
    torn_run_of_omne(&env, "pipe.completed");
    let before = bytes(&env, "it");
    assert_eq!(env.run(&RECOVER).code, 1);
    assert_eq!(env.run(&["replay", "--recover", "--all"]).code, 0);
    assert_eq!(bytes(&env, "it"), before);
}

#[test]
fn recover_repairs_torn_tail_and_rotation() {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--run", "it", "--close", "--", "true"]);
    let mut torn = fs::read(env.log_path("it")).unwrap();
    torn.extend_from_slice(b"{\"v\":1,\"seq\"");
    fs::write(env.log_path("it"), torn).unwrap();
    assert_snapshot!(snapshot(&env, &env.run(&RECOVER)), @"
    exit 0
    -- stdout
    it  its torn tail was repaired; it is completed
    ");
    assert_eq!(env.types("it").last().unwrap(), "log_repaired");
    env.ok(&["replay", "--verify", "it"]);

    let sealed = env.run_dir("it").join("events-00000000000000000000.jsonl");
    fs::rename(env.log_path("it"), sealed).unwrap();
    let all = env.ok(&["replay", "--recover", "--all"]);
    assert!(all.stdout().contains("repaired"), "{}", all.stdout());
    assert_eq!(env.types("it"), ["log_rotated"]);
    env.ok(&["replay", "--verify", "it"]);
    assert_eq!(env.status("it")["state"], "completed");
    assert_eq!(env.ok(&["replay", "--recover", "--all"]).stdout(), "");
}

/// Keeps only the first `count` events of a run.
fn cut(env: &TestEnv, run: &str, count: usize) {
    let log = fs::read(env.log_path(run)).unwrap();
    let kept: Vec<u8> = log
        .split_inclusive(|b| *b == b'\n')
        .take(count)
        .flatten()
        .copied()
        .collect();
    fs::write(env.log_path(run), kept).unwrap();
}

#[test]
fn recover_checks_for_possibly_started_command() {
    let env = TestEnv::new();
    // Everything after `job_validated` was lost with the supervisor.
    env.run(&["run", "-q", "--name", "it", "--job", "it", "--", "true"]);
    let run = env.only_run();
    cut(&env, &run, 3);
    assert_eq!(env.status(&run)["state"], "lost");
    let mut command = env.program("sh");
    command
        .args([
            "-c",
            "while test -d .omne && ! test -e stop; do sleep 0.01; done",
        ])
        .env("RUNLOG_JOBS", format!("outer/job:{run}/it"))
        .stdin(Stdio::null());
    let lives = Background::new(&mut command);
    let environ = format!("/proc/{}/environ", lives.pid());
    wait_until("it has begun", || {
        fs::read(&environ).is_ok_and(|env| env.windows(run.len()).any(|w| w == run.as_bytes()))
    });
    let output = env.run(&RECOVER);
    assert_eq!(output.code, 1, "{}", output.stdout());
    assert!(
        output.stdout().contains("names the job"),
        "{}",
        output.stdout()
    );
    env.write("stop", "");
    lives.end();
    wait_until("its children have ended too", || {
        env.run(&RECOVER).code == 0
    });
    assert_eq!(env.status(&run)["jobs"][0]["error"]["kind"], "lost");
}

#[test]
fn recover_closes_run_without_close_event() {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--name", "it", "--", "true"]);
    let run = env.only_run();
    let whole = env.types(&run).len();
    cut(&env, &run, whole - 1);
    assert_eq!(env.status(&run)["state"], "open");
    env.ok(&RECOVER);
    assert_eq!(env.status(&run)["state"], "completed");
    // A run that was only opened does not stay open forever either.
    cut(&env, &run, 1);
    env.ok(&RECOVER);
    assert_eq!(env.status(&run)["state"], "completed");
}

#[test]
fn recover_continues_past_unrecoverable_run() {
    let env = TestEnv::new();
    let run = lost(&env, &[]);
    fs::create_dir_all(env.run_dir("a-broken/events.jsonl")).unwrap();
    let output = env.run(&["replay", "--recover", "--all"]);
    assert_eq!(output.code, 7, "{}", output.stderr());
    assert!(
        output.stderr().contains("run a-broken: "),
        "{}",
        output.stderr()
    );
    assert_eq!(env.status(&run)["state"], "failed");
}

#[test]
fn recover_json_reports_each_action() {
    let env = TestEnv::new();
    let run = lost(&env, &["--rollback", "true"]);
    let args = ["replay", "--recover", "--all", "--with-rollback", "--json"];
    let told = env.json_lines(&args);
    assert_eq!(told.len(), 1);
    let told = &told[0];
    for (key, value) in [
        ("run_id", Value::from(run)),
        ("action", "recovered".into()),
        ("was", "lost".into()),
        ("state", "failed".into()),
        ("jobs", vec!["it"].into()),
        (
            "undone",
            serde_json::json!([{"job_id": "it", "error": null}]),
        ),
        ("in_doubt", Vec::<Value>::new().into()),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
}

#[test]
fn recover_runs_recorded_rollback_once() {
    let env = TestEnv::new();
    let rollback = "echo \"$RUNLOG_JOB_ID $RUNLOG_RUN_ID\" >> undone; echo seen";
    let run = lost(&env, &["--rollback", rollback]);
    let recover = ["replay", "--recover", "it", "--with-rollback"];
    let both: Vec<_> = (0..4).map(|_| env.spawn(&recover)).collect();
    let outputs: Vec<_> = both.into_iter().map(Background::end).collect();
    assert!(outputs.iter().any(|output| output.code == 0));
    // The output of the rollback is not on stdout.
    assert!(
        outputs
            .iter()
            .any(|output| output.stderr().contains("seen"))
    );
    assert!(
        !outputs
            .iter()
            .any(|output| output.stdout().contains("seen"))
    );
    env.ok(&recover);
    let undone = fs::read_to_string(env.path("undone")).unwrap();
    assert_eq!(undone, format!("it {run}\n"));
    let types = env.types(&run);
    let end = [
        "job_failed",
        "job_rollback_started",
        "job_rolled_back",
        "run_closed",
    ];
    assert!(types.ends_with(&end.map(str::to_owned)), "{types:?}");
    env.ok(&["replay", "--verify", &run]);
}

#[test]
fn recover_refuses_commands_from_writable_log() {
    let env = TestEnv::new();
    let run = lost(&env, &["--rollback", "touch undone"]);
    let open_to_all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(env.run_dir(&run), open_to_all).unwrap();
    let before = bytes(&env, &run);
    let output = env.run(&["replay", "--recover", "it", "--with-rollback"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 1
    -- stderr
    run_id=it-[ULID]
    error: refusing to run recorded commands: [ROOT]/.omne/var/runs/it-[ULID] may be written by others
    hint: check the recorded commands (`runlog replay --json it-[ULID]`); if only you wrote the log, run `chmod -R go-w [ROOT]/.omne` and retry
    ");
    assert_eq!(bytes(&env, &run), before);
    env.ok(&RECOVER);
    assert!(!env.exists("undone"));
}
