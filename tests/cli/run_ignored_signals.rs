//! Signals that the caller of `runlog run` ignores: a non-interactive shell ignores SIGINT and
//! SIGQUIT for `command &`, and nohup ignores SIGHUP.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::env::{Background, TestEnv};
use crate::support::process::supervisors;
use crate::support::terminal::has;

/// Replaces the "ignore" that a job has inherited, which a shell cannot do. The arguments are the
/// signal and the exit code with which to end after it, or 0 to continue.
const HANDLER: &str = r#"
    sub touch { open(my $file, ">>", shift); print $file "x"; close $file }
    $SIG{$ARGV[0]} = sub { touch("got"); exit $ARGV[1] if $ARGV[1] };
    touch("ready");
    select(undef, undef, undef, 0.01) until -e "go";
    exit 1;
"#;

/// Starts `run` with an ignored signal that the job handles; `None` without perl.
fn spawn(env: &TestEnv, signal: &str, options: &[&str], exit_code: &str) -> Option<Background> {
    if !has("perl") {
        return None;
    }
    let mut command = env.program("env");
    let ignore = format!("--ignore-signal={signal}");
    command.args([&ignore, env!("CARGO_BIN_EXE_runlog"), "run"]);
    command.args(options);
    command.args(["--", "perl", "-e", HANDLER, signal, exit_code]);
    let job = Background::new(&mut command);
    env.wait_for_file("ready");
    Some(job)
}

#[test]
fn ignored_signal_reaches_job_that_handles_it() {
    for (name, signal) in [
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("HUP", Signal::HUP),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
    ] {
        let env = TestEnv::new();
        let Some(job) = spawn(&env, name, &[], "7") else {
            return;
        };
        job.signal(signal);
        assert_eq!(job.wait().code, 7, "{name}");
        let signals = &env.event("job_failed")["signals"];
        assert_eq!(signals[0]["signal"], format!("SIG{name}"));
    }
}

#[test]
fn ignored_signal_does_not_ask_for_end() {
    let env = TestEnv::new();
    let options = ["--kill-after=1ms", "--retries=1", "--retry-delay=1s"];
    let Some(job) = spawn(&env, "TERM", &options, "0") else {
        return;
    };
    job.signal(Signal::TERM);
    env.wait_for_file("got");
    // It ends later for another reason.
    std::thread::sleep(std::time::Duration::from_millis(300));
    env.write("go", "");
    let failed = env.wait_for("job_failed");
    assert_eq!(failed["exit_code"], 1, "{failed}");
    // Between two attempts.
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 1);
    let attempts = fs::read_to_string(env.path("ready")).unwrap();
    assert_eq!(attempts, "xx");
}

#[test]
fn job_that_ends_with_ignored_signal_is_not_retried() {
    let env = TestEnv::new();
    let Some(job) = spawn(&env, "TERM", &["--retries=1"], "143") else {
        return;
    };
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 143);
    assert_eq!(fs::read_to_string(env.path("ready")).unwrap(), "x");
}

/// Returns whether a process reads SIGCHLD from a descriptor.
fn reads_child_signal(pid: u32) -> bool {
    let mut files = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    files.any(|file| {
        let info = fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        let set = info.lines().find_map(|line| line.strip_prefix("sigmask:"));
        let set = set.map(|set| u64::from_str_radix(set.trim(), 16).unwrap());
        set.is_some_and(|set| set >> (Signal::CHILD.as_raw() - 1) & 1 == 1)
    })
}

#[test]
fn end_of_job_is_noticed_if_caller_ignores_its_children() {
    let env = TestEnv::new();
    let mut command = env.program("env");
    let run = [env!("CARGO_BIN_EXE_runlog"), "run", "--", "cat"];
    command.arg("--ignore-signal=CHLD").args(run);
    let job = Background::new(command.stdin(Stdio::piped()));
    env.wait_for("job_started");
    let supervisors = supervisors(job.pid());
    assert_eq!(supervisors.len(), 1);
    for pid in [job.pid(), supervisors[0]] {
        assert!(reads_child_signal(pid));
    }
    assert_eq!(job.end().code, 0);
}
