//! The modes of the terminal: those of the job while it runs, and the original ones afterwards.

use crate::support::env::{TestEnv, pid_of, wait_until};
use crate::support::terminal::{Terminal, has};

/// A job that sets modes on the terminal that it prints to, and waits for the file `end`.
const RAW: &str =
    "sh -c 'stty raw -echo <&1; echo $$ >pid; until test -e end; do sleep 0.05; done'";

/// Starts a shell with job control and a job that has changed the modes.
fn raw_job<'a>(env: &'a TestEnv, flags: &str) -> Option<(Terminal<'a>, String)> {
    let terminal = Terminal::new(env)?;
    terminal.line("set -m; echo ready");
    terminal.wait_for_line("ready");
    let before = terminal.modes();
    terminal.line(&format!("\"$RUNLOG\" run --run it {flags} -- {RAW}"));
    env.wait_for_file("pid");
    wait_until("the terminal is raw", || is_raw(&terminal));
    Some((terminal, before))
}

fn is_raw(terminal: &Terminal<'_>) -> bool {
    terminal.modes().contains("-icanon")
}

fn kill(pid: i64) {
    // The job may have ended by itself.
    rustix::process::kill_process(pid_of(pid), rustix::process::Signal::KILL).ok();
}

#[track_caller]
fn wait_for_modes(terminal: &Terminal<'_>, modes: &str) {
    wait_until(modes, || terminal.modes() == modes);
}

#[test]
fn modes_are_restored_after_job_was_killed() {
    let env = TestEnv::new();
    let Some((terminal, before)) = raw_job(&env, "") else {
        return;
    };
    kill(env.wait_for("job_started")["pid"].as_i64().unwrap());
    wait_for_modes(&terminal, &before);
}

#[test]
fn modes_of_stdin_are_restored_after_job_was_killed() {
    let crash = "stty raw -echo; kill -SEGV $$";
    let hang = "stty raw -echo; exec sleep 1000";
    for (options, job, shell, is_restored) in [
        ("", crash, ".", true),
        ("--timeout 100ms --rollback true", hang, ".", true),
        // The shell of the script is in the same group, and may have set the modes.
        ("", crash, "sh", false),
        ("", "stty raw -echo; exit 139", ".", false),
    ] {
        let env = TestEnv::new();
        let Some(terminal) = Terminal::new(&env) else {
            return;
        };
        env.executable("job", format!("#!/bin/sh\n{job}\n"));
        let run = format!("\"$RUNLOG\" run {options} -- ./job\ntouch ended\n");
        env.write("run", run);
        terminal.line(&format!("{shell} ./run"));
        env.wait_for_file("ended");
        assert_eq!(is_raw(&terminal), !is_restored, "{options} {job}, {shell}");
    }
}

#[test]
fn modes_are_restored_after_front_was_killed() {
    for flags in ["", "--if-killed keep"] {
        let env = TestEnv::new();
        let Some((terminal, before)) = raw_job(&env, flags) else {
            return;
        };
        kill(env.event("job_submitted")["front"]["pid"].as_i64().unwrap());
        wait_for_modes(&terminal, &before);
        kill(env.wait_for("job_started")["pid"].as_i64().unwrap());
    }
}

#[test]
fn next_supervisor_restores_terminal_modes() {
    let env = TestEnv::new();
    let Some((terminal, before)) = raw_job(&env, "") else {
        return;
    };
    kill(
        env.event("job_submitted")["supervisor"]["pid"]
            .as_i64()
            .unwrap(),
    );
    env.wait_for("supervisor_replaced");
    assert!(is_raw(&terminal));
    kill(env.event("job_started")["pid"].as_i64().unwrap());
    wait_for_modes(&terminal, &before);
}

#[test]
fn stopped_job_restores_modes_until_continued() {
    let env = TestEnv::new();
    let Some((terminal, before)) = raw_job(&env, "") else {
        return;
    };
    // A raw terminal sends no signals.
    let pid = env.wait_for("job_started")["pid"].as_i64().unwrap();
    rustix::process::kill_process(pid_of(pid), rustix::process::Signal::TSTP).unwrap();
    wait_for_modes(&terminal, &before);
    terminal.line("fg");
    wait_until("the terminal is raw again", || is_raw(&terminal));
    kill(pid);
    wait_for_modes(&terminal, &before);
}

#[test]
fn modes_set_by_another_process_remain() {
    let env = TestEnv::new();
    let Some((terminal, _)) = raw_job(&env, "") else {
        return;
    };
    let tty = terminal.format_variable("pane_tty");
    assert_eq!(env.sh(&format!("stty sane -echo -F {tty}")).code, 0);
    let others = terminal.modes();
    terminal.line("touch ended");
    env.write("end", "");
    env.wait_for_file("ended");
    assert_eq!(terminal.modes(), others);
}

#[test]
fn job_in_background_stops_when_it_sets_modes() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("set -m; echo ready");
    terminal.wait_for_line("ready");
    let before = terminal.modes();
    terminal.line(&format!("\"$RUNLOG\" run --run it -- {RAW} &"));
    wait_until("the job is stopped", || {
        terminal.line("");
        terminal.screen().contains("Stopped")
    });
    assert_eq!(terminal.modes(), before);
    terminal.line("fg");
    wait_until("the terminal is raw in the foreground", || {
        is_raw(&terminal)
    });
    kill(env.event("job_started")["pid"].as_i64().unwrap());
    wait_for_modes(&terminal, &before);
}

#[test]
fn editor_leaves_modes_of_both_terminals_unchanged() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env).filter(|_| has("nano")) else {
        return;
    };
    terminal.line("set -m; echo ready");
    terminal.wait_for_line("ready");
    let before = terminal.modes();
    terminal.line("\"$RUNLOG\" run --run it -- nano file");
    terminal.wait_for_text("GNU nano");
    for _ in 0..2 {
        terminal.keys(&["C-t", "C-z"]);
        wait_until("the editor is stopped", || {
            !terminal.screen().contains("GNU nano") && terminal.modes() == before
        });
        terminal.line("fg");
        terminal.wait_for_text("GNU nano");
        wait_until("the terminal is raw again", || is_raw(&terminal));
    }
    terminal.keys(&["C-x"]);
    env.wait_for("job_completed");
    wait_for_modes(&terminal, &before);
}
