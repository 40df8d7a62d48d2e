//! Rotation that is killed, or refused by the disk, at each of its system calls. What
//! fails is injected with strace; where it cannot be used, the tests say so and pass.

use std::fs;

use serde_json::Value;

use crate::env::{Output, TestEnv, finish};

/// The system calls of a rotation that change something, or wait for the disk.
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

/// Runs `runlog rotate it` with a fault at the `nth` call of `call`; `None` where it has
/// fewer of them.
fn rotate(env: &TestEnv, call: &str, fault: &str, nth: usize) -> Option<Output> {
    let mut command = env.program("strace");
    command.args(["-f", "-q", "-o", "trace", "-e"]);
    command.arg(format!("inject={call}:{fault}:when={nth}"));
    command.arg(env!("CARGO_BIN_EXE_runlog"));
    command.args(["rotate", "it", "--keep", "2"]);
    let output = finish(&mut command);
    let trace = fs::read(env.path("trace")).unwrap();
    let trace = String::from_utf8_lossy(&trace);
    let hit = trace.contains("INJECTED") || trace.contains("killed by SIGKILL");
    hit.then_some(output)
}

/// The data of all notes, in order, and whether numbers go on without a gap.
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

/// The open run `it`, rotated twice, with a note in each segment.
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
    let probe = TestEnv::new().sh("strace -o /dev/null true");
    if probe.code != 0 {
        eprintln!("skipped: strace cannot be used here: {}", probe.stderr());
        return;
    }
    let mut hits = 0;
    for call in CALLS {
        for nth in 1.. {
            let env = rotated_twice();
            let Some(output) = rotate(&env, call, fault, nth) else {
                break;
            };
            hits += 1;
            let what = format!("{call} {nth} {fault}: {} {}", output.code, output.stderr());
            assert_ne!(output.code, 101, "{what}");
            // The oldest may have been dropped; no other.
            let left = notes(&env);
            assert!(
                [0, 1, 2].ends_with(&left) && left.len() >= 2,
                "{what}: {left:?}"
            );
            note(&env, 3);
            assert_eq!(notes(&env), [&left[..], &[3]].concat(), "{what}");
            env.ok(&["rotate", "it", "--keep", "1"]);
            assert_eq!(env.status("it")["state"], "open", "{what}");
        }
    }
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
