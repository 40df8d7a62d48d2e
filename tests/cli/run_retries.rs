//! Which failures are retried, and when.

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::env::{TestEnv, pid_of};
use crate::support::process::{Background, supervisors};

/// Runs a script that fails with these options, and returns the ends of its attempts.
fn attempts(env: &TestEnv, options: &[&str], script: &str) -> Vec<Value> {
    let job = ["--", "sh", "-c", script];
    env.run(&[&["run", "-q", "--retries", "3"], options, &job].concat());
    env.events_of_type(&env.only_run(), "job_failed")
}

fn delays(attempts: &[Value]) -> Vec<u64> {
    let delays = attempts.iter().filter_map(|e| e["retry_in_ms"].as_u64());
    delays.collect()
}

#[test]
fn only_listed_exit_codes_are_retried() {
    let env = TestEnv::new();
    let on = ["--retry-delay", "0", "--retry-on", "75,100-110"];
    // 75, 105, then 3, which is in no range.
    let script = "echo >>n; case $(wc -l <n) in 1) exit 75;; 2) exit 105;; *) exit 3;; esac";
    let attempts = attempts(&env, &on, script);
    let codes: Vec<_> = attempts.iter().map(|e| e["exit_code"].clone()).collect();
    assert_eq!(codes, [75, 105, 3]);
    assert!(attempts[2].get("retry_in_ms").is_none(), "{}", attempts[2]);
    assert_eq!(env.types(&env.only_run()).last().unwrap(), "run_closed");
}

#[test]
fn timeouts_and_signals_are_distinguished() {
    for (list, timeout, script, count) in [
        ("timeout", "50ms", "sleep 60", 4),
        ("signal", "50ms", "sleep 60", 1),
        ("signal", "0", "kill -9 $$", 4),
        ("timeout,oom", "0", "kill -9 $$", 1),
    ] {
        let env = TestEnv::new();
        let options = ["--timeout", timeout, "--retry-delay=0", "--retry-on", list];
        let attempts = attempts(&env, &options, script);
        assert_eq!(attempts.len(), count, "{list} {script}");
    }
}

#[test]
fn delays_grow_by_factor_up_to_limit() {
    let env = TestEnv::new();
    let backoff = ["--retry-delay", "10ms", "--retry-backoff", "2"];
    let options = [&backoff[..], &["--retry-max-delay", "30ms"]].concat();
    assert_eq!(delays(&attempts(&env, &options, "exit 1")), [10, 20, 30]);
}

#[test]
fn jitter_keeps_half_of_each_delay() {
    let env = TestEnv::new();
    let options = ["--retry-delay", "100ms", "--retry-jitter"];
    let delays = delays(&attempts(&env, &options, "exit 1"));
    assert_eq!(delays.len(), 3);
    assert!(
        delays.iter().all(|ms| (50..=100).contains(ms)),
        "{delays:?}"
    );
}

#[test]
fn retry_settings_are_defaults_of_flags() {
    let env = TestEnv::new();
    let dir = ".omne/lib/cfg";
    std::fs::create_dir_all(env.path(dir)).unwrap();
    let settings = "[run]\nretry_on = \"75\"\nretry_delay = 0\nretry_backoff = 1.5\n";
    env.write(&format!("{dir}/runlog.toml"), settings);
    assert_eq!(attempts(&env, &[], "exit 76").len(), 1);
    env.ok(&["gc", "--max-age", "0"]);
    assert_eq!(attempts(&env, &["--retry-on", "76"], "exit 76").len(), 4);
}

#[test]
fn retry_flags_without_retries_are_refused() {
    let env = TestEnv::new();
    for flag in [
        "--retry-on=75",
        "--retry-delay=1",
        "--retry-backoff=2",
        "--retry-max-delay=1",
        "--retry-jitter",
    ] {
        let output = env.run(&["run", flag, "--", "touch", "ran"]);
        let name = flag.split('=').next().unwrap();
        let message = format!(
            "error: {name} has no effect without --retries\n\
             hint: say how often to retry with --retries N\n"
        );
        assert_eq!((output.code, output.stderr()), (2, message));
    }
    assert!(!env.exists("ran") && env.runs().is_empty());
    // A script may compute the number, and settings are about retries of any command.
    env.ok(&["run", "--retries=0", "--retry-on=75", "true"]);
    std::fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    let set = |text: &str| env.write(".omne/lib/cfg/runlog.toml", text);
    set("[run]\nretry_on = \"75\"\nretry_jitter = true\n");
    env.ok(&["run", "true"]);
    assert_eq!(env.run(&["run", "--retry-delay=0", "true"]).code, 2);
    set("[run]\nretries = 1\n");
    env.ok(&["run", "--retry-on=75", "true"]);
}

