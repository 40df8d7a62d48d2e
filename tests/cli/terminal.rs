//! Jobs at a terminal behave as they do without runlog. tmux provides the terminal.

use crate::support::env::{TestEnv, wait_until};
use crate::support::terminal::Terminal;

#[test]
fn job_reads_from_terminal() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("\"$RUNLOG\" run --run it -- sh -c 'read x; echo got $x'");
    env.wait_for("job_started");
    terminal.line("this");
    terminal.wait_for_line("got this");
    env.wait_for("job_completed");
}

#[test]
fn ctrl_c_reaches_job_once_and_ends_run() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let job = "trap 'echo int; n=$((n+1))' INT; touch ready; until [ -e go ]; do sleep 0.01; done; echo $n times";
    env.executable("job", format!("#!/bin/sh\nn=0\n{job}\n"));
    terminal.line("\"$RUNLOG\" run --run it -- ./job; echo code $?");
    env.wait_for_file("ready");
    terminal.keys(&["C-c"]);
    wait_until("the trap ran", || {
        String::from_utf8_lossy(&env.captured("it", "job")).contains("int")
    });
    env.write("go", "");
    terminal.wait_for_line("1 times");
    terminal.wait_for_line("code 0");
}

#[test]
fn ctrl_z_suspends_job_and_fg_resumes() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("set -m; \"$RUNLOG\" run --run it -- cat");
    env.wait_for("job_started");
    terminal.keys(&["C-z"]);
    let pid = env.event("job_started")["pid"].as_i64().unwrap();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next()
    };
    wait_until("the job is stopped", || state() == Some('T'));
    terminal.line("fg");
    wait_until("the job goes on", || state() != Some('T'));
    terminal.line("again");
    terminal.keys(&["C-d"]);
    env.wait_for("job_completed");
    assert_eq!(env.captured("it", "cat"), b"again\n");
}

#[test]
fn timeout_on_terminal_ends_job_not_shell() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("\"$RUNLOG\" run --run it --timeout 0.1 -- sleep 1000; echo code $?");
    terminal.wait_for_line("code 124");
}
