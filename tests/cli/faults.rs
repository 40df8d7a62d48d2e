//! Disks that fail, and full disks.

use insta::assert_snapshot;

use crate::support::checks::snapshot;
use crate::support::crash::{has_strace, on_small_disk, run_with_fault};
use crate::support::env::{Output, TestEnv};

/// Runs `runlog` with a fault at system calls on the log of the run `it`.
fn with_fault(env: &TestEnv, fault: &str, args: &[&str]) -> Option<Output> {
    let log = env.log_path("it");
    let options = ["-P", log.to_str().unwrap()];
    has_strace(env).then(|| run_with_fault(env, &options, fault, args))
}

/// Creates the open run `it`.
fn opened() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    env
}

#[test]
fn note_with_failed_sync_is_written_but_not_acked() {
    let env = opened();
    let fault = "fdatasync:error=EIO";
    let Some(output) = with_fault(&env, fault, &["emit", "--ack", "--run", "it", "x"]) else {
        return;
    };
    assert_eq!((output.code, output.stdout()), (7, String::new()));
    assert!(
        output.stderr().starts_with("error: written, not durable: "),
        "{}",
        output.stderr()
    );
    // The note is written once and not repeated.
    assert_eq!(env.types("it"), ["run_opened", "note", "note"]);
    env.ok(&["emit", "--run", "it", "after"]);
}

#[test]
fn no_sync_ignores_failing_fsync() {
    let env = opened();
    let Some(output) = with_fault(
        &env,
        "fdatasync:error=EIO",
        &["emit", "--no-sync", "--run", "it", "x"],
    ) else {
        return;
    };
    assert_eq!(output.code, 0, "{}", output.stderr());
}

#[test]
fn job_with_undurable_submission_is_not_started() {
    let env = opened();
    let args = ["run", "--run", "it", "--", "touch", "ran"];
    let Some(output) = with_fault(&env, "fdatasync:error=EIO", &args) else {
        return;
    };
    assert_eq!(output.code, 125);
    assert!(
        output.stderr().contains("error: written, not durable: "),
        "{}",
        output.stderr()
    );
    assert!(!env.exists("ran"));
    // The job is known not to have started, so it failed and is not lost.
    assert_eq!(env.types("it").last().unwrap(), "job_failed");
    assert_eq!(env.status("it")["state"], "open");
}

#[test]
fn job_with_unwritten_submission_is_not_logged() {
    let env = opened();
    let args = ["run", "--run", "it", "--", "touch", "ran"];
    let Some(output) = with_fault(&env, "write:error=EIO:when=1", &args) else {
        return;
    };
    assert_eq!(output.code, 125);
    assert!(!env.exists("ran"));
    assert_eq!(env.types("it"), ["run_opened", "note"]);
}

#[test]
fn sync_failure_after_start_only_warns() {
    let env = opened();
    let args = ["run", "--run", "it", "--", "sh", "-c", "echo out; exit 3"];
    let Some(output) = with_fault(&env, "fdatasync:error=EIO:when=2+", &args) else {
        return;
    };
    assert_eq!((output.code, output.stdout()), (3, "out\n".to_owned()));
    assert!(
        output.stderr().contains("warning: ") && output.stderr().contains("not durable"),
        "{}",
        output.stderr()
    );
    let types = env.types("it");
    assert_eq!(
        types[2..],
        [
            "job_submitted",
            "job_validated",
            "job_started",
            "job_failed"
        ]
    );
    assert_eq!(env.status("it")["jobs"][0]["exit_code"], 3);
}

