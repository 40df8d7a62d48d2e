//! Jobs at a terminal behave as without runlog. tmux provides the terminal.

use crate::support::env::{TestEnv, wait_until};
use crate::support::terminal::{Terminal, has};

/// Returns the state of a process, as a letter.
fn state(pid: i64) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next()
}

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

/// Returns whether a process has not read all signals that it got.
fn has_pending_signals(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    pending.unwrap().trim().contains(|digit| digit != '0')
}

#[test]
fn ctrl_c_before_start_reaches_job() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    // The job starts when something reads its id.
    let run = "mkfifo id; echo $$ >front; exec \"$RUNLOG\" run --id-file id -- sleep 1000";
    env.executable("run", format!("#!/bin/sh\n{run}\n"));
    terminal.line("./run");
    wait_until("the run exists", || !env.runs().is_empty());
    terminal.keys(&["C-c"]);
    terminal.wait_for_text("^C");
    let front = std::fs::read_to_string(env.path("front")).unwrap();
    wait_until("the front has read it", || {
        !has_pending_signals(front.trim())
    });
    std::fs::read(env.path("id")).unwrap();
    assert_eq!(env.wait_for("job_failed")["signal"], "SIGINT");
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
    wait_until("the job is stopped", || state(pid) == Some('T'));
    terminal.line("fg");
    wait_until("the job goes on", || state(pid) != Some('T'));
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

#[test]
fn quit_key_ends_job_and_caller_sees_signal() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("\"$RUNLOG\" run --run it -- sleep 1000; echo code $?");
    env.wait_for("job_started");
    terminal.keys(&["C-\\"]);
    terminal.wait_for_line("code 131");
}

#[test]
fn alarm_of_caller_reaches_job() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env).filter(|_| has("perl")) else {
        return;
    };
    // The alarm survives exec.
    terminal.line(r#"perl -e 'alarm 1; exec @ARGV' "$RUNLOG" run -q -- cat; echo code $?"#);
    terminal.wait_for_line("code 142");
    assert_eq!(env.event("job_failed")["signal"], "SIGALRM");
}

#[test]
fn ctrl_c_ends_loop_of_shell() {
    let env = TestEnv::new();
    let shell = ["bash", "--norc", "--noprofile"];
    let Some(terminal) = Terminal::with(&env, &shell) else {
        return;
    };
    terminal.line("for i in 1 2 3; do \"$RUNLOG\" run --run it$i -- sleep 1000; done");
    env.wait_for("job_started");
    terminal.keys(&["C-c"]);
    env.wait_for("job_failed");
    terminal.line("echo next");
    terminal.wait_for_line("next");
    assert_eq!(env.runs(), ["it1"]);
}

#[test]
fn background_job_stops_when_it_reads_terminal() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("set -m; \"$RUNLOG\" run --run it -- sh -c 'echo begun; read x; echo got $x' &");
    terminal.wait_for_text("begun");
    // A shell reports it before its next prompt.
    wait_until("the job is stopped", || {
        terminal.line("");
        terminal.screen().contains("Stopped")
    });
    terminal.line("fg");
    terminal.line("this");
    terminal.wait_for_line("got this");
    env.wait_for("job_completed");
}

/// Runs `./job` in the background of a terminal after `stty tostop`. It may print after `fg`.
fn print_in_background(job: &str) {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.executable("job", format!("#!/bin/sh\n{job}\n"));
    terminal.line("mkfifo wait; set -m; stty tostop; \"$RUNLOG\" run --run it -- ./job &");
    wait_until("the job is stopped", || {
        terminal.line("");
        terminal.screen().contains("Stopped")
    });
    assert!(!terminal.screen().contains("printed"));
    terminal.line("fg");
    terminal.wait_for_line("printed");
    if job.contains("<wait") {
        env.write("wait", "\n");
    }
    env.wait_for("job_completed");
    terminal.line("echo next");
    terminal.wait_for_line("next");
}

#[test]
fn background_job_stops_when_it_prints_after_tostop() {
    print_in_background("echo printed; read -r line <wait");
}

#[test]
fn output_of_ended_background_job_waits_after_tostop() {
    print_in_background("echo printed");
}

