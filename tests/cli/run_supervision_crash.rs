//! A process of `run` is killed at one of its system calls, and the job does not notice. With
//! `RUNLOG_SYSTEM_CALLS=all` in the environment, the test kills it at each of them.
//!
//! strace kills the process and is then killed itself, so that the replacement runs without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::support::crash::has_strace;
use crate::support::env::{TestEnv, wait_until};
use crate::support::process::is_dead;

/// A job that prints numbered lines to both streams, with a secret, and records that it was
/// started.
const JOB: &str = r"
    echo started >>starts
    i=0; while [ $i -lt 50 ]; do echo out $i s3cr3t; echo err $i >&2; i=$((i+1)); done
    sleep 0.02
    while [ $i -lt 100 ]; do echo out $i s3cr3t; echo err $i >&2; i=$((i+1)); done
    exit 7
";

/// The option of a job that outlives its front.
const DETACH: &str = "--detach";

/// The system calls at which processes are killed, unless all of them are tried.
const CALLS: [&str; 14] = [
    "write",
    "pwrite64",
    "splice",
    "openat",
    "flock",
    "statx",
    "fdatasync",
    "clone",
    "clone3",
    "waitid",
    "sendmsg",
    "recvmsg",
    "ppoll",
    "exit_group",
];

/// Returns whether to try each call of each process, which takes many minutes.
fn tries_all_calls() -> bool {
    std::env::var_os("RUNLOG_SYSTEM_CALLS").is_some()
}

/// Returns which calls of one name to try.
fn places() -> Box<dyn Iterator<Item = u32>> {
    if tries_all_calls() {
        Box::new(1..)
    } else {
        Box::new([1, 4].into_iter())
    }
}

/// Returns the names of the calls to try: all of a traced run, or some.
fn calls() -> BTreeSet<String> {
    if !tries_all_calls() {
        return CALLS.map(str::to_owned).into();
    }
    let env = TestEnv::new();
    let mut command = env.program("strace");
    command.args(["-f", "-b", "execve", "-q", "-e", "signal=none", "-o"]);
    command.arg(env.trace_path());
    add_run(&mut command, &[]);
    command.output().unwrap();
    let trace = fs::read_to_string(env.trace_path()).unwrap();
    let calls = trace.lines().filter_map(|line| {
        let (call, _) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        call.chars().all(is_name).then(|| call.to_owned())
    });
    calls.collect()
}

/// Adds the command line of the run to that of strace.
fn add_run(strace: &mut Command, options: &[&str]) {
    strace.arg(env!("CARGO_BIN_EXE_runlog"));
    strace.args(["run", "-q", "--run", "it", "--close"]);
    strace.args(["--retries", "1", "--retry-delay", "0"]);
    strace.args(["--rollback", "echo undone >>undone"]);
    strace.args(options).args(["--", "sh", "-c", JOB]);
}

/// The process that was killed.
#[derive(Debug, PartialEq, Eq)]
enum Victim {
    Nobody,
    /// The job itself, before its exec.
    Job,
    /// The process that the user started, which is not the front of a detached job.
    Caller,
    Front,
    Supervisor,
    /// The other one of the two, or the replacement, made the call too before strace was killed.
    Both,
}

