//! Two or three processes that use one run, while one of them is held at each of its system
//! calls.
//!
//! The first process is stopped at a call, the second one runs until it ends or waits, a third
//! one may do so too, and then the first one continues or is killed. Everything that was
//! acknowledged is in the log exactly once, whatever the order.
//!
//! `RUNLOG_INTERLEAVINGS` is the number of calls at which each pair is held, `all` for every
//! one.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::crash::has_strace;
use crate::support::env::{Background, Output, TestEnv, pid_of, wait_until};

/// The number of calls at which each pair is held.
const POINTS: usize = 3;
/// How long the others may run before the first process continues. It only affects which order
/// is tried.
const HOLD: Duration = Duration::from_millis(150);
/// The calls by which processes affect each other.
const CALLS: &str = "flock,write,openat,renameat2,unlinkat,ftruncate,fdatasync,fsync,fallocate,mkdirat,fstat,statx,newfstatat";

const EMIT: &[&str] = &["emit", "--open", "--run", "r", "held"];
const EMIT_ALSO: &[&str] = &["emit", "--open", "--run", "r", "also"];
const EMIT_LAST: &[&str] = &["emit", "--open", "--run", "r", "last"];
const ROTATE: &[&str] = &["rotate", "r", "--force", "--keep", "1"];
/// omne's writer keeps a file open that is compressed meanwhile, and its line is lost with it.
const ROTATE_PLAIN: &[&str] = &["rotate", "r", "--force", "--no-compress"];
const CLOSE: &[&str] = &["run", "-q", "--run", "r", "--close"];
const GC: &[&str] = &["gc", "--max-runs", "0"];
const JOB: &[&str] = &["run", "-q", "--run", "r", "--", "true"];
const JOIN: &[&str] = &["run", "-q", "--run", "r", "--job", "j", "--", "true"];
const RECOVER: &[&str] = &["replay", "r", "--recover"];

/// omne's writer: it opens the active segment, locks it and appends a line, without a look at
/// the name.
const OMNE: &[&str] = &["omne", "foreign"];
const OMNE_SCRIPT: &str = r#"exec 9>>"$LOG" && flock 9 && echo '{"type":"node.started","id":"x","ts":"2026-04-15T00:00:00Z","run_id":"r","node_id":"n","kind":"bash","name":"foreign","crc":"-"}' >&9"#;

/// Which process is held, and which ones run meanwhile.
struct Order {
    /// The commands that run before, besides one event and one rotation.
    before: &'static [&'static [&'static str]],
    held: &'static [&'static str],
    others: &'static [&'static [&'static str]],
}

const fn order(
    before: &'static [&'static [&'static str]],
    held: &'static [&'static str],
    others: &'static [&'static [&'static str]],
) -> Order {
    Order {
        before,
        held,
        others,
    }
}

const ORDERS: [Order; 23] = [
    order(&[], EMIT, &[ROTATE]),
    order(&[], ROTATE, &[EMIT]),
    order(&[], EMIT, &[CLOSE]),
    order(&[], CLOSE, &[EMIT]),
    order(&[CLOSE], EMIT, &[GC]),
    order(&[CLOSE], GC, &[EMIT]),
    order(&[], JOB, &[JOB]),
    order(&[], JOIN, &[JOIN]),
    order(&[], JOB, &[ROTATE]),
    order(&[], ROTATE, &[JOB]),
    order(&[], JOIN, &[CLOSE]),
    order(&[], CLOSE, &[JOIN]),
    order(&[], ROTATE, &[EMIT_ALSO, EMIT_LAST]),
    order(&[], EMIT, &[ROTATE, EMIT_LAST]),
    order(&[], JOB, &[RECOVER, CLOSE]),
    order(&[], OMNE, &[ROTATE_PLAIN]),
    order(&[], ROTATE_PLAIN, &[OMNE]),
    order(&[], OMNE, &[EMIT]),
    order(&[], EMIT, &[OMNE]),
    order(&[], CLOSE, &[OMNE]),
    order(&[CLOSE], GC, &[OMNE]),
    order(&[], JOB, &[OMNE]),
    order(&[], ROTATE_PLAIN, &[OMNE, EMIT_LAST]),
];

/// Returns the program and the arguments of a process.
fn words(args: &'static [&'static str]) -> Vec<&'static str> {
    if args == OMNE {
        return vec!["sh", "-c", OMNE_SCRIPT];
    }
    [&[env!("CARGO_BIN_EXE_runlog")], args].concat()
}

