//! A stdout that cannot be written changes neither what a command does nor its answer.

use std::fs::{File, OpenOptions};
use std::io;
use std::io::Write as _;
use std::process::Stdio;

use crate::support::env::{Background, Output, TestEnv, finish, wait_until};

/// Ignores SIGTERM.
const STUBBORN: &str = "trap '' TERM; touch ready$RUNLOG_RUN_ID; while :; do sleep 1000; done";

/// Returns the write end of a pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Returns a device that is always full.
fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// Runs `runlog` with this stdout and these lines on stdin.
fn run_to(env: &TestEnv, stdout: Stdio, args: &[&str]) -> Output {
    let stdin = File::open(env.write("stdin", "1\n2\n")).unwrap();
    finish(env.command(args).stdin(stdin).stdout(stdout))
}

/// Runs a command that acts on several runs, with each kind of unwritable stdout.
#[track_caller]
fn assert_continues(args: &[&str], prepare: impl Fn(&TestEnv), check: impl Fn(&TestEnv)) {
    for (stdout, code) in [(closed(), 0), (full(), 7)] {
        let env = TestEnv::new();
        prepare(&env);
        let output = run_to(&env, stdout, args);
        let stderr = output.stderr();
        assert_eq!(output.code, code, "{args:?}: {stderr}");
        let told = stderr.contains("cannot write to stdout: No space left on device");
        assert_eq!(told, code != 0, "{args:?}: {stderr}");
        check(&env);
    }
}

#[test]
fn closed_stdout_keeps_exit_code() {
    let env = TestEnv::new();
    for (run, command) in [("good", "true"), ("bad", "false"), ("damaged", "true")] {
        env.run(&["run", "-q", "--run", run, "--close", "--", command]);
    }
    env.damage_event_3("damaged");
    let job = "touch ready; cat";
    let busy = env.spawn(&["run", "-q", "--run", "busy", "--", "sh", "-c", job]);
    env.wait_for_file("ready");
    for (command, code) in [
        ("status good --wait", 0),
        ("status bad --wait", 1),
        ("status bad --exit-status --export csv", 1),
        ("status bad --watch --json", 1),
        ("status busy --watch --json", 4),
        ("replay --diff good bad", 1),
        ("replay good --state --at 99", 1),
        ("replay damaged --state", 5),
        ("replay damaged --verify", 5),
        ("replay busy --rollback --dry-run", 4),
        ("stop busy --timeout 0 --signal CONT", 4),
        ("tail good", 0),
    ] {
        let args: Vec<_> = command.split(' ').collect();
        let output = run_to(&env, closed(), &args);
        assert_eq!(output.code, code, "{command}: {}", output.stderr());
        assert!(
            !output.stderr().contains("stdout"),
            "{command}: {}",
            output.stderr()
        );
    }
    assert_eq!(busy.end().code, 0);
}

#[test]
fn stop_continues_without_stdout() {
    let runs = ["a", "b"];
    assert_continues(
        &["stop", "a", "b", "--kill-after", "0.1s"],
        |env| {
            for run in runs {
                let start = ["run", "-q", "--run", run, "--close", "--detach"];
                env.ok(&[&start[..], &["--", "sh", "-c", STUBBORN]].concat());
                env.wait_for_file(&format!("ready{run}"));
            }
        },
        |env| {
            for run in runs {
                assert_eq!(env.status(run)["state"], "failed", "{run}");
            }
        },
    );
}

#[test]
fn recover_continues_without_stdout() {
    let runs = ["a", "b"];
    assert_continues(
        &["replay", "--recover", "--all"],
        |env| {
            for run in runs {
                env.ok(&["emit", "--open", "--run", run, "begin"]);
                let log = OpenOptions::new().append(true).open(env.log_path(run));
                log.unwrap().write_all(b"{\"v\":1,\"torn").unwrap();
            }
        },
        |env| {
            for run in runs {
                assert_eq!(env.events_of_type(run, "log_repaired").len(), 1, "{run}");
            }
        },
    );
}

#[test]
fn rotate_continues_without_stdout() {
    let runs = ["a", "b"];
    assert_continues(
        &["rotate", "--all"],
        |env| {
            for run in runs {
                env.ok(&["emit", "--open", "--run", run, "begin"]);
            }
        },
        |env| {
            for run in runs {
                assert_eq!(env.types(run), ["log_rotated"], "{run}");
            }
        },
    );
}

#[test]
fn gc_continues_without_stdout() {
    assert_continues(
        &["gc", "--max-age", "0"],
        |env| {
            for run in ["a", "b"] {
                env.ok(&["run", "-q", "--run", run, "--close", "--", "true"]);
            }
        },
        |env| assert_eq!(env.runs(), Vec::<String>::new()),
    );
}

#[test]
fn emit_stores_all_lines_without_stdout() {
    // The lines of one read are stored together.
    for (stdout, code) in [(closed(), 0), (full(), 7)] {
        let env = TestEnv::new();
        env.ok(&["emit", "--open", "--run", "it", "begin"]);
        let args = ["emit", "--run", "it", "--lines", "--ack"];
        let mut emit = Background::new(env.command(&args).stdin(Stdio::piped()).stdout(stdout));
        for (n, line) in (2..).zip(["1\n", "2\n", "3\n"]) {
            emit.write(line.as_bytes());
            wait_until("the line is stored", || {
                env.events_of_type("it", "note").len() == n
            });
        }
        let output = emit.end();
        let stderr = output.stderr();
        assert_eq!(output.code, code, "{stderr}");
        let told = stderr.starts_with("error: the notes are stored, but not all were printed: ");
        assert_eq!(told, code != 0, "{stderr}");
    }
}