/// Runs the job, and kills a process at its `nth` call.
fn kill_at(env: &TestEnv, call: &str, nth: u32, options: &[&str]) -> Victim {
    let mut command = env.program("strace");
    command.args(["-f", "-b", "execve", "-q", "-o"]);
    command.arg(env.trace_path());
    command.arg("-e").arg(format!("trace={call},clone,clone3"));
    command
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when={nth}"));
    // The third process of a front replaces the killed one. Delay it until strace is killed.
    command.args(["-e", "inject=clone:delay_enter=500000:when=3+"]);
    add_run(&mut command, options);
    let mut strace = crate::support::env::Background::new(&mut command);
    let trace = || fs::read_to_string(env.trace_path()).unwrap_or_default();
    let mut killed = None;
    while killed.is_none() && !strace.has_ended() {
        let text = trace();
        let line = text
            .lines()
            .find(|line| line.ends_with("killed by SIGKILL +++"));
        killed = line.map(|line| line.split(' ').next().unwrap().to_owned());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let Some(killed) = killed else {
        return Victim::Nobody;
    };
    if !strace.has_ended() {
        strace.signal(Signal::KILL);
    }
    wait_until("the end of strace", || strace.has_ended());
    let trace = trace();
    let caller = trace.split(' ').next().unwrap();
    let front = if options.contains(&DETACH) {
        first_child(&trace, caller)
    } else {
        Some(caller)
    };
    let Some(front) = front else {
        return Victim::Job;
    };
    if killed != caller && killed != front && !is_supervisor(&trace, front, &killed) {
        return Victim::Job;
    }
    let pid = |line: &str| line.split(' ').next().unwrap().to_owned();
    // strace traces, and kills, the replacement as well.
    let is_delayed = |line: &str| line.contains("clone") && line.ends_with("(DELAYED)");
    if trace
        .lines()
        .any(|line| pid(line) == front && is_delayed(line))
    {
        return Victim::Both;
    }
    let mut calls: BTreeMap<String, u32> = BTreeMap::new();
    for line in trace
        .lines()
        .filter(|line| line.contains(&format!(" {call}(")))
    {
        *calls.entry(pid(line)).or_default() += 1;
    }
    calls.retain(|pid, made| *made >= nth && *pid != killed);
    if killed != front && killed == caller {
        return if calls.is_empty() {
            Victim::Caller
        } else {
            Victim::Both
        };
    }
    if killed == front {
        let mut others = calls.keys();
        return if others.any(|pid| is_supervisor(&trace, front, pid)) {
            Victim::Both
        } else {
            Victim::Front
        };
    }
    if !calls.contains_key(front) {
        return Victim::Supervisor;
    }
    wait_until("the end of the front", || !is_alive(front));
    if has_closed(env) {
        Victim::Supervisor
    } else {
        Victim::Both
    }
}

/// Returns the first process that this one created.
fn first_child<'a>(trace: &'a str, pid: &str) -> Option<&'a str> {
    let lines = trace.lines().filter_map(|line| {
        let call = line.strip_prefix(pid)?;
        let (_, child) = call.rsplit_once(" = ").filter(|_| call.contains("clone"))?;
        child.parse::<u32>().ok().map(|_| child)
    });
    lines.into_iter().next()
}

/// Returns whether the front created this process, or it is a thread, which only supervisors
/// have.
fn is_supervisor(trace: &str, front: &str, pid: &str) -> bool {
    let result = format!("= {pid}");
    let mut lines = trace.lines().filter(|line| line.ends_with(&result));
    lines.any(|line| line.contains("clone3") || line.starts_with(&format!("{front} ")))
}

fn is_alive(pid: &str) -> bool {
    !is_dead(pid.parse().unwrap())
}

fn has_closed(env: &TestEnv) -> bool {
    env.types("it")
        .last()
        .is_some_and(|last| last == "run_closed")
}

/// Returns the stored lines of one stream that the job printed.
fn stored(env: &TestEnv, stream: &str) -> Vec<String> {
    let text = String::from_utf8(env.captured("it", "sh")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(stream));
    lines.map(str::to_owned).collect()
}

/// Checks a run whose front was killed. The supervisor, if it already exists, ends the run.
fn check_ended(env: &TestEnv, place: &str) {
    wait_until(&format!("the end of the run: {place}"), || {
        env.types("it")
            .last()
            .is_none_or(|last| last == "run_closed")
    });
    let lines = |name: &str| {
        let text = fs::read_to_string(env.path(name)).unwrap_or_default();
        text.lines().count()
    };
    let types = env.types("it");
    let count = |wanted: &str| types.iter().filter(|it| *it == wanted).count();
    // The job may be ended before its start is recorded.
    assert!(
        lines("starts") <= count("job_started"),
        "{place}: {types:?}"
    );
    assert_eq!(
        lines("undone"),
        count("job_rolled_back"),
        "{place}: {types:?}"
    );
    if !types.is_empty() {
        env.ok(&["replay", "--verify", "it"]);
    }
}

