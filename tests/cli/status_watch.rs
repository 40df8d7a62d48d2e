//! `runlog status --watch` on a terminal, which tmux provides.

use std::fs;

use rustix::process::Signal;

use crate::support::env::{TestEnv, wait_until};
use crate::support::process::pid_of;
use crate::support::terminal::Terminal;

/// Waits until the view has appeared or disappeared.
fn wait_for_view(terminal: &Terminal<'_>, is_there: bool) {
    let expected = if is_there { "1" } else { "0" };
    wait_until("the other screen", || {
        terminal.format_variable("alternate_on") == expected
    });
}

/// Returns the line of the screen that contains this text.
#[track_caller]
fn line_with(terminal: &Terminal<'_>, text: &str) -> String {
    terminal.wait_for_text(text);
    let screen = terminal.screen();
    let line = screen.lines().find(|line| line.contains(text));
    line.unwrap_or_else(|| panic!("gone again: {text}\n{screen}"))
        .to_owned()
}

/// Returns the pid of the only `runlog status --watch` on the test's terminal.
fn watcher(env: &TestEnv) -> i64 {
    let is_watcher = |pid: &i64| {
        let of = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let words = String::from_utf8_lossy(&of("cmdline")).into_owned();
        let here = fs::read_link(format!("/proc/{pid}/cwd"));
        words.contains("status\0--watch") && here.is_ok_and(|here| here == env.root())
    };
    let pids = fs::read_dir("/proc").unwrap();
    let mut pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.find(is_watcher).unwrap()
}

#[test]
fn watch_lists_live_run_first_with_activity() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let job = "echo first; printf '\\033[2J\\033]0;hostile\\007second \\033[31mline\\n'; cat";
    let args = [
        "run",
        "--name",
        "build",
        "--timeout",
        "1h",
        "--retries",
        "2",
    ];
    let job = env.spawn(&[&args[..], &["--", "sh", "-c", job]].concat());
    env.wait_for("job_started");
    env.ok(&["run", "--name", "later", "--", "true"]);
    terminal.line("\"$RUNLOG\" status --watch");
    let title = line_with(&terminal, "1 running");
    assert!(title.contains("1 running, 1 completed"), "{title}");
    terminal.wait_for_text("│ second line");
    let doing = line_with(&terminal, "running for");
    assert!(doing.contains("attempt 1 of 3"), "{doing}");
    assert!(doing.contains("left of 1h 00m"), "{doing}");
    // This is drawn last.
    terminal.wait_for_text("q: quit");
    let screen = terminal.screen();
    let place = |text: &str| screen.find(text).unwrap();
    assert!(place("build-") < place("second line"), "{screen}");
    assert!(place("second line") < place("later-"), "{screen}");
    // The job continues by itself.
    job.end();
    terminal.wait_for_text("2 completed");
    terminal.wait_until_gone("running for");
}

#[test]
fn watch_quits_on_q_and_restores_terminal() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--", "true"]);
    terminal.line("PS1='ready> '; before=$(stty -g); echo as it was");
    terminal.wait_for_line("as it was");
    terminal.line("\"$RUNLOG\" status --watch");
    wait_for_view(&terminal, true);
    terminal.wait_for_text("1 completed");
    assert_eq!(terminal.format_variable("cursor_flag"), "0");
    // Keys are not echoed.
    terminal.keys(&["x"]);
    terminal.keys(&["q"]);
    wait_for_view(&terminal, false);
    // The output of a line typed before the prompt would appear after the prompt.
    terminal.wait_for_line("ready>");
    terminal.line("echo code $?; test \"$before\" = \"$(stty -g)\" && echo the same");
    terminal.wait_for_line("code 0");
    terminal.wait_for_line("the same");
    assert_eq!(terminal.format_variable("cursor_flag"), "1");
    assert!(terminal.screen().contains("\nas it was\n"));
    assert!(!terminal.screen().contains("1 completed"));
}

#[test]
fn watch_quits_on_q_before_outcome_of_named_run() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let job = env.spawn(&["run", "--run", "it", "--close", "--", "cat"]);
    env.wait_for("job_started");
    terminal.line("\"$RUNLOG\" status --watch it; echo code $?");
    terminal.wait_for_text("q: quit");
    terminal.keys(&["q"]);
    terminal.wait_for_line("code 4");
    job.end();
}

#[test]
fn watch_quits_on_signal_and_restores_terminal() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--", "true"]);
    terminal.line("PS1='ready> '; before=$(stty -g)");
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        terminal.line("clear; \"$RUNLOG\" status --watch");
        wait_for_view(&terminal, true);
        terminal.wait_for_text("1 completed");
        if signal == Signal::INT {
            terminal.keys(&["C-c"]);
        } else {
            rustix::process::kill_process(pid_of(watcher(&env)), signal).unwrap();
        }
        wait_for_view(&terminal, false);
        // An interrupted shell discards input typed before its prompt.
        terminal.wait_for_line("ready>");
        terminal.line("echo code $?; test \"$before\" = \"$(stty -g)\" && echo the same");
        terminal.wait_for_line(&format!("code {code}"));
        terminal.wait_for_line("the same");
        assert_eq!(terminal.format_variable("cursor_flag"), "1");
    }
}