/// Checks the end of a job that exited with 3 once, before SIGTERM canceled its next attempt.
fn assert_canceled(env: &TestEnv, job: Background) {
    job.signal(Signal::TERM);
    assert_eq!(job.end().code, 1015);
    let run = env.only_run();
    let failed = env.events_of_type(&run, "job_failed").pop().unwrap();
    assert_eq!(failed["error"]["kind"], "canceled", "{failed}");
    assert_eq!(
        (&failed["exit_code"], &failed["attempt"]),
        (&3.into(), &1.into())
    );
    assert!(
        failed["duration_ms"].is_u64() && failed.get("retry_in_ms").is_none(),
        "{failed}"
    );
    assert_eq!(failed["output"]["stdout_bytes"], 3);
    assert_eq!(failed["signals"][0]["signal"], "SIGTERM");
    let pid = std::process::id();
    assert_eq!(failed["signals"][0]["sender"]["pid"], pid);
    let because = env.status(&run)["because"].to_string();
    let sender = format!("it was sent SIGTERM by process {pid}");
    assert!(because.contains(&sender), "{because}");
    env.ok(&["replay", "--verify", &run]);
}

#[test]
fn canceled_retry_keeps_last_attempt_and_names_sender() {
    let options = ["run", "--retries=3", "--retry-delay=1h", "--", "sh", "-c"];
    let args = [&options[..], &["echo hi; exit 3"]].concat();
    let env = TestEnv::new();
    let job = env.spawn(&args);
    env.wait_for("job_failed");
    assert_canceled(&env, job);
    let env = TestEnv::new();
    let job = env.spawn(&args);
    env.wait_for("job_failed");
    for pid in supervisors(job.pid()) {
        kill_process(pid_of(i64::from(pid)), Signal::KILL).unwrap();
    }
    env.wait_for("supervisor_replaced");
    assert_canceled(&env, job);
}

#[test]
fn retry_of_command_that_is_gone_fails_like_it() {
    for (change, code, kind, message) in [
        ("rm", 127, "not_found", "No such file or directory"),
        ("chmod -x", 126, "not_executable", "Permission denied"),
    ] {
        let env = TestEnv::new();
        env.executable(
            "job",
            format!("#!/bin/sh\necho hi; {change} \"$0\"; exit 3\n"),
        );
        let options = [
            "run",
            "--retries=2",
            "--retry-delay=0",
            "--rollback=echo undone",
        ];
        let output = env.run(&[&options[..], &["--", "./job"]].concat());
        assert_eq!(output.code, code);
        let stderr = output.stderr();
        assert!(
            stderr.contains(&format!("error: cannot execute ./job: {message}")),
            "{stderr}"
        );
        assert!(
            stderr.contains("\nhint: ") && stderr.contains("undone"),
            "{stderr}"
        );
        let run = env.only_run();
        let failed = env.events_of_type(&run, "job_failed").pop().unwrap();
        assert_eq!(failed["error"]["kind"], kind);
        assert_eq!(failed["attempt"], 1);
        assert_eq!(failed["output"]["stdout_bytes"], 3);
        assert!(failed.get("exit_code").is_none(), "{failed}");
    }
}

#[test]
fn replaced_supervisor_keeps_retry_time() {
    let env = TestEnv::new();
    let script = "test -e second || { touch second; exit 9; }";
    let options = ["run", "-q", "--retries", "1", "--retry-delay", "1500ms"];
    let job = env.spawn(&[&options[..], &["--", "sh", "-c", script]].concat());
    env.wait_for("job_failed");
    for pid in supervisors(job.pid()) {
        kill_process(pid_of(i64::from(pid)), Signal::KILL).unwrap();
    }
    assert_eq!(job.end().code, 0);
    assert_eq!(env.event("supervisor_replaced")["signal"], "SIGKILL");
    let run = env.only_run();
    let started = env.events_of_type(&run, "job_started");
    assert_eq!(started.len(), 2);
    let micros = |ts: &Value| {
        let ts: jiff::Timestamp = ts.as_str().unwrap().parse().unwrap();
        ts.as_microsecond()
    };
    let failed = &env.event("job_failed")["telemetry_after"]["taken_ts"];
    assert!(micros(&started[1]["ts"]) - micros(failed) >= 1_500_000);
    env.ok(&["replay", "--verify", &run]);
}
