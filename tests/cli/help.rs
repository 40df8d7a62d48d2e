//! The help of each command, at a width of 100.

use insta::assert_snapshot;

use crate::env::TestEnv;

/// The long help of a command.
fn help(args: &[&str]) -> String {
    let args: Vec<_> = args.iter().copied().chain(["--help"]).collect();
    TestEnv::new().ok(&args).stdout()
}

#[test]
fn of_runlog() {
    assert_snapshot!(help(&[]), @"");
}

#[test]
fn of_run() {
    assert_snapshot!(help(&["run"]), @"");
}

#[test]
fn of_status() {
    assert_snapshot!(help(&["status"]), @"");
}

#[test]
fn of_tail() {
    assert_snapshot!(help(&["tail"]), @"");
}

#[test]
fn of_emit() {
    assert_snapshot!(help(&["emit"]), @"");
}

#[test]
fn of_completions() {
    assert_snapshot!(help(&["completions"]), @"");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for command in [&[][..], &["run"], &["status"], &["tail"], &["emit"], &["completions"]] {
        for line in help(command).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn values_from_the_environment_are_not_shown() {
    let env = TestEnv::new();
    let mut command = env.command(&["emit", "--help"]);
    let output = crate::env::finish(command.env("RUNLOG_RUN_ID", "SECRET").env("RUNLOG_VOLUME", "SECRET"));
    assert!(!output.stdout().contains("SECRET"));
}

#[test]
fn completions_are_printed_for_each_shell() {
    let env = TestEnv::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = env.ok(&["completions", shell]);
        assert!(output.stdout().contains("runlog"), "{shell}");
        assert_eq!(output.stderr(), "");
    }
    assert_eq!(env.run(&["completions", "nosuchshell"]).code, 2);
    assert!(!env.exists(".omne"));
}