#[test]
fn watch_suspends_and_resumes() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--", "true"]);
    terminal.line("PS1='ready> '; set -m; \"$RUNLOG\" status --watch");
    wait_for_view(&terminal, true);
    terminal.keys(&["C-z"]);
    wait_for_view(&terminal, false);
    terminal.wait_for_line("ready>");
    terminal.line("echo here I am");
    terminal.wait_for_line("here I am");
    terminal.line("fg");
    wait_for_view(&terminal, true);
    terminal.wait_for_text("1 completed");
    env.ok(&["run", "--", "true"]);
    terminal.wait_for_text("2 completed");
    terminal.keys(&["q"]);
    wait_for_view(&terminal, false);
}

#[test]
fn watch_fits_any_screen_size() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    for n in 0..30 {
        env.ok(&["run", "--name", &format!("old-{n}"), "--", "true"]);
    }
    let job = env.spawn(&["run", "--run", "live", "--", "cat"]);
    wait_until("the start", || {
        !env.events_of_type("live", "job_started").is_empty()
    });
    terminal.line("\"$RUNLOG\" status --watch");
    terminal.wait_for_text("old-0-");
    assert!(!terminal.screen().contains(" more "));
    terminal.resize(60, 10);
    // A title, a header, and the last line. The live run has two lines.
    let last = line_with(&terminal, "… ");
    assert!(last.starts_with("… 25 more"), "{last}");
    let screen = terminal.screen();
    assert!(screen.contains("live "), "{screen}");
    assert!(screen.contains("running for"), "{screen}");
    assert!(
        screen.contains("old-29-") && !screen.contains("old-0-"),
        "{screen}"
    );
    assert!(
        screen.contains("DURATION") && !screen.contains("OPENED"),
        "{screen}"
    );
    terminal.resize(20, 3);
    terminal.wait_for_text("live ");
    terminal.resize(150, 50);
    terminal.wait_for_text("old-0-");
    job.kill();
    terminal.wait_for_text("1 lost");
}

#[test]
fn watch_estimates_progress_from_earlier_runs() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--name", "it", "--", "true"]);
    env.run(&["run", "--name", "it", "--", "false"]);
    let job = env.spawn(&["run", "--name", "it", "--", "cat"]);
    wait_until("the start", || {
        env.runs().len() == 3 && env.runs().iter().any(|run| env.types(run).len() == 4)
    });
    terminal.line("\"$RUNLOG\" status --watch");
    let late = line_with(&terminal, "longer than usual (");
    assert!(late.contains("████████████████████ "), "{late}");
    job.end();
    terminal.wait_for_text("1 failed, 2 completed");
    terminal.wait_until_gone("usual");
}

#[test]
fn watch_of_one_run_ends_with_it() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let script = "echo one; echo two; cat; exit 3";
    let job = env.spawn(&["run", "--name", "it", "--", "sh", "-c", script]);
    env.wait_for("job_started");
    terminal.line("\"$RUNLOG\" status --watch it; echo code $?");
    wait_for_view(&terminal, true);
    terminal.wait_for_text(" │ one");
    terminal.wait_for_text(" │ two");
    terminal.wait_for_text("▶ running");
    terminal.wait_for_text("elapsed");
    job.end();
    terminal.wait_for_line("code 1");
    // The terminal keeps what `status` prints.
    let screen = terminal.screen();
    assert!(
        screen.contains("it: it exited with code 3 (exit)"),
        "{screen}"
    );
    assert!(screen.contains("state     ✗ failed"), "{screen}");
    // There is nothing left to watch.
    terminal.line("clear; \"$RUNLOG\" status --watch it; echo then $?");
    terminal.wait_for_line("then 1");
}

#[test]
fn watch_handles_removed_and_overdue_run() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--run", "it", "--", "true"]);
    terminal.line("\"$RUNLOG\" status --watch it --timeout 10ms; echo code $?");
    terminal.wait_for_line("code 4");
    terminal.line("\"$RUNLOG\" status --watch it; echo then $?");
    wait_for_view(&terminal, true);
    fs::remove_dir_all(env.run_dir("it")).unwrap();
    terminal.wait_for_line("then 3");
}

#[test]
fn watch_without_terminal_suggests_json() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    let output = env.run(&["status", "--watch"]);
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(output.stderr(), @r"
    error: --watch needs a terminal on stdout
    hint: use `runlog status --watch --json`, `runlog status --wait RUN` or `runlog tail -f RUN`
    ");
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    terminal.line("TERM=dumb \"$RUNLOG\" status --watch; echo code $?");
    terminal.wait_for_line("code 2");
}

#[test]
fn watch_rejects_conflicting_options() {
    let env = TestEnv::new();
    for other in [&["--retired"][..], &["--export", "csv"], &["--wait"]] {
        let args = [&["status", "--watch", "it"][..], other].concat();
        assert_eq!(env.run(&args).code, 2, "{args:?}");
    }
}

#[test]
fn watch_shows_last_column_of_full_lines() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--name", "nightly", "--", "true"]);
    terminal.resize(80, 10);
    terminal.line("\"$RUNLOG\" status --watch");
    terminal.wait_for_text("1 completed");
    for columns in (50..=80).rev() {
        terminal.resize(columns, 10);
        wait_until("a redrawn row", || {
            let screen = terminal.screen();
            let row = screen.lines().find(|line| line.starts_with("nightly-"));
            let Some(row) = row else { return false };
            let has_duration = screen.contains("DURATION");
            !has_duration || row.ends_with('s') && screen.contains("STATE")
        });
    }
}