#[test]
fn background_job_that_ignores_stop_prints_after_tostop() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.executable(
        "job",
        "#!/bin/sh\ntrap '' TTOU\necho printed\nread -r line <wait\n",
    );
    terminal.line("mkfifo wait; set -m; stty tostop; \"$RUNLOG\" run --run it -- ./job &");
    terminal.wait_for_text("printed");
    env.write("wait", "\n");
    env.wait_for("job_completed");
}

#[test]
fn job_in_another_session_survives_hang_up() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let job = "until [ -e go ]; do sleep 0.05; done; echo after";
    terminal.line(&format!(
        "setsid \"$RUNLOG\" run --run it --job it -- sh -c '{job}'"
    ));
    env.wait_for("job_started");
    drop(terminal);
    env.write("go", "");
    env.wait_for("job_completed");
    assert_eq!(env.captured("it", "it"), b"after\n");
}

#[test]
fn stopped_job_ends_with_its_shell() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("set -m; \"$RUNLOG\" run --run it -- sleep 1000");
    env.wait_for("job_started");
    terminal.keys(&["C-z"]);
    let pid = env.event("job_started")["pid"].as_i64().unwrap();
    wait_until("the job is stopped", || state(pid) == Some('T'));
    drop(terminal);
    assert_eq!(env.wait_for("job_failed")["signal"], "SIGHUP");
}

/// Runs a job in an orphaned group in the background of a terminal, and returns what it wrote
/// into the file `said`.
fn run_orphaned(job: &str) -> Option<String> {
    let env = TestEnv::new();
    env.executable("job", format!("#!/bin/sh\n{job}\n"));
    let run = "touch waits; until test -e go; do sleep 0.01; done; \
               exec \"$RUNLOG\" run -q --run it --close -- ./job";
    env.executable("orphan", format!("#!/bin/sh\n({run}) &\n"));
    let shell = "set -m; ./orphan; touch go; until test -e done; do sleep 0.01; done";
    let _terminal = Terminal::with(&env, &["sh", "-c", shell])?;
    env.wait_for("run_closed");
    env.write("done", "");
    Some(std::fs::read_to_string(env.path("said")).unwrap())
}

#[test]
fn orphaned_job_in_background_gets_error_from_terminal() {
    let read = "trap 'echo hang-up >>said' HUP; cat </dev/tty 2>>said; echo $? >>said";
    if let Some(said) = run_orphaned(read) {
        assert_eq!(said, "cat: -: Input/output error\n1\n");
    }
}

#[test]
fn child_of_orphaned_job_gets_error_from_terminal() {
    let read = "trap '' TTIN; sh -c 'trap - TTIN; exec cat </dev/tty 2>>said'; echo $? >>said";
    if let Some(said) = run_orphaned(read) {
        assert_eq!(said, "cat: -: Input/output error\n1\n");
    }
}

#[test]
fn ctrl_z_without_shell_does_not_stop_job() {
    let env = TestEnv::new();
    let job = "trap 'touch continued' CONT; touch ready; until [ -e go ]; do sleep 0.05; done";
    env.executable("job", format!("#!/bin/sh\n{job}\n"));
    let command = ["sh", "-c", "exec \"$RUNLOG\" run --run it -- ./job"];
    let Some(terminal) = Terminal::with(&env, &command) else {
        return;
    };
    env.wait_for_file("ready");
    wait_until("the job was continued", || {
        terminal.keys(&["C-z"]);
        env.exists("continued")
    });
    env.write("go", "");
    env.wait_for("job_completed");
}

#[test]
fn ctrl_z_without_shell_does_not_stop_child_of_job() {
    let env = TestEnv::new();
    let job = "trap 'touch asked' TSTP\n(until [ -e go ]; do sleep 0.05; done) &\n\
               touch ready\nuntil wait $!; do :; done\n";
    env.executable("job", format!("#!/bin/sh\n{job}"));
    let command = ["sh", "-c", "exec \"$RUNLOG\" run --run it -- ./job"];
    let Some(terminal) = Terminal::with(&env, &command) else {
        return;
    };
    env.wait_for_file("ready");
    terminal.keys(&["C-z"]);
    env.wait_for_file("asked");
    env.write("go", "");
    env.wait_for("job_completed");
}
