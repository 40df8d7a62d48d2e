//! The effects of the environment and the terminal's size on text for people.

use crate::support::env::TestEnv;
use crate::support::terminal::Terminal;

/// Returns the output of `status` with these variables.
fn status_with(env: &TestEnv, variables: &[(&str, &str)]) -> String {
    let mut command = env.command(&["status", "it"]);
    for name in ["NO_COLOR", "LC_ALL"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn failed_run() -> TestEnv {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--run", "it", "--", "sh", "-c", "exit 3"]);
    env
}

#[test]
fn colors_are_forced_by_environment() {
    let env = failed_run();
    let colored = |variables: &[(&str, &str)]| status_with(&env, variables).contains('\x1b');
    assert!(colored(&[("CLICOLOR_FORCE", "1")]));
    assert!(colored(&[("FORCE_COLOR", "1")]));
    assert!(colored(&[("FORCE_COLOR", "3"), ("TERM", "dumb")]));
    assert!(!colored(&[("CLICOLOR_FORCE", "0")]));
    assert!(!colored(&[("FORCE_COLOR", "0")]));
    assert!(!colored(&[("FORCE_COLOR", "")]));
    assert!(!colored(&[("FORCE_COLOR", "1"), ("NO_COLOR", "1")]));
    assert!(!colored(&[]));
}

#[test]
fn forced_colors_leave_output_for_programs_alone() {
    let env = TestEnv::new();
    let script = r"printf 'a\rb\n\033[2J'";
    env.ok(&["run", "-q", "--run", "it", "--", "sh", "-c", script]);
    for args in [["tail", "it", "--output"], ["replay", "it", "--output"]] {
        let mut command = env.command(&args);
        let output = command.env("FORCE_COLOR", "1").output().unwrap();
        assert_eq!(output.stdout, b"a\rb\n\x1b[2J", "{args:?}");
    }
}

#[test]
fn help_has_color_as_tables_do() {
    let env = failed_run();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let mut count = 0;
    for (variables, options, has_color) in [
        ("TERM=xterm", "", true),
        ("TERM=xterm", "--color never", false),
        ("TERM=xterm", "--color=never", false),
        ("TERM=dumb", "--color always", true),
        ("TERM=dumb", "", false),
        ("-u TERM", "", false),
    ] {
        for command in ["status -h", "status it"] {
            let line = format!("env -u NO_COLOR {variables} \"$RUNLOG\" {options} {command}");
            // The last command's line may still be on the screen.
            count += 1;
            terminal.line(&format!("clear; {line}; echo end {count}"));
            terminal.wait_for_line(&format!("end {count}"));
            assert_eq!(terminal.colors().contains('\x1b'), has_color, "{line}");
        }
    }
}

#[test]
fn symbols_are_ascii_outside_utf8_locales() {
    let env = failed_run();
    let symbols = |variables: &[(&str, &str)]| !status_with(&env, variables).is_ascii();
    assert!(!symbols(&[("LC_ALL", "C")]));
    assert!(!symbols(&[("LANG", "de_DE.ISO-8859-1")]));
    assert!(!symbols(&[("LC_CTYPE", "POSIX"), ("LANG", "C.UTF-8")]));
    assert!(symbols(&[("LC_ALL", "C.UTF-8"), ("LANG", "C")]));
    assert!(symbols(&[("LANG", "en_US.utf8")]));
    assert!(symbols(&[]));
    let text = status_with(&env, &[("LC_ALL", "C")]);
    assert!(text.contains("x failed"), "{text}");
}

#[test]
fn dumb_terminal_gets_no_control_sequences() {
    let env = failed_run();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let bar = r"printf '10%%\r20%%\r30%%\n'";
    env.ok(&["run", "-q", "--run", "bar", "--", "sh", "-c", bar]);
    terminal.line(
        "unset NO_COLOR; export TERM=dumb; clear; \"$RUNLOG\" status it --color auto; \
         \"$RUNLOG\" tail bar --output; echo end",
    );
    terminal.wait_for_line("end");
    assert!(
        !terminal.colors().contains("\x1b[3"),
        "{}",
        terminal.colors()
    );
    terminal.wait_for_line("30%");
}

#[test]
fn progress_bar_is_one_line_on_terminal() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let script = r"for i in $(seq 500); do printf '%s%%\r' $i; done; \
                   printf '\033]52;c;b3duZWQ=\007\033[?1049hdone\n'";
    env.ok(&["run", "-q", "--run", "it", "--", "sh", "-c", script]);
    for (at, command) in [
        "tail it --output -n 1",
        "tail it --output",
        "replay it --output",
        "replay it --speed max 2>/dev/null",
    ]
    .iter()
    .enumerate()
    {
        terminal.line(&format!("clear; \"$RUNLOG\" {command}; echo {at}"));
        terminal.wait_for_line(&at.to_string());
        let screen = terminal.screen();
        let lines: Vec<_> = screen
            .lines()
            .filter(|line| line.starts_with("done"))
            .collect();
        // The last update was longer than the text that overwrote it.
        assert_eq!(lines, ["done"], "{command}: {screen}");
        assert!(!screen.contains("499"), "{command}: {screen}");
    }
}

#[test]
fn status_keeps_ids_whole_on_narrow_terminals() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "-q", "--name", "nightly", "--", "true"]);
    let id = env.only_run();
    for (columns, shown, dropped) in [(80, "OPENED", "EVENTS"), (60, "DURATION", "OPENED")] {
        terminal.resize(columns, 24);
        // The program at the terminal receives the new size a moment later.
        terminal.line(&format!(
            "until stty size | grep -q ' {columns}$'; do :; done; clear; \"$RUNLOG\" status; echo {columns}"
        ));
        terminal.wait_for_line(&columns.to_string());
        let screen = terminal.screen();
        assert!(screen.contains(&id), "{screen}");
        assert!(
            screen.contains(shown) && !screen.contains(dropped),
            "{screen}"
        );
        let rows = screen.lines().filter(|line| line.starts_with("nightly"));
        assert_eq!(rows.count(), 1, "{screen}");
    }
}

