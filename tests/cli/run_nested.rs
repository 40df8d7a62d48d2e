//! Daemons and nested runs that a job starts: signals to the job leave them to themselves.

use rustix::process::Signal;

use crate::support::env::{TestEnv, wait_until};
use crate::support::process::{is_dead, wait_until_dead};
use crate::support::terminal::Terminal;

/// Starts a daemon in a session of its own, which writes its pid to the file `daemon`.
const START_DAEMON: &str = "(setsid sh -c 'echo $$ >pid; mv pid daemon; exec sleep 1000' &)
    until test -e daemon; do sleep 0.01; done; touch ready";

fn pid_in(env: &TestEnv, file: &str) -> u32 {
    let pid = std::fs::read_to_string(env.path(file)).unwrap();
    pid.trim().parse().unwrap()
}

#[test]
fn kill_of_job_spares_its_daemon() {
    let env = TestEnv::new();
    let script = format!("trap '' TERM; {START_DAEMON}; while :; do sleep 0.01; done");
    let job = env.spawn(&["run", "--kill-after", "100ms", "--", "sh", "-c", &script]);
    env.wait_for_file("ready");
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 137);
    assert!(!is_dead(pid_in(&env, "daemon")));
}

#[test]
fn kill_of_job_reaches_child_in_other_session() {
    let env = TestEnv::new();
    let script =
        "trap '' TERM; setsid sh -c 'echo $$ >pid; mv pid ready; exec sleep 1000' & wait; wait";
    let job = env.spawn(&["run", "--kill-after", "100ms", "--", "sh", "-c", script]);
    env.wait_for_file("ready");
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 137);
    wait_until_dead(pid_in(&env, "ready"));
}

/// A job that survives SIGTERM, with a process in another session whose parent does not.
const LOSES_PARENT: &str = r#"trap : TERM
    sh -c 'setsid sh -c "trap \"\" TERM; echo \$\$ >pid; mv pid ready; exec sleep 1000" & wait'
    while :; do sleep 0.01; done"#;

#[test]
fn kill_reaches_process_whose_parent_the_request_to_end_has_ended() {
    let env = TestEnv::new();
    let job = env.spawn(&[
        "run",
        "--kill-after",
        "100ms",
        "--",
        "sh",
        "-c",
        LOSES_PARENT,
    ]);
    env.wait_for_file("ready");
    job.signal(Signal::KILL);
    wait_until_dead(pid_in(&env, "ready"));
}

#[test]
fn stop_kills_process_whose_parent_its_signal_has_ended() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--", "sh", "-c", LOSES_PARENT]);
    env.wait_for_file("ready");
    env.ok(&["stop", "latest", "--kill-after", "100ms"]);
    assert_eq!(job.wait().code, 137);
    wait_until_dead(pid_in(&env, "ready"));
}

#[test]
fn ctrl_c_spares_daemon_of_job() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.executable("job", format!("#!/bin/sh\n{START_DAEMON}\nexec cat\n"));
    terminal.line("\"$RUNLOG\" run -q -- ./job");
    env.wait_for_file("ready");
    terminal.keys(&["C-c"]);
    assert_eq!(env.wait_for("job_failed")["signal"], "SIGINT");
    assert!(!is_dead(pid_in(&env, "daemon")));
}

/// Starts a job that ignores SIGTERM and contains a run with these options, which has a rollback.
/// The nested job ends with the file `stop`.
fn nested(options: &str) -> String {
    format!(
        r#""$RUNLOG" run -q -n inner {options} --rollback 'touch undone' -- sh -c '
            trap "" TERM; touch ready; until test -e stop; do sleep 0.01; done; exit 3' &
        trap '' TERM; while :; do sleep 0.01; done"#
    )
}

fn assert_rolled_back(env: &TestEnv) {
    assert_eq!(env.status("inner")["state"], "running");
    env.write("stop", "");
    wait_until("the nested run ends", || {
        env.status("inner")["state"] == "failed"
    });
    wait_until("the rollback", || env.exists("undone"));
}

#[test]
fn killed_nested_run_is_rolled_back() {
    let env = TestEnv::new();
    let outer = ["run", "-q", "-n", "outer", "--kill-after", "100ms", "--"];
    let job = env.spawn(&[&outer[..], &["sh", "-c", &nested("")]].concat());
    env.wait_for_file("ready");
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 137);
    assert_rolled_back(&env);
}

#[test]
fn stop_leaves_nested_run_to_its_supervisor() {
    for options in ["", "--detach"] {
        let env = TestEnv::new();
        let outer = ["run", "-q", "-n", "outer", "--", "sh", "-c"];
        let job = env.spawn(&[&outer[..], &[&nested(options)]].concat());
        env.wait_for_file("ready");
        env.ok(&["stop", "outer", "--kill-after", "100ms"]);
        assert_eq!(job.wait().code, 137);
        assert_rolled_back(&env);
    }
}
