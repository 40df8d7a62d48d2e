//! Programs at a terminal look and behave as without runlog. tmux provides the terminal.

use crate::support::env::{TestEnv, wait_until};
use crate::support::terminal::{Terminal, has};

/// Starts a job in a terminal, unless the program is not installed.
fn start<'a>(env: &'a TestEnv, program: &str, command: &str) -> Option<Terminal<'a>> {
    if !has(program) {
        return None;
    }
    let terminal = Terminal::new(env)?;
    terminal.line(&format!(
        "unset COLUMNS NO_COLOR; clear; \"$RUNLOG\" run --run it --job it {command}; echo code $?"
    ));
    Some(terminal)
}

fn captured(env: &TestEnv) -> String {
    String::from_utf8_lossy(&env.captured("it", "it")).into_owned()
}

#[test]
fn colors_of_ls_are_printed_and_stored() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("directory")).unwrap();
    let Some(terminal) = start(&env, "ls", "-- sh -c 'test -t 1 && ls --color=auto'") else {
        return;
    };
    terminal.wait_for_line("code 0");
    let line = captured(&env);
    assert!(line.contains("\u{1b}["), "{line:?}");
    assert!(line.ends_with('\n') && !line.contains('\r'), "{line:?}");
    let colors = terminal.colors();
    let shown = colors.lines().find(|line| line.contains("directory"));
    assert!(shown.unwrap().contains("\u{1b}["), "{colors:?}");
    let output = &env.event("job_completed")["output"];
    assert_eq!(output["held_open"], serde_json::Value::Null);
    terminal.line("clear; \"$RUNLOG\" tail it --output; echo end");
    terminal.wait_for_line("end");
    let colors = terminal.colors();
    let shown = colors.lines().find(|line| line.contains("directory"));
    assert!(shown.unwrap().contains("\u{1b}["), "{colors:?}");
}

#[test]
fn cargo_build_prints_colors_and_progress() {
    let env = TestEnv::new();
    std::fs::create_dir_all(env.path("crate/src")).unwrap();
    env.write("crate/src/main.rs", "fn main() { let unused = 1; }\n");
    let package = "[package]\nname = \"it\"\nedition = \"2021\"\n[workspace]\n";
    env.write("crate/Cargo.toml", package);
    let build = "-- env CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 \
                 CARGO_TERM_COLOR=auto CARGO_TARGET_DIR=crate/target cargo build --offline \
                 --manifest-path crate/Cargo.toml";
    let Some(terminal) = start(&env, "cargo", build) else {
        return;
    };
    terminal.wait_for_line("code 0");
    let stored = captured(&env);
    for part in ["\u{1b}[1m\u{1b}[33mwarning", "\r\u{1b}[K", "Finished"] {
        assert!(stored.contains(part), "{part:?}: {stored:?}");
    }
    assert!(terminal.screen().contains("unused variable"));
}

#[test]
fn vim_is_suspended_and_resumed() {
    let env = TestEnv::new();
    let Some(terminal) = start(&env, "vim", "-- vim -u NONE file") else {
        return;
    };
    terminal.wait_for_line("~");
    let raw = terminal.modes();
    terminal.keys(&["C-z"]);
    wait_until("the shell has its modes", || {
        terminal.modes().contains(" icanon") && terminal.screen().contains("topped")
    });
    terminal.line("clear; fg");
    wait_until("vim has its modes", || terminal.modes() == raw);
    terminal.wait_for_line("~");
    terminal.keys(&["-l", "iagain"]);
    terminal.keys(&["Escape"]);
    terminal.line(":wq");
    env.wait_for("job_completed");
    assert_eq!(std::fs::read(env.path("file")).unwrap(), b"again\n");
}

/// Returns `line 1.` and so on, up to `count` lines.
fn numbered_lines(count: u32) -> String {
    let lines: Vec<_> = (1..=count).map(|n| format!("line {n}.\n")).collect();
    lines.concat()
}

#[test]
fn pager_of_git_log_reads_keys() {
    let env = TestEnv::new();
    if !has("less") {
        return;
    }
    let message = numbered_lines(200).replace('\n', "\n\n");
    env.write("message", message);
    let commit = "git init -q r && git -C r -c user.name=n -c user.email=e commit -q --allow-empty -F ../message";
    assert_eq!(env.sh(commit).code, 0);
    let log = "-- env GIT_PAGER=less git -C r log";
    let Some(terminal) = start(&env, "git", log) else {
        return;
    };
    terminal.wait_for_text("line 1.");
    terminal.keys(&["G"]);
    terminal.wait_for_text("line 200.");
    terminal.keys(&["q"]);
    terminal.wait_for_line("code 0");
}

#[test]
fn more_reads_keys_from_its_stderr() {
    let env = TestEnv::new();
    env.write("lines", numbered_lines(200));
    let Some(terminal) = start(&env, "more", "-- more lines") else {
        return;
    };
    terminal.wait_for_text("--More--");
    terminal.keys(&["Space"]);
    terminal.wait_for_text("line 90.");
    terminal.keys(&["q"]);
    terminal.wait_for_line("code 0");
}

#[test]
fn vim_edits_file() {
    let env = TestEnv::new();
    let Some(terminal) = start(&env, "vim", "-- vim -u NONE file") else {
        return;
    };
    terminal.wait_for_line("~");
    terminal.keys(&["-l", "ihello"]);
    terminal.keys(&["Escape"]);
    terminal.line(":wq");
    terminal.wait_for_line("code 0");
    assert_eq!(std::fs::read(env.path("file")).unwrap(), b"hello\n");
    assert!(captured(&env).contains("\u{1b}[?1049h"));
}