fn check(env: &TestEnv, place: &str, secret: &str) {
    wait_until(&format!("the end of the run: {place}"), || has_closed(env));
    let text = |name: &str| fs::read_to_string(env.path(name)).unwrap_or_default();
    assert_eq!(text("starts"), "started\nstarted\n", "{place}");
    assert_eq!(text("undone"), "undone\n", "{place}");
    let mut types = env.types("it");
    types.retain(|event_type| event_type != "supervisor_replaced");
    let expected = [
        "run_opened",
        "job_submitted",
        "job_validated",
        "job_started",
        "job_failed",
        "job_started",
        "job_failed",
        "job_rollback_started",
        "job_rolled_back",
        "run_closed",
    ];
    assert_eq!(types, expected, "{place}");
    for failed in env.events_of_type("it", "job_failed") {
        assert_eq!(failed["exit_code"], 7, "{place}");
    }
    let replaced = env.events_of_type("it", "supervisor_replaced");
    let uncertain = |key: &str| replaced.iter().any(|event| event[key] != 0);
    let expected =
        |line: &dyn Fn(u32) -> String| -> Vec<String> { (0..200).map(|n| line(n % 100)).collect() };
    if secret != "***" {
        let keys = ["uncertain_stdout_bytes", "uncertain_stderr_bytes"];
        assert!(
            !keys.into_iter().any(uncertain),
            "{place}: nothing is in hand"
        );
    }
    if !uncertain("uncertain_stdout_bytes") {
        let lines = expected(&|n| format!("out {n} {secret}"));
        assert_eq!(stored(env, "out"), lines, "{place}");
    }
    if !uncertain("uncertain_stderr_bytes") {
        assert_eq!(
            stored(env, "err"),
            expected(&|n| format!("err {n}")),
            "{place}"
        );
    }
    if secret == "***" {
        let output = env.captured("it", "sh");
        assert!(
            !output.windows(6).any(|bytes| bytes == b"s3cr3t"),
            "{place}"
        );
    }
    env.ok(&["replay", "--verify", "it"]);
}

/// Kills a process at each of the places, and returns how many of these were supervisors.
fn sweep(options: &[&str], secret: &str) -> usize {
    if !has_strace(&TestEnv::new()) {
        return CALLS.len();
    }
    let mut supervisors = 0;
    for call in calls() {
        for nth in places() {
            let env = TestEnv::new();
            match kill_at(&env, &call, nth, options) {
                Victim::Nobody => break,
                Victim::Both | Victim::Job => {}
                Victim::Front if env.runs().is_empty() => {}
                Victim::Front if options.contains(&DETACH) => {
                    check(&env, &format!("{call} {nth} of the front"), secret);
                }
                Victim::Front => check_ended(&env, &format!("{call} {nth}")),
                Victim::Caller => check(&env, &format!("{call} {nth} of the caller"), secret),
                Victim::Supervisor => {
                    check(&env, &format!("{call} {nth}"), secret);
                    supervisors += 1;
                }
            }
        }
    }
    supervisors
}

#[test]
fn supervisor_killed_at_any_call_loses_nothing() {
    let supervisors = sweep(&[], "s3cr3t");
    assert!(supervisors > CALLS.len() / 2, "{supervisors}");
}

#[test]
fn supervisor_killed_at_any_call_masks_secrets() {
    let supervisors = sweep(&["--redact", "s3cr3t"], "***");
    assert!(supervisors > CALLS.len() / 2, "{supervisors}");
}

#[test]
fn detached_job_survives_each_process_killed_at_any_call() {
    let supervisors = sweep(&[DETACH], "s3cr3t");
    assert!(supervisors > CALLS.len() / 2, "{supervisors}");
}
