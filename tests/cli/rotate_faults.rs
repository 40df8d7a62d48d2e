//! A rotation that is killed, or whose disk fails, at each of its system calls.

use serde_json::Value;

use crate::support::crash::{at_each_call, has_strace, run_with_fault, was_hit};
use crate::support::env::TestEnv;

/// The system calls of a rotation that change a file or wait for the disk.
const CALLS: [&str; 8] = [
    "openat",
    "write",
    "fsync",
    "fdatasync",
    "renameat2",
    "unlinkat",
    "ftruncate",
    "flock",
];

/// Returns the data of all notes in order, after checking that the sequence has no gaps.
fn notes(env: &TestEnv) -> Vec<u64> {
    let output = env.run(&["tail", "it", "-n", "all", "--json"]);
    assert_eq!((output.code, output.stderr()), (0, String::new()));
    let events: Vec<Value> = output
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seqs: Vec<_> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a + 1 == *b), "{seqs:?}");
    events
        .iter()
        .filter_map(|e| e["data"]["n"].as_u64())
        .collect()
}

/// Creates the open run `it`, rotated twice, with a note in each segment.
fn rotated_twice() -> TestEnv {
    let env = TestEnv::new();
    note(&env, 0);
    env.ok(&["rotate", "it"]);
    note(&env, 1);
    env.ok(&["rotate", "it", "--no-compress"]);
    note(&env, 2);
    env
}

fn note(env: &TestEnv, n: u32) {
    let data = format!("{{\"n\":{n}}}");
    env.ok(&[
        "emit",
        "--open",
        "--no-sync",
        "--run",
        "it",
        "x",
        "--data",
        &data,
    ]);
}

fn sweep(fault: &str) {
    if !has_strace(&TestEnv::new()) {
        return;
    }
    let hits = at_each_call(&CALLS, fault, |fault| {
        let env = rotated_twice();
        let output = run_with_fault(&env, &[], fault, &["rotate", "it", "--keep", "2"]);
        was_hit(&env).then_some(())?;
        let what = format!("{fault}: {} {}", output.code, output.stderr());
        assert_ne!(output.code, 101, "{what}");
        // Only the oldest segment may have been removed.
        let left = notes(&env);
        assert!(
            [0, 1, 2].ends_with(&left) && left.len() >= 2,
            "{what}: {left:?}"
        );
        note(&env, 3);
        assert_eq!(notes(&env), [&left[..], &[3]].concat(), "{what}");
        env.ok(&["rotate", "it", "--keep", "1"]);
        assert_eq!(env.status("it")["state"], "open", "{what}");
        Some(())
    });
    assert!(hits > 20, "{hits}");
}

#[test]
fn rotate_killed_at_each_syscall() {
    sweep("signal=KILL");
}

#[test]
fn rotate_failing_at_each_syscall() {
    sweep("error=EIO");
    sweep("error=ENOSPC");
}
