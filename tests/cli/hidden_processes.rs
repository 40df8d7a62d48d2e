//! Jobs that `/proc` does not show: it is not mounted, or hides the processes of others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::{Signal, kill_process};

use crate::support::env::{Background, TestEnv, finish, pid_of};
use crate::support::process::supervisors;
use crate::support::terminal::Terminal;

/// Returns whether `/proc` can be unmounted in a namespace of its own.
fn can_unmount(env: &TestEnv) -> bool {
    let unmounted = finish(env.program("unshare").args(["-m", "umount", "-l", "/proc"]));
    if unmounted.code != 0 {
        eprintln!("skipped: /proc cannot be unmounted here");
    }
    unmounted.code == 0
}

#[test]
fn hidden_job_at_terminal_is_ended_and_stopped() {
    let env = TestEnv::new();
    if !can_unmount(&env) {
        return;
    }
    // A prompt would hide the output of a line that was typed before it.
    let shell = [
        "unshare",
        "-m",
        "sh",
        "-c",
        "umount -l /proc; PS1= exec sh -m",
    ];
    let Some(terminal) = Terminal::with(&env, &shell) else {
        return;
    };
    terminal.line("\"$RUNLOG\" run -q --run late --timeout 0.1 -- sleep 1000; echo code $?");
    terminal.wait_for_line("code 124");
    terminal.line("\"$RUNLOG\" run -q --run it -- cat; echo code $?");
    terminal.line("typed");
    terminal.wait_for_line("typed");
    terminal.keys(&["C-z"]);
    // 128 and SIGTSTP: the shell has the terminal again.
    terminal.wait_for_text("code 148");
    terminal.line("fg; echo code $?");
    terminal.keys(&["C-d"]);
    terminal.wait_for_line("code 0");
}

#[test]
fn new_supervisor_waits_for_hidden_job() {
    let env = TestEnv::new();
    if !can_unmount(&env) {
        return;
    }
    let script = "umount -l /proc; exec \"$RUNLOG\" run -q --timeout 2 -- sleep 1000";
    let job = Background::new(env.program("unshare").args(["-m", "sh", "-c", script]));
    env.wait_for("job_started");
    let supervisor = pid_of(i64::from(supervisors(job.pid())[0]));
    kill_process(supervisor, Signal::KILL).unwrap();
    assert_eq!(job.wait().code, 124);
    assert_eq!(env.event("job_failed")["error"]["kind"], "timeout");
}

#[test]
fn hidden_job_may_be_running() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "-q", "--run", "it", "--", "sleep", "1000"]);
    env.wait_for("job_started");
    job.kill_both();
    let tmp = env.root().parent().unwrap();
    fs::set_permissions(tmp, fs::Permissions::from_mode(0o755)).unwrap();
    let script = "chmod -R a+rX .omne && mount -t proc -o hidepid=2 proc /proc || exit 99
        setpriv --reuid=65534 --regid=65534 --clear-groups \"$RUNLOG\" -C . status --json it";
    let output = finish(env.program("unshare").args(["-m", "sh", "-c", script]));
    if output.code == 99 || output.stderr().starts_with("unshare") {
        eprintln!("skipped: no mounts can be made here: {}", output.stderr());
        return;
    }
    let because = "it is not known whether its process";
    assert!(
        output.stdout().contains(because),
        "{}{}",
        output.stdout(),
        output.stderr()
    );
}

#[test]
fn pids_of_other_namespace_are_not_read() {
    let env = TestEnv::new();
    // Without its own `/proc`, 1 is the pid of the front and that of the init outside.
    let run = ["-pf", env!("CARGO_BIN_EXE_runlog"), "run", "-q", "true"];
    let output = finish(env.program("unshare").args(run));
    if output.stderr().starts_with("unshare") {
        eprintln!(
            "skipped: no namespace can be made here: {}",
            output.stderr()
        );
        return;
    }
    assert_eq!(output.code, 0, "{}", output.stderr());
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["front"]["pid"], 1);
    assert!(submitted["front"]["start_ticks"].is_null(), "{submitted}");
}
