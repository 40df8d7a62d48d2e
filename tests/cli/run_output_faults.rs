//! Output that cannot be passed on or stored, and output of processes that outlive their job.

use std::fs;

use crate::support::env::{TestEnv, wait_until};
use crate::support::process::Output;

/// Runs a shell script with `$RUNLOG`.
fn shell(script: &str) -> (TestEnv, Output) {
    let env = TestEnv::new();
    let output = env.sh(script);
    (env, output)
}

#[test]
fn rollback_survives_streams_that_cannot_be_written() {
    let (env, output) = shell(
        r#""$RUNLOG" run --rollback 'echo 1; sleep 0.2; echo 2; sleep 0.2; touch undone' -- sh -c 'exit 3' 2>/dev/full"#,
    );
    assert_eq!(output.code, 3);
    assert!(env.exists("undone"));
}

#[test]
fn undelivered_output_exits_74() {
    for stream in [">/dev/full", "2>/dev/full", ">&-"] {
        let script = format!(r#""$RUNLOG" run -- sh -c 'echo backup; echo backup >&2' {stream}"#);
        let (env, output) = shell(&script);
        assert_eq!(output.code, 74, "{stream}: {}", output.stderr());
        let completed = env.event("job_completed");
        assert_eq!(completed["output"]["undelivered_bytes"], 7, "{stream}");
        assert_eq!(env.captured(&env.only_run(), "sh").len(), 14);
    }
    let (_, output) = shell(r#""$RUNLOG" run --streams merged -- echo x >/dev/full"#);
    let warning = "cannot pass on the job's output, which is only stored from now on";
    assert!(output.stderr().contains(warning), "{}", output.stderr());
    let (_, output) = shell(r#""$RUNLOG" run -- sh -c 'echo x; exit 3' >/dev/full"#);
    assert_eq!(output.code, 3, "the job's own code comes first");
}

#[test]
fn process_left_behind_can_still_print() {
    let env = TestEnv::new();
    let script = "(until test -e go; do sleep 0.01; done; echo late; touch alive) & echo started";
    let output = env.ok(&["run", "--", "sh", "-c", script]);
    assert_eq!(output.stdout(), "started\n");
    assert_eq!(env.event("job_completed")["output"]["held_open"], true);
    env.write("go", "");
    env.wait_for_file("alive");
}

#[test]
fn filters_of_ended_shell_print_last_lines() {
    // The filter is not started too late: the job waits for it.
    let job = "until test -e ready; do sleep 0.01; done; echo FATAL; exit 3";
    let filter = "touch ready; sed s/^/err:/";
    for (script, options) in [
        (format!("exec > >({filter}) 2>&1; {job}"), &["run"][..]),
        (
            format!("sh -c 'exec >&2; {job}' 2> >({filter} >&2); exit 3"),
            &["run"],
        ),
        (
            format!("exec > >({filter}) 2>&1; {job}"),
            &["run", "--tty", "always"],
        ),
    ] {
        let env = TestEnv::new();
        let output = env.run(&[options, &["--", "bash", "-c", &script]].concat());
        assert_eq!(output.code, 3, "{script}");
        let shown = output.stdout() + &output.stderr();
        assert!(shown.contains("err:FATAL\n"), "{script}: {shown}");
        assert_eq!(env.captured(&env.only_run(), "bash"), b"err:FATAL\n");
        let failed = env.event("job_failed");
        assert_eq!(failed["output"].get("held_open"), None, "{script}");
    }
}

#[test]
fn shortened_output_file_is_reported() {
    let env = TestEnv::new();
    let script = "echo one; until test -e go; do sleep 0.01; done; echo two";
    let job = env.spawn(&["run", "--run", "it", "--close", "--", "sh", "-c", script]);
    env.wait_for("job_started");
    wait_until("the first line", || env.captured("it", "sh") == b"one\n");
    fs::write(env.run_dir("it").join("jobs/sh.out"), "").unwrap();
    env.write("go", "");
    let output = job.wait();
    assert_eq!(output.code, 0);
    assert!(
        output.stderr().contains("has shortened the file"),
        "{}",
        output.stderr()
    );
    assert_eq!(env.captured("it", "sh"), b"");
    assert_eq!(env.run(&["replay", "--verify", "it"]).code, 5);
}

#[test]
fn capture_limit_bounds_index_of_short_writes() {
    let env = TestEnv::new();
    let script = "i=0; while [ $i -lt 300 ]; do printf x; printf y >&2; i=$((i+1)); done";
    let args = [
        "run",
        "-q",
        "--capture-limit",
        "1K",
        "--run",
        "it",
        "--",
        "sh",
        "-c",
        script,
    ];
    env.ok(&args);
    let jobs = env.run_dir("it").join("jobs");
    for name in ["sh.out", "sh.out.idx"] {
        assert!(
            fs::metadata(jobs.join(name)).unwrap().len() <= 1024,
            "{name}"
        );
    }
    assert!(!env.captured("it", "sh").is_empty());
    assert_eq!(env.event("job_completed")["output"]["stdout_bytes"], 300);
    env.ok(&["replay", "--verify", "it"]);
}
