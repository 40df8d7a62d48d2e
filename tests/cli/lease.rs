//! `running` and `lost` come from the lease, not from a guess.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;

use insta::assert_snapshot;
use rustix::process::{Signal, getpid, kill_process, set_child_subreaper};

use crate::support::checks::{normal, snapshot};
use crate::support::env::{Background, TestEnv, pid_of, wait_until};
use crate::support::process::{kill_front_and_supervisor, wait_until_dead};

/// Starts a run whose job waits for its stdin.
fn started(env: &TestEnv) -> Background {
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    job
}

fn job_pid(env: &TestEnv) -> rustix::process::Pid {
    pid_of(env.event("job_started")["pid"].as_i64().unwrap())
}

#[test]
fn run_is_running_while_supervisor_lives() {
    let env = TestEnv::new();
    let job = started(&env);
    let status = env.status("it");
    assert_eq!(status["state"], "running");
    let because = status["because"].as_str().unwrap();
    assert!(
        because.starts_with("the supervisor of job cat holds its lease; it is process "),
        "{because}"
    );
    assert_eq!(status["jobs"][0]["stage"], "started");
    job.end();
}

#[test]
fn run_of_killed_supervisor_is_lost_at_once() {
    for _ in 0..15 {
        let env = TestEnv::new();
        let job = started(&env);
        assert_eq!(env.status("it")["state"], "running");
        job.kill();
        let status = env.status("it");
        assert_eq!(status["state"], "lost", "{status}");
    }
}

#[test]
fn supervisor_killed_anytime_never_leaves_running_run() {
    for round in 0..25_u64 {
        let env = TestEnv::new();
        let job = env.spawn(&["run", "--", "true"]);
        // Any moment is valid. Each round tries a different one.
        std::thread::sleep(std::time::Duration::from_micros(round * 700));
        job.kill();
        for run in env.runs() {
            let events = env.events(&run);
            if events.is_empty() {
                continue;
            }
            let status = env.status(&run);
            let whole = events.last().unwrap()["type"] == "run_closed";
            let expected = if whole { "completed" } else { "lost" };
            assert_eq!(status["state"], expected, "{status}");
        }
        // The volume accepts the next run.
        env.ok(&["run", "--", "true"]);
    }
}

#[test]
fn lost_run_reports_dead_job() {
    let env = TestEnv::new();
    let job = started(&env);
    let pid = job_pid(&env);
    job.kill();
    kill_process(pid, Signal::KILL).ok();
    wait_until_dead(pid.as_raw_nonzero().get().cast_unsigned());
    let because = env.status("it")["because"].as_str().unwrap().to_owned();
    assert_snapshot!(normal(&env, &because), @"job cat has not ended and its lease is free; its first process [PID] is dead (`runlog replay --recover --dry-run it` looks for others)");
}

#[test]
fn lost_run_reports_surviving_job() {
    let env = TestEnv::new();
    let job = env.spawn(&[
        "run",
        "--run",
        "it",
        "--",
        "sh",
        "-c",
        "while test -d .omne && ! test -e stop; do sleep 0.01; done",
    ]);
    env.wait_for("job_started");
    job.kill();
    let output = env.run(&["status", "it"]);
    env.write("stop", "");
    let shown = snapshot(&env, &output);
    let because = shown.lines().find(|l| l.starts_with("because")).unwrap();
    assert_snapshot!(because, @"because  job sh has not ended and its lease is free; its process [PID] is still running");
}

