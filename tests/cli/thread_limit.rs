//! A machine that has no more threads, as with `ulimit -u` or a full cgroup. strace makes
//! `clone3` fail.

use crate::support::crash::has_strace;
use crate::support::env::{Output, TestEnv};

/// Runs `$RUNLOG` with these arguments under strace, which allows each process `threads`
/// threads. `then` follows it in the shell. No process outlives the call.
fn with_threads(env: &TestEnv, threads: usize, args: &str, then: &str) -> Option<Output> {
    if !has_strace(env) {
        return None;
    }
    let trace = env.trace_path();
    let fault = format!("inject=clone3:error=EAGAIN:when={}+", threads + 1);
    let command = format!(
        "{{ strace -f -q -o {} -e trace=clone3 -e {fault} $RUNLOG {args}; \
         echo $? >code; }} {then}",
        trace.display()
    );
    let output = env.sh(&command);
    assert!(!output.stderr().contains("panicked"), "{}", output.stderr());
    Some(output)
}

/// Returns the exit code of `runlog`, even if it is not the last command of a pipeline.
fn code(env: &TestEnv) -> i32 {
    let code = std::fs::read_to_string(env.path("code")).unwrap();
    code.trim().parse().unwrap()
}

/// Returns how many threads were requested, and how many requests failed.
fn asked(env: &TestEnv) -> (usize, usize) {
    let trace = std::fs::read_to_string(env.trace_path()).unwrap();
    let calls = |what: &str| trace.lines().filter(|line| line.contains(what)).count();
    (calls("clone3("), calls("INJECTED"))
}

/// Returns how many threads a job without output needs. A stream with output needs one more.
fn threads_of_a_silent_job() -> Option<usize> {
    let env = TestEnv::new();
    with_threads(&env, 1000, "run -- true", "")?;
    assert_eq!(code(&env), 0);
    Some(asked(&env).0)
}

#[test]
fn status_lists_runs_without_threads() {
    let env = TestEnv::new();
    env.sh(r#"for n in $(seq 300); do "$RUNLOG" emit --no-sync --open --run r$n x; done"#);
    let Some(output) = with_threads(&env, 0, "status --json", "") else {
        return;
    };
    if asked(&env).1 == 0 {
        eprintln!("skipped: one processor is looked at runs with, and no thread asked for");
        return;
    }
    assert_eq!((code(&env), output.stderr().as_str()), (0, ""));
    let stdout = output.stdout();
    let mut runs: Vec<_> = stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["run_id"].clone())
        .collect();
    runs.sort_by_key(ToString::to_string);
    runs.dedup();
    assert_eq!(runs.len(), 300);
}

#[test]
fn closed_reader_ends_job_without_stream_thread() {
    let Some(threads) = threads_of_a_silent_job() else {
        return;
    };
    let env = TestEnv::new();
    let output = with_threads(&env, threads, "run -- yes", "| head -n 2").unwrap();
    assert!(asked(&env).1 > 0);
    assert_eq!(output.stdout(), "y\ny\n");
    assert_eq!(code(&env), 141);
    assert_eq!(env.event("job_failed")["signal"], "SIGPIPE");
}

#[test]
fn output_is_complete_without_stream_thread() {
    let Some(threads) = threads_of_a_silent_job() else {
        return;
    };
    let env = TestEnv::new();
    env.executable(
        "job",
        "#!/bin/sh\nyes | head -n 200000\necho err >&2\nexit 3\n",
    );
    let output = with_threads(&env, threads, "run -- ./job", "").unwrap();
    assert!(asked(&env).1 > 0);
    assert_eq!(code(&env), 3);
    assert!(output.stdout() == "y\n".repeat(200_000));
    assert!(output.stderr().ends_with("err\n"), "{}", output.stderr());
    assert_eq!(env.captured(&env.only_run(), "job").len(), 400_004);
}

#[test]
fn job_that_cannot_be_watched_is_not_started() {
    let Some(threads) = threads_of_a_silent_job() else {
        return;
    };
    for given in 0..threads {
        let env = TestEnv::new();
        let output = with_threads(&env, given, "run -- touch ran", "").unwrap();
        assert_eq!(code(&env), 125, "{given}: {}", output.stderr());
        assert!(output.stderr().contains("error: "), "{}", output.stderr());
        assert!(
            output
                .stderr()
                .contains("\nhint: raise the limit on processes")
        );
        assert!(!env.exists("ran"));
        let left = env
            .runs()
            .into_iter()
            .map(|run| env.status(&run)["state"].clone());
        assert!(left.into_iter().all(|state| state == "failed"), "{given}");
    }
}