fn spawn(env: &TestEnv, words: &[&str]) -> Background {
    let mut command = env.program(words[0]);
    Background::new(command.args(&words[1..]).env("LOG", env.log_path("r")))
}

/// What happens to the held process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Release {
    Continue,
    Kill,
}

fn volume(order: &Order) -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "first"]);
    env.ok(&["rotate", "r", "--force"]);
    env.ok(&["emit", "--run", "r", "second"]);
    for args in order.before {
        env.ok(args);
    }
    env
}

fn traced(env: &TestEnv, inject: &[&str], args: &'static [&'static str]) -> Background {
    let (trace, calls) = (env.trace_path(), format!("trace={CALLS}"));
    let strace = ["strace", "-f", "-q", "-o", trace.to_str().unwrap()];
    let more = [&["-e", &calls], inject].concat();
    spawn(env, &[&strace[..], &more, &words(args)].concat())
}

/// Returns the calls of the command, each with its number among those of the same name in its
/// process.
fn calls_of(order: &Order) -> Vec<(String, usize)> {
    let env = volume(order);
    traced(&env, &[], order.held).end();
    let trace = fs::read(env.trace_path()).unwrap();
    let trace = String::from_utf8_lossy(&trace).into_owned();
    let mut calls: Vec<(String, usize)> = Vec::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // Calls before the first access to the volume affect no other process.
    let mut is_relevant = false;
    for line in trace.lines() {
        is_relevant |= line.contains(".omne");
        let Some((pid, call)) = line.split_once(' ') else {
            continue;
        };
        let name = call.trim_start().split('(').next();
        let Some(name) = CALLS.split(',').find(|known| Some(*known) == name) else {
            continue;
        };
        let nth = counts.entry((pid, name)).or_default();
        *nth += 1;
        let call = (name.to_owned(), *nth);
        if is_relevant && !calls.contains(&call) {
            calls.push(call);
        }
    }
    calls
}

/// Sends a signal to all processes that strace traces, also those whose parent has ended.
fn signal_all(strace: &Background, signal: Signal) {
    let tracer = format!("TracerPid:\t{}\n", strace.pid());
    for entry in fs::read_dir("/proc").unwrap() {
        let entry = entry.unwrap();
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.contains(&tracer)
            && let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse().ok())
        {
            kill_process(pid_of(pid), signal).ok();
        }
    }
}

/// Runs the processes of `order`, the first of which is held at the `nth` call `call`.
fn interleave(order: &Order, call: &str, nth: usize, release: Release) {
    let case = format!(
        "{:?} held at {call} {nth}, {:?}, {release:?}",
        order.held, order.others
    );
    let env = volume(order);
    let inject = format!("inject={call}:signal=STOP:when={nth}");
    let mut held = traced(&env, &["-e", &inject], order.held);
    let mut is_stopped = false;
    wait_until("the process is held or has ended", || {
        let trace = fs::read(env.trace_path()).unwrap_or_default();
        is_stopped = String::from_utf8_lossy(&trace).contains("stopped by SIGSTOP");
        is_stopped || held.has_ended()
    });
    let mut others = Vec::new();
    for args in order.others {
        let mut other = spawn(&env, &words(args));
        let since = Instant::now();
        wait_until("the other process ends or has had its time", || {
            other.has_ended() || since.elapsed() > HOLD
        });
        others.push((*args, other));
    }
    if release == Release::Kill {
        signal_all(&held, Signal::KILL);
    }
    wait_until(&case, || {
        signal_all(&held, Signal::CONT);
        held.has_ended()
    });
    let held_output = held.end();
    let mut outputs: Vec<(&[&str], Output)> = others
        .into_iter()
        .map(|(args, other)| (args, other.end()))
        .collect();
    let was_killed = is_stopped && release == Release::Kill;
    if was_killed {
        check(&env, &case, &outputs, true);
    } else {
        outputs.push((order.held, held_output));
        check(&env, &case, &outputs, false);
    }
}

