//! A process of `run` is killed at one of its system calls, and the job does not notice.
//!
//! strace kills the process and is then killed itself, so that the replacement runs without it.

use std::fs;

use rustix::process::Signal;

use crate::support::crash::has_strace;
use crate::support::env::{TestEnv, wait_until};

/// A job that prints numbered lines to both streams, with a secret, and records that it was
/// started.
const JOB: &str = r"
    echo started >>starts
    i=0; while [ $i -lt 50 ]; do echo out $i s3cr3t; echo err $i >&2; i=$((i+1)); done
    sleep 0.02
    while [ $i -lt 100 ]; do echo out $i s3cr3t; echo err $i >&2; i=$((i+1)); done
    exit 7
";

/// The system calls at which processes are killed.
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

/// Returns which calls of each process to try; each one with `RUNLOG_SYSTEM_CALLS=all`.
fn places() -> Box<dyn Iterator<Item = u32>> {
    if std::env::var_os("RUNLOG_SYSTEM_CALLS").is_some() {
        Box::new(1..)
    } else {
        Box::new([1, 4].into_iter())
    }
}

/// The process that was killed.
#[derive(Debug, PartialEq, Eq)]
enum Victim {
    Nobody,
    Front,
    Supervisor,
    /// The front made the call too before strace was killed.
    Both,
}

/// Runs the job, and kills a process at its `nth` call.
fn kill_at(env: &TestEnv, call: &str, nth: u32, options: &[&str]) -> Victim {
    let mut command = env.program("strace");
    command.args(["-f", "-b", "execve", "-q", "-o"]);
    command.arg(env.trace_path());
    command.arg("-e").arg(format!("trace={call},clone"));
    command
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when={nth}"));
    // The third process of a front replaces the killed one. Delay it until strace is killed.
    command.args(["-e", "inject=clone:delay_enter=500000:when=3+"]);
    command.arg(env!("CARGO_BIN_EXE_runlog"));
    command.args(["run", "-q", "--run", "it", "--close"]);
    command.args(["--retries", "1", "--retry-delay", "0"]);
    command.args(["--rollback", "echo undone >>undone"]);
    command.args(options).args(["--", "sh", "-c", JOB]);
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
    let front = trace().split(' ').next().unwrap().to_owned();
    if killed == front {
        return Victim::Front;
    }
    let is_front = |line: &&str| line.split(' ').next() == Some(front.as_str());
    let is_call = |line: &&str| line.contains(&format!(" {call}("));
    let calls = trace().lines().filter(is_front).filter(is_call).count();
    if calls < nth as usize {
        return Victim::Supervisor;
    }
    wait_until("the end of the front", || !is_alive(&front));
    if has_closed(env) {
        Victim::Supervisor
    } else {
        Victim::Both
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
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
        return 1;
    }
    let mut supervisors = 0;
    for call in CALLS {
        for nth in places() {
            let env = TestEnv::new();
            match kill_at(&env, call, nth, options) {
                Victim::Nobody => break,
                Victim::Both => {}
                Victim::Front if env.runs().is_empty() => {}
                Victim::Front => wait_until("the end of the run", || {
                    env.types("it")
                        .last()
                        .is_none_or(|last| last == "run_closed")
                }),
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
    assert!(sweep(&[], "s3cr3t") > 0);
}

#[test]
fn supervisor_killed_at_any_call_masks_secrets() {
    assert!(sweep(&["--redact", "s3cr3t"], "***") > 0);
}
