//! Writers, rotation, gc, followers and readers on one run at the same time: no acknowledged
//! event is duplicated, reordered, or lost without a report.

use std::fs::{self, File};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::env::{Background, TestEnv, wait_until};

const ROUNDS: usize = 25;

/// Spawns a process whose stdout is a file, so that no pipe slows it down.
fn to_file(env: &TestEnv, args: &[&str], file: &str) -> Background {
    let mut command = env.command(args);
    command.stdin(Stdio::piped());
    command.stdout(File::create(env.path(file)).unwrap());
    Background::new(&mut command)
}

/// Returns the complete lines of a file.
fn stored(env: &TestEnv, file: &str) -> Vec<Value> {
    let bytes = fs::read(env.path(file)).unwrap();
    let whole = bytes
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let lines = bytes[..whole].split_inclusive(|b| *b == b'\n');
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap()
}

#[test]
fn gc_prunes_run_under_concurrent_load() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    env.run(&["run", "-q", "--run", "it", "--", "false"]);
    let follow = ["tail", "-f", "it", "--json", "-n", "all"];
    let follower = to_file(&env, &follow, "followed");
    // One event per process: in a debug build, a writer that never pauses is faster than a
    // reader that checks each line.
    let script = r#"
        while [ ! -e stop ]; do
            "$RUNLOG" emit --run it --ack mark who=$1 >>acked || exit 9
        done"#;
    let writer = |n: &str| Background::new(env.program("sh").args(["-c", script, "sh", n]));
    let writers: Vec<_> = ["0", "1"].map(writer).into();
    for round in 0..ROUNDS {
        let compress = if round % 2 == 0 {
            "--compress"
        } else {
            "--no-compress"
        };
        let rotate = env.spawn(&["rotate", "it", compress]);
        let age = if round % 5 == 0 { "0" } else { "300ms" };
        let gc = ["gc", "--events-older-than", age, "--max-age", "0"];
        let all = [
            rotate,
            env.spawn(&gc),
            env.spawn(&["replay", "it", "--verify"]),
            env.spawn(&["status", "it"]),
        ];
        for process in all {
            let output = process.end();
            assert_eq!(output.code, 0, "{}{}", output.stdout(), output.stderr());
        }
    }
    env.write("stop", "");
    for writer in writers {
        let output = writer.end();
        assert_eq!(output.code, 0, "{}", output.stderr());
    }
    env.ok(&["emit", "--run", "it", "last"]);
    let read = env.ok(&["replay", "it", "--json"]);
    fs::write(env.path("read"), &read.stdout).unwrap();
    let left = stored(&env, "read");
    let last = seq(left.last().unwrap());
    wait_until("the follower is there", || {
        stored(&env, "followed")
            .last()
            .is_some_and(|e| e["seq"] == last)
    });
    follower.signal(Signal::TERM);
    drop(follower.end());

    // The follower has each event once and in order, and reports a gap for events it missed
    // earlier.
    let mut next = 0;
    for line in stored(&env, "followed") {
        if line["type"] == "gap" {
            assert_eq!(line["from_seq"], next);
            next = line["to_seq"].as_u64().unwrap() + 1;
        } else {
            assert_eq!(seq(&line), next);
            next += 1;
        }
    }
    assert_eq!(next, last + 1);
    // Acknowledged events are in the log, except for old ones.
    let first = seq(&left[0]);
    assert!(
        left.windows(2)
            .all(|pair| seq(&pair[1]) == seq(&pair[0]) + 1)
    );
    let mut acked = stored(&env, "acked");
    acked.retain(|event| event["type"] == "note");
    assert!(acked.len() >= ROUNDS, "{} events", acked.len());
    let mut seqs: Vec<_> = acked.iter().map(seq).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), acked.len(), "a number was used twice");
    for event in acked.iter().filter(|event| seq(event) >= first) {
        let at = usize::try_from(seq(event) - first).unwrap();
        assert_eq!(&left[at], event);
    }
    // Only a checkpoint contains the failed job.
    assert!(first > 8);
    assert_eq!(env.status("it")["jobs_failed"], 1);
    assert_eq!(env.status("it")["events"], last + 1);
}