#[test]
fn reused_pid_is_not_mistaken_for_job() {
    let env = TestEnv::new();
    let job = started(&env);
    job.kill();
    // The log of a job whose pid now belongs to this test.
    let path = env.log_path("it");
    let log = std::fs::read_to_string(&path).unwrap();
    let pid = env.event("job_started")["pid"].to_string();
    let own = std::process::id().to_string();
    let mut forged = String::new();
    for line in log.lines() {
        let line = line.replace(
            &format!(r#""attempt":1,"pid":{pid}"#),
            &format!(r#""attempt":1,"pid":{own}"#),
        );
        let body = &line[..line.len() - 18];
        let crc = crc32c::crc32c(body.as_bytes());
        writeln!(forged, "{body},\"crc\":\"{crc:08x}\"}}").unwrap();
    }
    assert!(forged.contains(&own));
    std::fs::write(&path, forged).unwrap();
    let because = env.status("it")["because"].as_str().unwrap().to_owned();
    assert!(
        because.contains(&format!("its first process {own} is dead")),
        "{because}"
    );
}

#[test]
fn zombie_counts_as_dead() {
    let env = TestEnv::new();
    // When runlog has exited, the job's parent is this process, which never reaps it.
    let script = r#"
        "$RUNLOG" run --run it -- sh -c 'while test -d .omne && ! test -e stop; do sleep 0.01; done' &
        echo $! >pid
        exec tail -f /dev/null
    "#;
    let mut command = env.program("sh");
    command.args(["-c", script]);
    // SAFETY: prctl is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| Ok(set_child_subreaper(Some(getpid()))?));
    }
    let reaper = Background::new(&mut command);
    let started = env.wait_for("job_started");
    let supervisor = std::fs::read_to_string(env.path("pid")).unwrap();
    kill_front_and_supervisor(supervisor.trim().parse().unwrap());
    env.write("stop", "");
    let stat = format!("/proc/{}/stat", started["pid"]);
    wait_until("a zombie", || {
        std::fs::read_to_string(&stat).unwrap().contains(") Z ")
    });
    wait_until("a lost run", || env.status("it")["state"] == "lost");
    let because = env.status("it")["because"].as_str().unwrap().to_owned();
    assert!(because.contains("is dead"), "{because}");
    reaper.kill();
}

#[test]
fn stopped_supervisor_counts_as_running() {
    let env = TestEnv::new();
    let job = started(&env);
    job.signal(Signal::STOP);
    assert_eq!(env.status("it")["state"], "running");
    job.signal(Signal::CONT);
    assert_eq!(job.end().code, 0);
}

#[test]
fn job_does_not_inherit_lease() {
    let env = TestEnv::new();
    let script = "trap '' HUP; while test -d .omne && ! test -e stop; do sleep 0.01; done";
    let job = env.spawn(&["run", "--run", "it", "--", "sh", "-c", script]);
    env.wait_for("job_started");
    job.kill();
    assert_eq!(env.status("it")["state"], "lost");
    env.write("stop", "");
}

#[test]
fn status_does_not_acquire_lease() {
    let env = TestEnv::new();
    let job = started(&env);
    for _ in 0..20 {
        assert_eq!(env.status("it")["state"], "running");
    }
    assert_eq!(job.end().code, 0);
    assert_eq!(env.status("it")["state"], "open");
}

#[test]
fn lost_job_does_not_hide_running_job() {
    let env = TestEnv::new();
    started(&env).kill();
    let other = env.spawn(&["run", "--run", "it", "--job", "other", "--", "cat"]);
    wait_until("the other job", || {
        env.events_of_type("it", "job_started").len() == 2
    });
    assert_eq!(env.status("it")["state"], "running");
    other.end();
    assert_eq!(env.status("it")["state"], "lost");
}

#[test]
fn detached_run_is_lost_when_supervisor_is_killed() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "--detach",
        "--run",
        "it",
        "--",
        "sh",
        "-c",
        "while test -d .omne && ! test -e stop; do sleep 0.01; done",
    ]);
    let front = env.event("job_submitted")["front"]["pid"].as_u64().unwrap();
    kill_front_and_supervisor(u32::try_from(front).unwrap());
    assert_eq!(env.run(&["status", "--wait", "it"]).code, 1);
    assert_eq!(env.status("it")["state"], "lost");
    env.write("stop", "");
}