/// Checks that the log agrees with what each command reported.
fn check(env: &TestEnv, case: &str, outputs: &[(&[&str], Output)], was_killed: bool) {
    let is_there = env.exists(".omne/var/runs/r");
    let verified = if is_there {
        if was_killed {
            env.run(&["replay", "r", "--recover"]);
        }
        env.run(&["replay", "r", "--verify"])
    } else {
        env.run(&["status", "--retired", "--json"])
    };
    let found = format!("{}{}", verified.stdout(), verified.stderr());
    // omne may append to a segment while it is sealed, which is reported.
    let may_be_faulty = found.contains("line of other programs");
    let is_verified = |code| code == 0 || may_be_faulty && code == 5;
    assert!(is_verified(verified.code), "{case}: {found}");
    if !is_there {
        assert_eq!(
            found.matches("\"run_id\":\"r\"").count(),
            1,
            "{case}: {found}"
        );
        return;
    }
    let status: Value =
        serde_json::from_slice(&env.run(&["status", "r", "--json"]).stdout).unwrap();
    let jobs = status["jobs"].as_array().unwrap();
    let ended = jobs
        .iter()
        .filter(|job| job["stage"] == "completed")
        .count();
    let ran = outputs
        .iter()
        .filter(|(args, o)| args.contains(&"true") && o.code == 0);
    let ran = ran.count();
    assert!(
        ended == ran || was_killed && ended >= ran,
        "{case}: {status}"
    );
    let events = env.run(&["replay", "r", "--json"]).stdout();
    for (args, output) in outputs {
        let context = format!("{case}: {args:?}: {} {}", output.code, output.stderr());
        let times = |name: &str| {
            events
                .matches(&format!("\"name\":\"{name}\",\"crc\""))
                .count()
        };
        match (args[0], output.code) {
            ("emit", code) => {
                let expected = usize::from(code == 0);
                assert_eq!(times(args.last().unwrap()), expected, "{context}");
                assert!(matches!(code, 0 | 1), "{context}");
            }
            // omne does not notice that a run is removed.
            ("omne", 0) => assert_eq!(times("foreign"), 1, "{context}"),
            // The run was closed meanwhile, or the id of the job was taken.
            ("run", 125 | 2) if args.contains(&"true") => {}
            // The other job has not ended.
            ("run", 4) => assert_eq!(args, &CLOSE, "{context}"),
            ("run", 0) if *args == CLOSE => {
                assert!(!status["closed_ts"].is_null(), "{context}");
            }
            // It refuses to seal lines of another program.
            ("rotate", 1) => assert!(may_be_faulty, "{context}"),
            // `replay`: the job is running.
            (_, 0) | ("replay", 1 | 4) => {}
            _ => panic!("{context}"),
        }
    }
    if status["closed_ts"].is_null() {
        env.ok(&["emit", "--run", "r", "after"]);
        let code = env.run(&["replay", "r", "--verify"]).code;
        assert!(is_verified(code), "{case}: {code}");
    }
}

fn interleave_all(release: Release) {
    if !has_strace(&TestEnv::new()) {
        return;
    }
    let points = std::env::var("RUNLOG_INTERLEAVINGS").ok();
    let points = points.map_or(POINTS, |n| n.parse().unwrap_or(usize::MAX));
    for (at, order) in ORDERS.iter().enumerate() {
        let calls = calls_of(order);
        assert!(calls.len() > points.min(3), "{:?}: {calls:?}", order.held);
        let step = (calls.len() / points).max(1);
        for (call, nth) in calls.iter().skip(at % step).step_by(step) {
            interleave(order, call, *nth, release);
        }
    }
}

#[test]
fn held_process_and_others_agree() {
    interleave_all(Release::Continue);
}

#[test]
fn killed_holder_and_others_agree() {
    interleave_all(Release::Kill);
}

#[test]
fn segment_of_another_program_between_two_renames_does_not_fail_rotation() {
    if !has_strace(&TestEnv::new()) {
        return;
    }
    // After the first rename, there is no active segment.
    let order = order(&[], ROTATE_PLAIN, &[OMNE]);
    interleave(&order, "renameat2", 1, Release::Continue);
}
