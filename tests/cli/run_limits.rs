//! Jobs that run too long or fail: timeouts and retries.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::env::{TestEnv, finish, wait_until};
use crate::support::process::processes_in;

/// The memory hierarchy of cgroup v1.
const MEMORY_CGROUP: &str = "/sys/fs/cgroup/memory";

#[test]
fn job_ignoring_term_is_killed_after_grace() {
    let env = TestEnv::new();
    // The job inherits that SIGTERM is ignored, so it ignores it from its first moment.
    let mut command = env.program("env");
    command.args(["--ignore-signal=TERM", env!("CARGO_BIN_EXE_runlog"), "run"]);
    command.args(["--timeout", "100ms", "--kill-after", "100ms"]);
    let output = finish(command.args(["--", "sleep", "1000"]));
    assert_eq!(output.code, 124);
    let failed = env.event("job_failed");
    assert_eq!(failed["error"]["kind"], "timeout");
    assert_eq!(failed["signal"], "SIGKILL");
}

#[test]
fn error_at_limit_of_process_names_the_limit() {
    for limit in ["-f 8", "-n 12"] {
        let env = TestEnv::new();
        let run = |options: &str| {
            env.sh(&format!(
                "ulimit {limit}; exec \"$RUNLOG\" run {options} -- touch started"
            ))
        };
        let output = run("");
        let (option, _) = limit.split_once(' ').unwrap();
        assert_eq!(output.code, 125, "{limit}");
        let hint = output.stderr();
        assert!(hint.contains(&format!("(`ulimit {option}`)")), "{hint}");
        assert!(!env.path("started").exists(), "{limit}");
        assert_eq!(run("--log-optional").code, 0, "{limit}");
        assert!(env.path("started").exists(), "{limit}");
    }
}

#[test]
fn job_prints_more_than_files_may_hold() {
    let env = TestEnv::new();
    // dash counts blocks of 512 bytes, bash of 1024.
    let script = "ulimit -f 144; exec \"$RUNLOG\" run -- head -c 1000000 /dev/zero";
    let output = env.sh(script);
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert!(output.stdout == vec![0; 1_000_000]);
    let completed = env.event("job_completed");
    let why = completed["output"]["truncated"].as_str().unwrap();
    assert!(why.contains("File too large"), "{why}");
}

#[test]
fn timeout_signals_whole_process_group() {
    let env = TestEnv::new();
    let script = "sleep 1000 & wait";
    env.run(&["run", "--timeout", "300ms", "--", "sh", "-c", script]);
    wait_until("the end of the job's child", || {
        processes_in(env.root()).next().is_none()
    });
}

#[test]
fn timeout_applies_to_each_attempt() {
    let env = TestEnv::new();
    let output = env.run(&[
        "run",
        "--timeout",
        "50ms",
        "--retries",
        "1",
        "--retry-delay",
        "0",
        "--",
        "sleep",
        "60",
    ]);
    assert_eq!(output.code, 124);
    assert_eq!(env.events_of_type(&env.only_run(), "job_started").len(), 2);
}

#[test]
fn failed_attempt_records_retry_time() {
    let env = TestEnv::new();
    let script = "test -e second || { touch second; exit 9; }";
    env.ok(&[
        "run",
        "--retries",
        "3",
        "--retry-delay",
        "20ms",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let run = env.only_run();
    let types = env.types(&run);
    assert_eq!(
        types[3..],
        [
            "job_started",
            "job_failed",
            "job_started",
            "job_completed",
            "run_closed"
        ]
    );
    let failed = env.event("job_failed");
    assert_eq!(failed["retry_in_ms"], 20);
    assert_eq!(failed["exit_code"], 9);
    assert_eq!(failed["attempt"], 1);
    assert_eq!(env.events_of_type(&run, "job_started")[1]["attempt"], 2);
    assert_eq!(env.event("job_completed")["attempt"], 2);
}

#[test]
fn last_attempt_decides_outcome() {
    let env = TestEnv::new();
    let output = env.run(&[
        "run",
        "--retries",
        "2",
        "--retry-delay",
        "0",
        "--",
        "sh",
        "-c",
        "echo x >>n; exit $(wc -l <n)",
    ]);
    assert_eq!(output.code, 3);
    let failed = env.events_of_type(&env.only_run(), "job_failed");
    let retried: Vec<_> = failed
        .iter()
        .map(|e| e.get("retry_in_ms").is_some())
        .collect();
    assert_eq!(retried, [true, true, false]);
    assert_eq!(env.status("latest")["jobs"][0]["exit_code"], 3);
    assert_eq!(env.status("latest")["jobs"][0]["attempt"], 3);
}

#[test]
fn command_not_found_is_not_retried() {
    let env = TestEnv::new();
    let output = env.run(&[
        "run",
        "--retries",
        "5",
        "--retry-delay",
        "60s",
        "--",
        "no-such-cmd",
    ]);
    assert_eq!(output.code, 127);
    assert_eq!(env.events_of_type(&env.only_run(), "job_failed").len(), 1);
}

#[test]
fn signal_between_attempts_cancels_retry() {
    let env = TestEnv::new();
    let job = env.spawn(&[
        "run",
        "--retries",
        "5",
        "--retry-delay",
        "1h",
        "--",
        "false",
    ]);
    env.wait_for("job_failed");
    job.signal(Signal::TERM);
    let output = job.end();
    assert_eq!(output.code, 1015);
    let run = env.only_run();
    assert_eq!(env.events_of_type(&run, "job_started").len(), 1);
    let failed = env.events_of_type(&run, "job_failed");
    assert_eq!(failed[1]["error"]["kind"], "canceled");
    assert_eq!(env.types(&run).last().unwrap(), "run_closed");
}

#[test]
fn output_of_all_attempts_is_kept() {
    let env = TestEnv::new();
    let script = "echo again; test -e second || { touch second; exit 1; }";
    env.ok(&[
        "run",
        "--retries",
        "1",
        "--retry-delay",
        "0",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(env.captured(&env.only_run(), "sh"), b"again\nagain\n");
}

/// A cgroup that is removed at the end of a test.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

#[test]
fn oom_kill_is_reported() {
    let env = TestEnv::new();
    let name = format!("runlog-test-{}", std::process::id());
    let group = Cgroup(Path::new(MEMORY_CGROUP).join(name));
    let limit = group.0.join("memory.limit_in_bytes");
    if std::fs::create_dir(&group.0).is_err() || std::fs::write(limit, "100M").is_err() {
        eprintln!("skipped: no cgroup of version 1 can be created");
        return;
    }
    // tail keeps the whole line in memory.
    let output = env.sh(&format!(
        "echo $$ > {}/cgroup.procs && exec {} run -n big --retries 1 --retry-on oom \
         --retry-delay 1ms tail /dev/zero",
        group.0.display(),
        env!("CARGO_BIN_EXE_runlog")
    ));
    assert_eq!(output.code, 137, "{}", output.stderr());
    let failed = env.events_of_type(&env.only_run(), "job_failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(
        failed.iter().all(|event| event["oom_kills"] == 1),
        "{failed:?}"
    );
    assert_eq!(
        env.status("big")["because"],
        "the run is closed and job big failed: it was killed by SIGKILL; memory ran out, and the kernel \
         killed 1 process in its cgroup"
    );
}
