//! Runs with more segments than a process may have open files.

use std::fs;

use crate::support::env::{Output, TestEnv, finish};

const SEGMENTS: usize = 60;

/// Creates a run with more segments than [`limited`] allows open files. One job completed in its
/// first segment.
fn many_segments() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "r", "--job", "first", "--", "true"]);
    env.ok(&["rotate", "r", "--force", "--no-compress"]);
    for n in 1..SEGMENTS {
        env.ok(&["emit", "--no-sync", "--run", "r", &format!("n{n}")]);
        env.ok(&["rotate", "r", "--force", "--no-compress"]);
    }
    env
}

/// Runs `runlog` with at most 40 open files.
fn limited(env: &TestEnv, args: &[&str]) -> Output {
    let script = ["-c", "ulimit -n 40; exec \"$RUNLOG\" \"$@\"", "sh"];
    finish(env.program("sh").args(script).args(args))
}

#[test]
fn segments_may_outnumber_open_files() {
    let env = many_segments();
    for args in [
        &["status", "r"][..],
        &["tail", "r"],
        &["tail", "r", "-n", "all", "--json"],
        &["replay", "r", "--json"],
        &["replay", "r", "--verify"],
        &["emit", "--run", "r", "another"],
        &["run", "-q", "--run", "r", "--job", "second", "--", "true"],
        &["rotate", "r", "--force", "--dry-run", "--keep", "5"],
        &["gc", "--max-runs", "0"],
    ] {
        let output = limited(&env, args);
        assert_eq!(output.code, 0, "{args:?}: {}", output.stderr());
    }
    let events = env.json_lines(&["tail", "r", "-n", "all", "--json"]);
    let seqs = events.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(0..events.len() as u64));
    assert_eq!(
        limited(&env, &["rotate", "r", "--force", "--keep", "5"]).code,
        0
    );
    let names = fs::read_dir(env.run_dir("r")).unwrap();
    let sealed = |name: &str| name.starts_with("events-");
    let left = names.filter(|e| sealed(e.as_ref().unwrap().file_name().to_str().unwrap()));
    assert_eq!(left.count(), 5);
    assert_eq!(env.status("r")["jobs"].as_array().unwrap().len(), 2);
}

#[test]
fn job_keeps_open_file_limit() {
    let env = TestEnv::new();
    let script = "ulimit -Sn 50; exec \"$RUNLOG\" run -- sh -c 'ulimit -Sn; ulimit -Hn'";
    let hard = env.sh("ulimit -Hn").stdout();
    assert_eq!(env.sh(script).stdout(), format!("50\n{hard}"));
}

#[test]
fn job_runs_with_low_limit_on_open_files() {
    let env = TestEnv::new();
    let job = "sh -c 'echo out; echo err >&2; exit 3'";
    for tty in ["never", "always"] {
        for limit in 24..32 {
            let script = format!("ulimit -n {limit}; exec \"$RUNLOG\" run --tty {tty} -- {job}");
            let output = env.sh(&script);
            assert_eq!(output.code, 3, "{tty} {limit}: {}", output.stderr());
            assert_eq!(output.stdout(), "out\n", "{tty} {limit}");
            assert!(output.stderr().contains("\nerr\n"), "{tty} {limit}");
        }
    }
    // Without descriptors for its pipes, the log says that it lacks the output.
    let mut runs = env.runs();
    runs.sort();
    let failed = &env.events_of_type(&runs[0], "job_failed")[0];
    let why = failed["output"]["truncated"].as_str().unwrap();
    assert!(why.contains("Too many open files"), "{why}");
}

#[test]
fn attempts_do_not_add_up_to_open_files() {
    for tty in ["never", "always"] {
        let env = TestEnv::new();
        let options = format!("--tty {tty} --retries 40 --retry-delay 0");
        let output = env.sh(&format!(
            "ulimit -n 50; exec \"$RUNLOG\" run -q {options} -- false"
        ));
        assert_eq!(output.code, 1, "{}", output.stderr());
        let failed = env.events_of_type(&env.only_run(), "job_failed");
        assert_eq!(failed.len(), 41, "{tty}");
        assert_eq!(failed[40]["error"]["kind"], "exit", "{}", failed[40]);
        assert!(
            failed[40]["output"]["truncated"].is_null(),
            "{}",
            failed[40]
        );
    }
}
