//! `replay --recover` waits for every process of a job, and lets daemons run.

use std::fs;

use rustix::process::{Signal, kill_process};

use crate::support::env::{TestEnv, pid_of, wait_until};

/// Runs a script as the job `it`, kills its supervisor and its first process, and returns the
/// id of the run.
fn lost_script(env: &TestEnv, script: &str) -> String {
    let args = [
        "run",
        "-q",
        "--name",
        "it",
        "--job",
        "it",
        "--rollback",
        "touch undone",
    ];
    let args = [&args[..], &["--", "sh", "-c", script]].concat();
    let job = env.spawn(&args);
    env.wait_for("job_started");
    env.wait_for_file("ready");
    job.kill_both();
    job.wait();
    let pid = pid_of(env.event("job_started")["pid"].as_i64().unwrap());
    kill_process(pid, Signal::KILL).ok();
    env.only_run()
}

const COPYING: &str = "while test -d .omne && ! test -e stop; do sleep 0.01; done";

#[test]
fn recover_waits_for_all_processes_of_job() {
    for leave in ["", "env -i PATH=$PATH "] {
        let env = TestEnv::new();
        let script = format!("{leave}sh -c '{COPYING}' & touch ready; wait");
        let run = lost_script(&env, &script);
        let recover = ["replay", "--recover", "--with-rollback", &run];
        let output = env.run(&recover);
        assert_eq!(output.code, 1, "{leave}: {}", output.stdout());
        let text = "its first process";
        assert!(output.stdout().contains(text), "{}", output.stdout());
        assert!(
            output.stdout().contains("is still running"),
            "{}",
            output.stdout()
        );
        assert!(!env.exists("undone"));
        assert_eq!(
            env.run(&["gc", "--max-age", "0", "--state", "lost"]).code,
            0
        );
        assert_eq!(env.runs(), std::slice::from_ref(&run));
        env.write("stop", "");
        wait_until("the child has ended", || env.run(&recover).code == 0);
        assert!(env.exists("undone"));
    }
}

#[test]
fn daemon_holds_up_rollback_but_not_recovery() {
    let env = TestEnv::new();
    let script = format!("setsid sh -c 'echo $$ > pid; mv pid ready; {COPYING}' & wait");
    let run = lost_script(&env, &script);
    let daemon = fs::read_to_string(env.path("ready")).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.trim())).unwrap();
    if stat.split(' ').nth(3) != Some("1") {
        eprintln!("skipped: orphans are not adopted by init here");
        env.write("stop", "");
        return;
    }
    let recover = ["replay", "--recover", &run];
    let output = env.run(&[&recover[..], &["--with-rollback"]].concat());
    assert_eq!(output.code, 1, "{}", output.stdout());
    assert!(
        output.stdout().contains("a daemon that job it started"),
        "{}",
        output.stdout()
    );
    let output = env.run(&[&recover[..], &["--with-rollback", "--force"]].concat());
    assert_eq!(output.code, 0, "{}", output.stdout());
    assert!(
        output.stdout().contains("left a daemon running"),
        "{}",
        output.stdout()
    );
    assert!(env.exists("undone"));
    env.write("stop", "");
}

#[test]
fn same_job_in_another_volume_does_not_hold_up_recovery() {
    let env = TestEnv::new();
    let script = "until test -e go; do sleep 0.01; done";
    let run = ["run", "-q", "--run", "r", "--job", "j", "--", "sh", "-c"];
    let lost = env.spawn(&[&run[..], &["exec cat"]].concat());
    let started = env.wait_for("job_started");
    lost.kill_both();
    lost.wait();
    kill_process(pid_of(started["pid"].as_i64().unwrap()), Signal::KILL).ok();
    let other = TestEnv::new();
    let running = other.spawn(&[&run[..], &[script]].concat());
    other.wait_for("job_started");
    wait_until("the lost job is recovered", || {
        // Its killed process takes a moment to end.
        env.run(&["replay", "r", "--recover"]);
        env.status("r")["jobs"][0]["error"]["kind"] == "lost"
    });
    other.write("go", "");
    assert_eq!(running.end().code, 0);
}
