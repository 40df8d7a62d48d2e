//! The manual pages, as `man` and `mandoc` read them.

use std::process::Command;

use crate::support::checks::assert_one_error;
use crate::support::env::{TestEnv, finish};

fn pages(env: &TestEnv) -> Vec<String> {
    env.ok(&["man", "man/man1"]);
    let entries = std::fs::read_dir(env.path("man/man1")).unwrap();
    let mut pages: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    pages
}

#[test]
fn every_public_command_has_man_page() {
    let env = TestEnv::new();
    let commands = runlog_commands();
    let mut expected: Vec<String> = commands.iter().map(|c| format!("runlog-{c}.1")).collect();
    expected.push("runlog.1".to_owned());
    expected.sort();
    assert_eq!(pages(&env), expected);
}

fn runlog_commands() -> Vec<String> {
    let cli = runlog::cli::Cli::description();
    let typed = cli.get_subcommands().filter(|c| !c.is_hide_set());
    typed.map(|c| c.get_name().to_owned()).collect()
}

#[test]
fn man_pages_are_reproducible() {
    let env = TestEnv::new();
    env.ok(&["man", "a"]);
    env.ok(&["man", "b"]);
    let same = env.sh("diff -r a b");
    assert_eq!(same.code, 0, "{}", same.stdout());
}

#[test]
fn man_pages_pass_mandoc_lint() {
    let env = TestEnv::new();
    let pages = pages(&env);
    if Command::new("mandoc").arg("-h").output().is_err() {
        eprintln!("skipped: mandoc is not installed");
        return;
    }
    for page in pages {
        let mut lint = env.program("mandoc");
        let path = format!("man/man1/{page}");
        let told = finish(lint.args(["-T", "lint", "-W", "warning", &path])).stdout();
        let faults: Vec<&str> = told
            .lines()
            // The pages have no date on purpose. clap_mangen breaks lines twice.
            .filter(|line| !line.contains("missing date") && !line.contains("skipping paragraph"))
            .collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn man_shows_sections() {
    let env = TestEnv::new();
    pages(&env);
    if Command::new("man").arg("--version").output().is_err() {
        eprintln!("skipped: man is not installed");
        return;
    }
    let show = |page: &str| {
        let mut man = env.program("man");
        man.env("MANWIDTH", "80").env("MANROFFOPT", "-c");
        finish(man.args(["-l", "-E", "ascii", page])).stdout()
    };
    let page = show("man/man1/runlog-status.1");
    // As in the help, the examples come first.
    let mut lines = page.lines().map(plain);
    for section in [
        "NAME",
        "SYNOPSIS",
        "EXAMPLES",
        "DESCRIPTION",
        "OPTIONS",
        "EXIT STATUS",
        "SEE ALSO",
    ] {
        let line = lines.any(|line| line == section);
        assert!(line, "no {section} in its place in\n{page}");
    }
    for line in [
        "runlog status [OPTIONS] [RUN]...",
        "3 no such volume or run",
    ] {
        assert!(has_line(&page, line), "no {line} in\n{page}");
    }
    let page = show("man/man1/runlog.1");
    for line in ["3 no such volume, run or job", "RUNLOG_VOLUME", "FILES"] {
        assert!(has_line(&page, line), "no {line} in\n{page}");
    }
}

/// Returns whether a page has a line with these words.
fn has_line(page: &str, words: &str) -> bool {
    let words: Vec<_> = words.split(' ').collect();
    page.lines()
        .any(|line| plain(line).split_whitespace().eq(words.iter().copied()))
}

/// Returns a line without its bold markup.
fn plain(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '\u{8}' => drop(text.pop()),
            c => text.push(c),
        }
    }
    text
}

#[test]
fn uncreatable_directory_exits_7() {
    let env = TestEnv::new();
    env.write("file", "");
    let output = env.run(&["man", "file/man1"]);
    assert_eq!(output.code, 7);
    assert_one_error(&output);
}
