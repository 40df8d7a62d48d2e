//! Colors: on a terminal or on request, never in machine output, never from job output.

use crate::support::env::TestEnv;
use crate::support::terminal::Terminal;

/// Asserts that each color starts and ends on the same line and is basic, bold or faint.
#[track_caller]
fn check(text: &str) {
    assert!(text.contains('\x1b'), "no colors: {text}");
    for line in text.lines() {
        let mut is_open = false;
        for sequence in line.split('\x1b').skip(1) {
            let (code, _) = sequence.strip_prefix('[').unwrap().split_once('m').unwrap();
            let expected = if is_open {
                &["0"][..]
            } else {
                &["1", "1;31", "2", "31", "32", "33", "36"]
            };
            assert!(expected.contains(&code), "{code}: {line:?}");
            is_open = !is_open;
        }
        assert!(!is_open, "not reset: {line:?}");
    }
}

/// Returns the text without its colors.
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1)
}

fn volume() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&[
        "run", "--run", "it", "--sample", "10ms", "--", "sleep", "0.1",
    ]);
    env.run(&[
        "run", "--run", "it", "--job", "bad", "--", "sh", "-c", "exit 3",
    ]);
    env.run(&["run", "--run", "it", "--close"]);
    env
}

#[test]
fn color_changes_no_text() {
    let env = volume();
    for args in [
        &["status"][..],
        &["status", "it"],
        &["tail", "it", "-n", "all"],
        &["tail", "--all", "-n", "all"],
        &["tail", "it", "--grep", "start", "-B1"],
        &["status", "--stats"],
        &["replay", "it"],
        &["replay", "--diff", "it", "it"],
    ] {
        let colored = env.run(&[args, &["--color", "always"]].concat()).stdout();
        check(&colored);
        assert_eq!(plain(&colored), env.run(args).stdout(), "{args:?}");
        let never = env.run(&[args, &["--color", "never"]].concat()).stdout();
        assert!(!never.contains('\x1b'), "{args:?}");
    }
}

#[test]
fn machine_output_has_no_color() {
    let env = volume();
    for args in [
        &["status", "--json"][..],
        &["tail", "it", "-n", "all", "--json"],
        &["replay", "it", "--json"],
    ] {
        let output = env.run(&[args, &["--color", "always"]].concat()).stdout();
        assert!(!output.contains('\x1b'), "{args:?}");
    }
}

#[test]
fn failed_runs_are_colored() {
    let env = volume();
    let color = ["--color", "always"];
    let status = env.run(&[&["status", "it"][..], &color].concat()).stdout();
    assert!(status.contains("\x1b[31m✗ failed\x1b[0m"), "{status}");
    assert!(status.contains("\x1b[31m3\x1b[0m"), "{status}");
    let tail = env.run(&[&["tail", "it"][..], &color].concat()).stdout();
    assert!(
        tail.contains("\x1b[31mit exited with code 3\x1b[0m"),
        "{tail}"
    );
    let story = env.run(&[&["replay", "it"][..], &color].concat()).stdout();
    assert!(story.contains("\x1b[31mexit 3\x1b[0m"), "{story}");
}

#[test]
fn stderr_is_colored_differently_from_stdout() {
    let env = TestEnv::new();
    let job = "echo out; echo err >&2; printf '\\033[32mgreen\\033[0m\\033[2J\\033]0;t\\007\\n'";
    env.ok(&["run", "--run", "it", "--", "sh", "-c", job]);
    let output = |args: &[&str]| {
        let args = [&["tail", "it", "--output"][..], args].concat();
        env.ok(&args).stdout()
    };
    // Two streams are ordered by arrival.
    let printed = output(&[]);
    let green = "\x1b[32mgreen\x1b[0m\x1b[2J\x1b]0;t\x07";
    let colored = |text: &str| text.replace("err", "\x1b[31merr\x1b[0m");
    let expected = colored(&printed.replace(green, "\x1b[32mgreen\x1b[0m"));
    assert_eq!(output(&["--color", "always"]), expected);
    let last_two = expected.split_inclusive('\n').skip(1).collect::<String>();
    assert_eq!(output(&["--color", "always", "-n", "2"]), last_two);
    let only = |stream| output(&["--color", "always", "--stream", stream]);
    assert_eq!(only("stderr"), "\x1b[31merr\x1b[0m\n");
    assert_eq!(only("stdout"), "out\n\x1b[32mgreen\x1b[0m\n");
    let last = output(&["--color", "always", "--stream", "stdout", "-n", "1"]);
    assert_eq!(last, "\x1b[32mgreen\x1b[0m\n");
    // Machine output is the job's output, byte for byte.
    let stored = env.captured("it", "sh");
    assert_eq!(printed.as_bytes(), stored);
    assert_eq!(output(&["--color", "never"]).as_bytes(), stored);
}

#[test]
fn followed_output_is_colored() {
    let env = TestEnv::new();
    // Two streams are ordered by arrival.
    let job = "echo out; read x; echo err >&2; read x; echo more >&2; read x";
    let mut job = env.spawn(&["run", "--run", "it", "--", "sh", "-c", job]);
    env.wait_for("job_started");
    let follow = ["tail", "it", "--output", "-f", "--color", "always"];
    let mut tail = env.spawn(&follow);
    assert_eq!(tail.read_line(), b"out");
    job.write(b"\n");
    assert_eq!(tail.read_line(), b"\x1b[31merr\x1b[0m");
    job.write(b"\n");
    assert_eq!(tail.read_line(), b"\x1b[31mmore\x1b[0m");
    job.write(b"\n");
    job.end();
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(tail.end().code, 0);
}

#[test]
fn terminal_gets_colors_but_no_control_sequences() {
    let env = TestEnv::new();
    let Some(terminal) = Terminal::new(&env) else {
        return;
    };
    let job = "printf 'seen\\033[2J\\033[H\\033]0;owned\\007 all\\n' >&2";
    env.ok(&["run", "--run", "it", "--", "sh", "-c", job]);
    terminal.line("echo above; unset NO_COLOR; \"$RUNLOG\" tail it --output; \"$RUNLOG\" status");
    terminal.wait_for_line("seen all");
    terminal.wait_for_text("○ open");
    terminal.wait_for_line("above");
    assert_ne!(terminal.format_variable("pane_title"), "owned");
    let screen = terminal.colors();
    assert!(screen.contains("\x1b[31mseen all"), "{screen:?}");
    assert!(screen.contains("RUN\x1b[0m"), "{screen:?}");
    terminal.line("clear; NO_COLOR=1 \"$RUNLOG\" tail it --output; echo end");
    terminal.wait_for_line("end");
    terminal.wait_for_line("seen all");
    assert!(!terminal.colors().contains("\x1b[31m"));
}
