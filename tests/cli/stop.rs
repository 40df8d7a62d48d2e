//! `runlog stop`.

use std::fmt::Write as _;

use rustix::process::{Signal, kill_process};

use crate::support::env::{TestEnv, pid_of, wait_until};
use crate::support::process::wait_until_dead;

#[test]
fn stop_ends_running_job_and_records_why() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "-q", "--run", "it", "--close", "--", "sleep", "1000"]);
    env.wait_for("job_started");
    let output = env.run(&["stop", "it", "--reason", "deploy"]);
    let because = "it is failed: the run is closed and job sleep failed: it was killed by SIGTERM";
    assert_eq!(output.code, 0, "{}", output.stderr());
    let stdout = output.stdout();
    assert!(
        stdout.starts_with(&format!("it  stopped; {because}")),
        "{stdout}"
    );
    assert!(stdout.contains(" (uid ") && stdout.ends_with("), reason: deploy\n"));
    assert_eq!(env.status("it")["jobs"][0]["stop_reason"], "deploy");
    let note = env.event("note");
    assert_eq!(note["name"], "stop_requested");
    assert_eq!(note["job_id"], "sleep");
    assert_eq!(note["data"]["reason"], "deploy");
    assert_eq!(note["data"]["signal"], "SIGTERM");
    assert!(note["data"]["pid"].is_u64() && note["data"]["uid"].is_u64());
    assert_eq!(env.event("job_failed")["signal"], "SIGTERM");
    assert_ne!(job.wait().code, 0);
    // Stopping it again changes nothing.
    let stdout = env.ok(&["stop", "it"]).stdout();
    assert!(
        stdout.starts_with(&format!("it  not running; {because}")),
        "{stdout}"
    );
    assert_eq!(env.events_of_type("it", "note").len(), 1);
}

#[test]
fn stop_escapes_text_from_log() {
    let env = TestEnv::new();
    let name = "./\x1b[31m\u{202e}X\x07";
    env.run(&["run", "-q", "--run", "it", "--close", "--", name]);
    let stdout = env.ok(&["stop", "it"]).stdout();
    assert!(stdout.contains("\\u{1b}[31m"), "{stdout}");
    assert!(!stdout.contains(['\x1b', '\u{202e}', '\x07']), "{stdout}");
}

#[test]
fn stop_kills_job_that_ignores_signal() {
    let env = TestEnv::new();
    let script =
        "trap '' TERM; (trap '' TERM; exec sleep 1000) & echo $! > child; wait; sleep 1000";
    let job = env.spawn(&[
        "run", "-q", "--run", "it", "--close", "--", "sh", "-c", script,
    ]);
    env.wait_for("job_started");
    env.wait_for_file("child");
    let output = env.run(&["stop", "it", "--timeout", "0.2s", "--kill-after", "60"]);
    assert_eq!(output.code, 4, "{}", output.stdout());
    assert!(
        output.stdout().contains("still running"),
        "{}",
        output.stdout()
    );
    assert!(
        output.stderr().contains("hint: to send SIGKILL too"),
        "{}",
        output.stderr()
    );
    // Both are due at once.
    let output = env.run(&["stop", "it", "--timeout", "0", "--kill-after", "0"]);
    assert_eq!((output.code, output.stderr()), (4, String::new()));
    assert_eq!(env.wait_for("job_failed")["signal"], "SIGKILL");
    job.wait();
    let child = std::fs::read_to_string(env.path("child")).unwrap();
    wait_until_dead(child.trim().parse().unwrap());
}

#[test]
fn stop_records_end_of_killed_detached_job() {
    let env = TestEnv::new();
    let script = "trap '' TERM USR1; touch ready; while :; do sleep 1000; done";
    let run = ["run", "-q", "--run", "it", "--close", "--detach", "--"];
    env.ok(&[&run[..], &["sh", "-c", script]].concat());
    env.wait_for_file("ready");
    env.ok(&["stop", "it", "--kill-after", "0.1s"]);
    assert_eq!(env.event("job_failed")["signal"], "SIGKILL");
    assert_eq!(env.status("it")["state"], "failed");
}