#[test]
fn vim_with_piped_stdin_reads_keys() {
    let env = TestEnv::new();
    let command = "-- sh -c 'echo piped | vim -u NONE -'";
    let Some(terminal) = start(&env, "vim", command) else {
        return;
    };
    terminal.wait_for_line("piped");
    terminal.line(":w file");
    env.wait_for_file("file");
    terminal.line(":q!");
    terminal.wait_for_line("code 0");
}

#[test]
fn nano_edits_file() {
    let env = TestEnv::new();
    let Some(terminal) = start(&env, "nano", "-- nano file") else {
        return;
    };
    terminal.wait_for_text("GNU nano");
    let before = terminal.modes();
    terminal.line("hello");
    terminal.wait_for_line("hello");
    terminal.keys(&["C-o"]);
    terminal.wait_for_text("File Name to Write");
    terminal.keys(&["Enter"]);
    env.wait_for_file("file");
    assert!(before.contains("-icanon"), "{before}");
    terminal.wait_for_text("Wrote");
    terminal.keys(&["C-x"]);
    terminal.wait_for_line("code 0");
}

#[test]
fn top_and_htop_show_screen_and_end() {
    for program in ["top", "htop"] {
        let env = TestEnv::new();
        let Some(terminal) = start(&env, program, &format!("-- {program}")) else {
            continue;
        };
        terminal.wait_for_text("oad average");
        terminal.keys(&["q"]);
        terminal.wait_for_line("code 0");
    }
}

#[test]
fn python_prompts_and_edits_lines() {
    let env = TestEnv::new();
    let Some(terminal) = start(&env, "python3", "-- python3 -q") else {
        return;
    };
    terminal.wait_for_line(">>>");
    terminal.line("print(6*7)");
    terminal.wait_for_line("42");
    terminal.keys(&["C-d"]);
    terminal.wait_for_line("code 0");
}

#[test]
fn prompt_for_password_does_not_echo() {
    let env = TestEnv::new();
    let read = "-- bash -c 'read -rs -p pass: x; echo; echo got ${#x}'";
    let Some(terminal) = start(&env, "bash", read) else {
        return;
    };
    terminal.wait_for_text("pass:");
    wait_until("echo is off", || terminal.modes().contains("-echo "));
    terminal.line("geheim");
    terminal.wait_for_line("got 6");
    assert!(!terminal.screen().contains("geheim"));
}

#[test]
fn fzf_selects_line() {
    let env = TestEnv::new();
    let command = "-- sh -c 'seq 500 | fzf >chosen'";
    let Some(terminal) = start(&env, "fzf", command) else {
        return;
    };
    terminal.wait_for_text("500/500");
    terminal.keys(&["-l", "333"]);
    terminal.wait_for_text("1/500");
    terminal.keys(&["Enter"]);
    terminal.wait_for_line("code 0");
    assert_eq!(std::fs::read(env.path("chosen")).unwrap(), b"333\n");
}

#[test]
fn job_sees_new_size_after_resize() {
    let env = TestEnv::new();
    let script = "trap \"tput cols\" WINCH; tput cols; until [ -e go ]; do sleep 0.05; done";
    let Some(terminal) = start(&env, "tput", &format!("-- sh -c '{script}'")) else {
        return;
    };
    terminal.wait_for_line("150");
    terminal.resize(87, 40);
    terminal.wait_for_line("87");
    env.write("go", "");
    terminal.wait_for_line("code 0");
}

#[test]
fn one_line_progress_is_shown_at_once() {
    let env = TestEnv::new();
    let script =
        "printf \"at 10%%\"; until [ -e go ]; do sleep 0.05; done; printf \"\\rat 99%%\\n\"";
    let Some(terminal) = start(&env, "sh", &format!("-- sh -c '{script}'")) else {
        return;
    };
    terminal.wait_for_line("at 10%");
    env.write("go", "");
    terminal.wait_for_line("at 99%");
    terminal.wait_for_line("code 0");
    assert_eq!(captured(&env), "at 10%\rat 99%\n");
}

#[test]
fn fast_output_before_exit_is_complete() {
    let env = TestEnv::new();
    let Some(terminal) = start(&env, "seq", "-- sh -c 'seq 30000; seq 30000 >&2; echo end'") else {
        return;
    };
    terminal.wait_for_line("code 0");
    terminal.wait_for_line("end");
    let once = env.sh("seq 30000").stdout();
    assert!(captured(&env) == format!("{once}{once}end\n"));
}

#[test]
fn full_screen_is_not_repeated_by_tail_at_terminal() {
    let env = TestEnv::new();
    let Some(terminal) = start(&env, "vim", "-- vim -u NONE file") else {
        return;
    };
    terminal.wait_for_line("~");
    terminal.line(":q!");
    terminal.wait_for_line("code 0");
    terminal.line("script -qec '\"$RUNLOG\" tail it --output' typescript >out; echo code2 $?");
    terminal.wait_for_text("code2");
    let shown = std::fs::read_to_string(env.path("out")).unwrap_or_default();
    for hidden in ["\u{1b}[?1049h", "\u{1b}[H", "\u{1b}]"] {
        assert!(captured(&env).contains("\u{1b}[?1049h"));
        assert!(!shown.contains(hidden), "{shown:?}");
    }
    let raw = env.run(&["tail", "it", "--output"]).stdout;
    assert_eq!(raw, env.captured("it", "it"));
}