#[test]
fn note_without_space_is_rejected_before_writing() {
    let env = opened();
    let before = std::fs::read(env.log_path("it")).unwrap();
    let Some(output) = with_fault(
        &env,
        "fallocate:error=ENOSPC",
        &["emit", "--run", "it", "x"],
    ) else {
        return;
    };
    assert_snapshot!(snapshot(&env, &output), @"
    exit 7
    -- stderr
    error: nothing was written to `[ROOT]/.omne/var/runs/it/events.jsonl`: No space left on device (os error 28)
    hint: free disk space or inodes (`df -i`), or raise the quota; then retry
    ");
    assert_eq!(std::fs::read(env.log_path("it")).unwrap(), before);
}

#[test]
fn error_of_system_has_next_step() {
    let env = opened();
    for (fault, reason, hint) in [
        (
            "fallocate:error=EDQUOT",
            "Disk quota exceeded",
            "or raise the quota",
        ),
        (
            "flock:error=ENOLCK",
            "No locks available",
            "no working flock(2)",
        ),
        (
            "write:error=EIO:when=1",
            "Input/output error",
            "check the disk (`dmesg`)",
        ),
    ] {
        let Some(output) = with_fault(&env, fault, &["emit", "--run", "it", "x"]) else {
            return;
        };
        let stderr = output.stderr();
        assert_eq!(output.code, 7, "{stderr}");
        assert!(stderr.contains(reason) && stderr.contains(hint), "{stderr}");
    }
}

#[test]
fn job_without_space_is_not_started() {
    let env = opened();
    let args = ["run", "--run", "it", "--", "touch", "ran"];
    let Some(output) = with_fault(&env, "fallocate:error=ENOSPC", &args) else {
        return;
    };
    assert_eq!(output.code, 125);
    assert!(!env.exists("ran"));
    assert_eq!(env.types("it"), ["run_opened", "note"]);
}

#[test]
fn job_end_is_written_without_preallocation() {
    let env = opened();
    // The first preallocation is large enough for now. All later ones fail.
    let args = ["run", "--run", "it", "--close", "--", "sh", "-c", "exit 3"];
    let Some(output) = with_fault(&env, "fallocate:error=ENOSPC:when=2+", &args) else {
        return;
    };
    assert_eq!(output.code, 3);
    assert_eq!(env.types("it").last().unwrap(), "run_closed");
}

#[test]
fn missing_fallocate_support_is_tolerated() {
    let env = opened();
    let Some(output) = with_fault(
        &env,
        "fallocate:error=EOPNOTSUPP",
        &["run", "--run", "it", "--", "true"],
    ) else {
        return;
    };
    assert_eq!((output.code, output.stdout()), (0, String::new()));
    assert_eq!(env.types("it").last().unwrap(), "job_completed");
}

#[test]
fn write_failure_after_start_only_warns() {
    let env = opened();
    let args = ["run", "--run", "it", "--", "sh", "-c", "echo out; exit 3"];
    let Some(output) = with_fault(&env, "write,pwrite64,writev:error=EIO:when=2+", &args) else {
        return;
    };
    assert_eq!((output.code, output.stdout()), (3, "out\n".to_owned()));
    assert!(output.stderr().contains("warning: "), "{}", output.stderr());
    // strace counts per thread, and another thread writes `job_started`.
    let types = env.types("it");
    assert_eq!(
        types[2..],
        ["job_submitted", "job_validated", "job_started"]
    );
    assert_eq!(env.status("it")["state"], "lost");
    env.ok(&["emit", "--run", "it", "after"]);
}

#[test]
fn job_that_fills_disk_gets_its_end_recorded() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" run -- sh -c 'cat /dev/zero >fill 2>/dev/null; exit 3' 2>../err
        echo "code $?"
        "$RUNLOG" status --json latest >../status; cat .omne/var/runs/*/events.jsonl >../log
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    assert_eq!(output.stdout(), "code 3\n", "{}", output.stderr());
    let events = crate::support::checks::events(&std::fs::read(env.path("log")).unwrap());
    let types: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(types[3..], ["job_started", "job_failed", "run_closed"]);
}

#[test]
fn output_without_space_is_still_passed_through() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" run -- sh -c 'head -c 3000000 /dev/zero; exit 3' 2>../err | wc -c
        "$RUNLOG" status --json latest >../status; cat .omne/var/runs/*/events.jsonl >../log
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    assert_eq!(output.stdout().trim(), "3000000", "{}", output.stderr());
    let events = crate::support::checks::events(&std::fs::read(env.path("log")).unwrap());
    let end = events.iter().find(|e| e["type"] == "job_failed").unwrap();
    assert_eq!(
        (&end["exit_code"], &end["output"]["stdout_bytes"]),
        (&3.into(), &3_000_000.into())
    );
    assert!(end["output"]["truncated"].is_string(), "{end}");
    assert_eq!(events.last().unwrap()["type"], "run_closed");
}

#[test]
fn note_on_full_disk_fails_and_log_stays_valid() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" emit --open --run it first
        cat /dev/zero >fill 2>/dev/null
        for n in $(seq 1 2000); do head -c 500 /dev/zero | tr '\0' x; echo; done | "$RUNLOG" emit --run it --lines --ack >../acked
        echo "code $?"
        rm fill; "$RUNLOG" emit --run it after || echo failed
        cat .omne/var/runs/it/events.jsonl >../log
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    assert_eq!(output.stdout(), "code 7\n", "{}", output.stderr());
    let events = crate::support::checks::events(&std::fs::read(env.path("log")).unwrap());
    assert_eq!(events.last().unwrap()["name"], "after");
    for line in std::fs::read_to_string(env.path("acked")).unwrap().lines() {
        assert!(events.contains(&crate::support::checks::event(line.as_bytes())));
    }
}

#[test]
fn snapshots_are_retaken_on_slow_disk() {
    let env = opened();
    let fault = "fdatasync:delay_exit=120000";
    let args = ["run", "--run", "it", "--close", "--", "true"];
    let Some(output) = with_fault(&env, fault, &args) else {
        return;
    };
    assert_eq!(output.code, 0, "{}", output.stderr());
    let submitted = env.event("job_submitted");
    let started = env.event("job_started");
    for snapshot in ["telemetry_before", "process_before"] {
        let taken = started[snapshot]["taken_ts"].as_str().unwrap();
        assert!(taken > submitted["ts"].as_str().unwrap(), "{started}");
    }
}

/// A shell function that lets the log of the run `it` grow no more.
const FILL: &str = "fill() {
    until grep -q job_started .omne/var/runs/it/events.jsonl; do sleep 0.01; done
    prlimit --pid $PPID --fsize=$(stat -c %s .omne/var/runs/it/events.jsonl):unlimited
}";
const DRAIN: &str = "prlimit --pid $PPID --fsize=unlimited";

#[test]
fn event_that_cannot_be_written_precedes_next_one() {
    let env = TestEnv::new();
    let run = [
        "run",
        "--run",
        "it",
        "--close",
        "--rollback",
        "touch undone",
    ];
    let script = format!("{FILL}; fill; exit 3");
    let job = ["--on-failure", DRAIN, "--", "sh", "-c", &script];
    let output = env.run(&[&run[..], &job].concat());
    assert_eq!(output.code, 3, "{}", output.stderr());
    let stderr = output.stderr();
    assert!(
        stderr.contains("the end of the job is not in the log"),
        "{stderr}"
    );
    assert!(stderr.contains("the rollback was not run"), "{stderr}");
    assert!(!env.exists("undone"));
    assert!(
        env.types("it")
            .ends_with(&["job_failed", "hook_ended"].map(str::to_owned))
    );
    assert_eq!(env.event("job_failed")["exit_code"], 3);
    env.ok(&["replay", "it", "--verify"]);
}