#[test]
fn stop_cancels_retries_and_runs_rollback() {
    let env = TestEnv::new();
    let args = ["run", "-q", "--run", "it", "--close", "--retries", "5"];
    let more = ["--rollback", "touch undone", "--", "sleep", "1000"];
    let job = env.spawn(&[&args[..], &more].concat());
    env.wait_for("job_started");
    env.ok(&["stop", "it"]);
    job.wait();
    assert!(env.exists("undone"));
    assert_eq!(env.events_of_type("it", "job_started").len(), 1);
}

#[test]
fn stop_reaches_job_of_killed_front() {
    let env = TestEnv::new();
    let script = "trap 'touch asked; exit 7' TERM; touch ready; while :; do sleep 0.01; done";
    let run = ["run", "-q", "--detach", "-n", "it", "--retries", "5"];
    env.ok(&[&run[..], &["--", "sh", "-c", script]].concat());
    env.wait_for_file("ready");
    let front = env.event("job_submitted")["front"]["pid"].as_i64().unwrap();
    kill_process(pid_of(front), Signal::KILL).unwrap();
    wait_until_dead(u32::try_from(front).unwrap());
    env.ok(&["stop", "it", "--kill-after", "60"]);
    assert!(env.exists("asked"));
    let failed = env.event("job_failed");
    assert_eq!(failed["exit_code"], 7);
    assert_eq!(failed["signals"][0]["signal"], "SIGTERM");
    env.event("job_started");
}

#[test]
fn kill_cancels_retries() {
    let stubborn = "trap '' TERM USR1; touch ready; while :; do sleep 0.01; done";
    for options in [["--signal", "KILL"], ["--signal", "USR1"]] {
        let env = TestEnv::new();
        let run = ["run", "-q", "--detach", "-n", "it", "--retries", "5"];
        let delay = ["--retry-delay", "0", "--", "sh", "-c", stubborn];
        env.ok(&[&run[..], &delay].concat());
        env.wait_for_file("ready");
        env.ok(&[&["stop", "it", "--kill-after", "0"][..], &options].concat());
        assert_eq!(env.event("job_failed")["signal"], "SIGKILL");
        env.event("job_started");
    }
}

#[test]
fn kill_cancels_retry_that_is_due_later() {
    let env = TestEnv::new();
    let run = ["run", "-q", "--detach", "-n", "it", "--retries", "5"];
    env.ok(&[&run[..], &["--retry-delay", "1h", "--", "false"]].concat());
    env.wait_for("job_failed");
    env.ok(&["stop", "it", "--signal", "KILL"]);
    assert_eq!(env.status("it")["state"], "failed");
}

#[test]
fn stop_waits_for_rollback() {
    let env = TestEnv::new();
    let rollback = "touch begun; until [ -e go ] || ! [ -e begun ]; do sleep 0.01; done";
    let run = ["run", "-q", "--detach", "-n", "it", "--rollback", rollback];
    env.ok(&[&run[..], &["--", "sleep", "1000"]].concat());
    let stop = env.spawn(&["stop", "it"]);
    env.wait_for_file("begun");
    env.write("go", "");
    let output = stop.wait();
    assert_eq!(output.code, 0);
    assert!(
        output.stdout().contains("it is failed"),
        "{}",
        output.stdout()
    );
}

#[test]
fn second_stop_waits_for_rollback_too() {
    let env = TestEnv::new();
    let rollback = "touch begun; until [ -e go ] || ! [ -e begun ]; do sleep 0.01; done";
    let run = ["run", "-q", "--detach", "-n", "it", "--rollback", rollback];
    env.ok(&[&run[..], &["--", "sleep", "1000"]].concat());
    let first = env.spawn(&["stop", "it"]);
    env.wait_for_file("begun");
    let early = env.run(&["stop", "it", "--timeout", "0"]);
    let second = env.spawn(&["stop", "it"]);
    env.write("go", "");
    assert_eq!(early.code, 4, "{}", early.stdout());
    for stop in [first, second] {
        let output = stop.wait();
        assert_eq!(output.code, 0);
        let said = output.stdout();
        assert!(said.contains("it is failed"), "{said}");
    }
    // The second one did not signal the rollback.
    assert_eq!(env.event("job_rolled_back")["exit_code"], 0);
}

