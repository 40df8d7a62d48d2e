//! `runlog tail -f` next to writers, rotation, compression and pruning, and killed repeatedly:
//! nothing is lost or repeated without need, and gaps are reported.

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::checks;
use crate::support::env::{Background, TestEnv, wait_until};
use crate::support::segments::{compress, keep, rotate_if_any};

/// The number of concurrent writers, and of the lines of each.
const WRITERS: usize = 3;
const LINES: usize = 400;
/// The number of events in the complete run: the first two, the lines and the close.
const EVENTS: u64 = 2 + (WRITERS * LINES) as u64;

/// Lets writers append to `it` while it is rotated repeatedly, and calls `beside` after each
/// rotation. Returns the number of checkpoints.
fn race(env: &TestEnv, beside: impl Fn() + Sync) -> u64 {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let rotator = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                rounds += u64::from(rotate_if_any(env, "it"));
                beside();
            }
            rounds
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    for part in 0..8 {
                        let lines = LINES / 8 * part..LINES / 8 * (part + 1);
                        let lines = checks::numbered(lines, |n| n.to_string());
                        let args = ["emit", "--no-sync", "--run", "it", "--lines"];
                        assert_eq!(env.run_with(&args, lines.as_bytes()).code, 0);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        rotator.join().unwrap()
    })
}

/// Returns the sequence numbers of all events of the closed run with this many checkpoints.
fn all(checkpoints: u64) -> Vec<u64> {
    (0..=EVENTS + checkpoints).collect()
}

fn opened() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    env
}

/// Spawns `tail -f` of the run, with stdout appended to `lines`.
fn follower(env: &TestEnv, args: &[&str]) -> Background {
    let lines = File::options()
        .create(true)
        .append(true)
        .open(env.path("lines"))
        .unwrap();
    let mut command = env.command(&["tail", "-f", "--json", "it"]);
    command.args(args);
    Background::new(command.stdout(lines).stdin(Stdio::null()))
}

fn written(env: &TestEnv) -> Vec<u8> {
    fs::read(env.path("lines")).unwrap_or_default()
}

/// Returns the sequence numbers of the printed events in order. A gap counts as the numbers that
/// it covers.
#[track_caller]
fn numbers(printed: &[u8]) -> (Vec<u64>, usize) {
    let mut gaps = 0;
    let mut seqs = Vec::new();
    for line in printed.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        if line.starts_with(b"{\"type\":\"gap\"") {
            let gap: Value = serde_json::from_slice(line).unwrap();
            let number = |key: &str| gap[key].as_u64().unwrap();
            seqs.extend(number("from_seq")..=number("to_seq"));
            gaps += 1;
        } else {
            seqs.push(checks::event(line)["seq"].as_u64().unwrap());
        }
    }
    (seqs, gaps)
}

/// Removes lines that were torn because a kill interrupted the write.
fn remove_torn_lines(printed: &mut Vec<u8>) -> usize {
    let lines: Vec<_> = printed.split_inclusive(|b| *b == b'\n').collect();
    let whole: Vec<_> = lines
        .iter()
        .filter(|line| {
            let trailer = line.len().checked_sub(19).map(|at| &line[at..]);
            trailer.is_some_and(|end| end.starts_with(b",\"crc\":\"") && end.ends_with(b"\"}\n"))
        })
        .copied()
        .collect();
    let torn = lines.len() - whole.len();
    *printed = whole.concat();
    torn
}

#[test]
fn line_torn_by_kill_is_completed() {
    let env = opened();
    env.write("lines", "{\"v\":1,\"se");
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(follower(&env, &["--cursor-file", "cursors"]).end().code, 0);
    let mut printed = written(&env);
    assert!(printed.starts_with(b"{\"v\":1,\"se\n{\"v\":1,\"seq\":0,"));
    assert_eq!(remove_torn_lines(&mut printed), 1);
    assert_eq!(numbers(&printed), (vec![0, 1, 2], 0));
}

#[test]
fn rotation_and_compression_lose_and_repeat_nothing() {
    let env = opened();
    let follower = follower(&env, &["-n", "all"]);
    let rounds = race(&env, || compress(&env, "it"));
    env.ok(&["run", "--run", "it", "--close"]);
    let output = follower.end();
    assert_eq!((output.code, output.stderr()), (0, String::new()));
    let (seqs, gaps) = numbers(&written(&env));
    assert_eq!(gaps, 0);
    assert_eq!(seqs, all(rounds));
}

#[test]
fn pruned_unread_events_are_the_only_gap() {
    let env = opened();
    let follower = follower(&env, &["--cursor-file", "cursors"]);
    let rounds = race(&env, || {
        compress(&env, "it");
        keep(&env, "it", 0);
    });
    env.ok(&["run", "--run", "it", "--close"]);
    let output = follower.end();
    let (seqs, gaps) = numbers(&written(&env));
    assert_eq!(output.code, if gaps == 0 { 0 } else { 5 });
    assert_eq!(seqs, all(rounds));
}

#[test]
fn killed_tail_repeats_only_unsaved_lines() {
    let env = opened();
    let restarts = AtomicBool::new(true);
    let mut killed = 0;
    let rounds = thread::scope(|scope| {
        let restarter = scope.spawn(|| {
            let mut killed = 0;
            while restarts.load(Ordering::Relaxed) {
                let before = written(&env).len();
                let mut follower = follower(&env, &["--cursor-file", "cursors"]);
                // Kill it at once, after part of the output, or a little later.
                wait_until("it writes", || {
                    killed % 3 == 0
                        || written(&env).len() > before
                        || follower.has_ended()
                        || !restarts.load(Ordering::Relaxed)
                });
                follower.kill();
                killed += 1;
            }
            killed
        });
        let rounds = race(&env, || compress(&env, "it"));
        restarts.store(false, Ordering::Relaxed);
        killed = restarter.join().unwrap();
        rounds
    });
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(follower(&env, &["--cursor-file", "cursors"]).end().code, 0);
    let mut printed = written(&env);
    let torn = remove_torn_lines(&mut printed);
    assert!(torn <= killed, "{torn} {killed}");
    let (seqs, gaps) = numbers(&printed);
    assert_eq!(gaps, 0);
    let mut next = 0;
    let mut repeated = 0;
    for seq in &seqs {
        assert!(*seq <= next, "{next} was lost");
        repeated += usize::from(*seq < next);
        next = seq + 1;
    }
    assert_eq!(next, EVENTS + rounds + 1);
    assert!(killed > 0);
    // Each restart goes back at most once, to the last save.
    assert!(repeated <= killed, "{repeated} {killed}");
}

#[test]
fn signaled_tail_shows_each_line_once() {
    let env = opened();
    let restarts = AtomicBool::new(true);
    let rounds = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            while restarts.load(Ordering::Relaxed) {
                let before = written(&env).len();
                let mut follower = follower(&env, &["--cursor-file", "cursors"]);
                wait_until("it writes", || {
                    written(&env).len() > before
                        || follower.has_ended()
                        || !restarts.load(Ordering::Relaxed)
                });
                if !follower.has_ended() {
                    follower.signal(Signal::TERM);
                }
                let code = follower.end().code;
                assert!(code == 0 || code == 1000 + Signal::TERM.as_raw(), "{code}");
            }
        });
        let rounds = race(&env, || {});
        restarts.store(false, Ordering::Relaxed);
        killer.join().unwrap();
        rounds
    });
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(follower(&env, &["--cursor-file", "cursors"]).end().code, 0);
    let (seqs, gaps) = numbers(&written(&env));
    assert_eq!(gaps, 0);
    assert_eq!(seqs, all(rounds));
}