#[test]
fn long_timeline_and_output_are_shown_by_pager() {
    let env = failed_run();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--name", "long", "--", "seq", "9"]);
    env.executable("pager", "#!/bin/sh\necho by pager; exec cat\n");
    let shown = |rows: u16, command: &str, end: &str| {
        terminal.line(&format!(
            "clear; stty rows {rows}; PAGER=./pager \"$RUNLOG\" {command}; echo $?; stty rows 50; echo {end}"
        ));
        terminal.wait_for_line(end);
        terminal.screen()
    };
    for (command, last, end) in [
        ("replay long", "completed", "a"),
        ("tail long", "run closed", "b"),
        ("tail --output long", "\n9\n", "c"),
        ("tail --output --timestamps long", " 9\n", "d"),
    ] {
        let paged = shown(4, command, end);
        assert!(
            paged.contains("by pager\n") && paged.contains(last),
            "{paged}"
        );
        assert!(paged.contains("\n0\n"), "{paged}");
        let plain = shown(4, &format!("{command} --no-pager"), &format!("{end}{end}"));
        let short = shown(40, command, &format!("{end}{end}{end}"));
        for screen in [plain, short] {
            assert!(
                screen.contains(last) && !screen.contains("by pager"),
                "{screen}"
            );
        }
    }
}

#[test]
fn long_list_is_shown_by_pager() {
    let env = failed_run();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    for pager in ["one", "two"] {
        env.executable(pager, format!("#!/bin/sh\necho by {pager}; exec cat\n"));
    }
    let shown = |rows: u16, command: &str, end: &str| {
        terminal.line(&format!(
            "clear; stty rows {rows}; {command}; stty rows 50; echo {end}"
        ));
        terminal.wait_for_line(end);
        terminal.screen()
    };
    let status = "\"$RUNLOG\" status";
    let screen = shown(2, &format!("PAGER=./one {status}"), "a");
    assert!(
        screen.contains("by one\n") && screen.contains("failed"),
        "{screen}"
    );
    let screen = shown(2, &format!("PAGER=./one RUNLOG_PAGER=./two {status}"), "b");
    assert!(screen.contains("by two\n"), "{screen}");
    for (command, end) in [
        (format!("PAGER=./one {status} --no-pager"), "c"),
        (format!("PAGER=./one RUNLOG_PAGER= {status}"), "d"),
        (format!("PAGER=./one TERM=dumb {status}"), "e"),
        (format!("PAGER=./one {status} | cat"), "f"),
    ] {
        let screen = shown(2, &command, end);
        assert!(
            screen.contains("failed") && !screen.contains("by one\n"),
            "{screen}"
        );
    }
    let screen = shown(40, &format!("PAGER=./one {status}"), "g");
    assert!(
        screen.contains("failed") && !screen.contains("by one\n"),
        "{screen}"
    );
}

#[test]
fn missing_pager_shows_output_without_it() {
    let env = failed_run();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    env.ok(&["run", "--name", "long", "--", "seq", "30000"]);
    env.executable("not-a-program", "#!/bin/no-such-shell\n");
    for (pager, command, last, end) in [
        ("no-such-pager", "status", "failed", "a0"),
        ("no-such-pager", "replay long", "completed", "b0"),
        ("./not-a-program", "tail --output long", "30000", "c0"),
        ("false", "status", "end", "d0"),
    ] {
        terminal.line(&format!(
            "clear; stty rows 2; PAGER={pager} \"$RUNLOG\" {command}; x=$?; stty rows 50; \
             echo end; echo {}$x",
            end.trim_end_matches('0')
        ));
        terminal.wait_for_line(end);
        assert!(terminal.screen().contains(last), "{}", terminal.screen());
    }
}

#[test]
fn ctrl_c_in_pager_does_not_end_command() {
    let env = failed_run();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let log = env.path(".omne/var/runs/it/events.jsonl");
    let mut damaged = std::fs::read(&log).unwrap();
    damaged.extend_from_slice(b"{\"v\":1,garbage\n");
    std::fs::write(&log, damaged).unwrap();
    let script = "trap 'echo interrupted' INT; cat; echo shown; \
                  until [ -e go ]; do sleep 0.01; done";
    env.executable("pager", format!("#!/bin/sh\n{script}\n"));
    terminal
        .line("stty rows 2; PAGER=./pager \"$RUNLOG\" status; x=$?; stty rows 50; echo code $x");
    terminal.wait_for_text("shown");
    terminal.keys(&["C-c"]);
    terminal.wait_for_text("interrupted");
    env.write("go", "");
    terminal.wait_for_line("code 5");
}