#[test]
fn stop_refuses_unidentified_supervisor() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "-q", "--run", "it", "--close", "--", "cat"]);
    env.wait_for("job_started");
    // Simulate that another process has the pid of the supervisor by now.
    let log = std::fs::read_to_string(env.log_path("it")).unwrap();
    // Ticks with another number of digits would change the length of the log.
    let swapped = |line: &str| {
        let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let mut line = line.to_owned();
        for process in ["front", "supervisor"] {
            let process = &env.event("job_submitted")[process];
            let (pid, ticks) = (&process["pid"], process["start_ticks"].to_string());
            let (rest, last) = ticks.split_at(ticks.len() - 1);
            let other = digits[(last.parse::<usize>().unwrap() + 5) % 10];
            let field = |ticks: &str| format!("\"pid\":{pid},\"start_ticks\":{ticks}");
            line = line.replace(&field(&ticks), &field(&format!("{rest}{other}")));
        }
        line
    };
    let mut forged = String::new();
    for line in log.lines() {
        let line = swapped(line);
        let body = &line[..line.len() - 18];
        let crc = crc32c::crc32c(body.as_bytes());
        writeln!(forged, "{body},\"crc\":\"{crc:08x}\"}}").unwrap();
    }
    std::fs::write(env.log_path("it"), forged).unwrap();
    // There is nothing to wait for.
    let output = env.run(&["stop", "it"]);
    assert_eq!(output.code, 4, "{}", output.stdout());
    assert!(
        output
            .stdout()
            .starts_with("it  not stopped; it is running"),
        "{}",
        output.stdout()
    );
    assert!(
        output.stderr().contains("is not the one in the log"),
        "{}",
        output.stderr()
    );
    assert_eq!(job.end().code, 0);
}

#[test]
fn stop_kills_job_while_another_run_is_slow() {
    let env = TestEnv::new();
    let rollback = "touch begun; until [ -e go ]; do sleep 0.01; done";
    let slow = ["run", "-q", "--detach", "--run", "slow", "--close"];
    let slow = [&slow[..], &["--rollback", rollback, "--", "sleep", "1000"]].concat();
    env.ok(&slow);
    let script = "trap '' TERM USR1; touch ready; while :; do sleep 1000; done";
    let run = ["run", "-q", "--detach", "--run", "stubborn", "--close"];
    env.ok(&[&run[..], &["--", "sh", "-c", script]].concat());
    env.wait_for_file("ready");
    let stop = env.spawn(&["stop", "slow", "stubborn", "--kill-after", "0.1s"]);
    env.wait_for_file("begun");
    wait_until("the job is killed", || {
        env.status("stubborn")["state"] == "failed"
    });
    env.write("go", "");
    let output = stop.wait();
    assert_eq!(output.code, 0, "{}", output.stdout());
    // Each run is reported once it has ended.
    let stdout = output.stdout();
    let runs: Vec<_> = stdout.lines().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(runs, ["stubborn", "slow"], "{stdout}");
}

#[test]
fn stop_signals_run_with_two_names_once() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "-q", "--run", "it", "--close", "--", "sleep", "1000"]);
    env.wait_for("job_started");
    let output = env.ok(&["stop", "it", "latest"]);
    assert_eq!(output.stdout().lines().count(), 1, "{}", output.stdout());
    assert_eq!(env.events_of_type("it", "note").len(), 1);
    job.wait();
}

#[test]
fn stop_reports_lost_and_missing_runs() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "done", "--close", "--", "true"]);
    let output = env.run(&["stop", "done", "missing"]);
    assert_eq!(output.code, 3);
    assert!(
        output.stdout().contains("not running"),
        "{}",
        output.stdout()
    );
    assert_eq!(env.run(&["stop"]).code, 2);
    assert_eq!(env.run(&["stop", "done", "--signal", "NOPE"]).code, 2);
}
