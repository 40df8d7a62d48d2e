//! Completion of run ids in real shells.

use std::process::Command;

use crate::support::env::{TestEnv, wait_until};
use crate::support::terminal::Terminal;

/// Creates two closed runs and an open one, and a link to `runlog`.
fn volume() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["run", "--name", "backup", "--", "true"]);
    env.run(&["run", "--name", "deploy", "--", "false"]);
    env.ok(&["emit", "--run", "release-7", "--open", "begun"]);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_runlog"), env.path("runlog")).unwrap();
    env
}

fn run_of(env: &TestEnv, name: &str) -> String {
    let runs = env.runs();
    let found = runs.into_iter().find(|run| run.starts_with(name));
    found.unwrap()
}

/// Returns whether a shell is installed, and prints `skipped: …` if it is not.
fn is_installed(shell: &str) -> bool {
    let there = Command::new(shell).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: {shell} is not installed");
    }
    there
}

#[test]
fn run_ids_are_listed_newest_first_with_status() {
    let env = volume();
    let (backup, deploy) = (run_of(&env, "backup"), run_of(&env, "deploy"));
    assert_eq!(
        env.ok(&["complete-runs"]).stdout(),
        format!("latest\tthe newest run\nrelease-7\topen\n{deploy}\tfailed\n{backup}\tcompleted\n")
    );
    assert_eq!(
        env.ok(&["complete-runs", "dep"]).stdout(),
        format!("{deploy}\tfailed\n")
    );
    assert_eq!(
        env.ok(&["complete-runs", "--writable"]).stdout(),
        "release-7\topen\n"
    );
}

#[test]
fn missing_volume_completes_to_nothing() {
    let env = TestEnv::new();
    let output = env.ok(&["complete-runs"]);
    assert_eq!((output.stdout(), output.stderr()), Default::default());
}

#[test]
fn helper_command_is_hidden() {
    let env = TestEnv::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = env.ok(&["completions", shell]).stdout();
        let helper = script.matches("complete-runs").count();
        // Only the functions that call the helper contain its name.
        let asks = usize::from(["bash", "fish", "zsh"].contains(&shell));
        assert_eq!(helper, asks, "{shell}");
    }
}

/// Types a line, presses Tab, and waits for the completed line.
fn completes_to(terminal: &Terminal<'_>, typed: &str, completed: &str) {
    terminal.keys(&["C-u"]);
    terminal.keys(&["-l", typed]);
    terminal.keys(&["Tab"]);
    let completed = completed.trim_end();
    wait_until(completed, || {
        let screen = terminal.screen();
        screen.lines().any(|line| line.trim_end() == completed)
    });
}

/// Creates a volume in a directory whose name needs quoting, with the run `far`.
const ELSEWHERE: &str = "a b:c";

fn elsewhere(env: &TestEnv) {
    std::fs::create_dir(env.path(ELSEWHERE)).unwrap();
    env.ok(&["-C", ELSEWHERE, "run", "--run", "far", "--", "true"]);
}

/// Checks each position that takes a run, in a shell with the prompt `% `.
fn in_a_terminal(env: &TestEnv, terminal: &Terminal<'_>) {
    let (backup, deploy) = (run_of(env, "backup"), run_of(env, "deploy"));
    completes_to(
        terminal,
        "runlog status ba",
        &format!("% runlog status {backup}"),
    );
    completes_to(
        terminal,
        "runlog tail -f --json de",
        &format!("% runlog tail -f --json {deploy}"),
    );
    completes_to(
        terminal,
        "runlog replay --diff latest ba",
        &format!("% runlog replay --diff latest {backup}"),
    );
    completes_to(
        terminal,
        "runlog emit --run ",
        "% runlog emit --run release-7",
    );
    completes_to(
        terminal,
        "runlog run --run=rel",
        "% runlog run --run=release-7",
    );
    // A file must not be completed as the value of another option.
    env.write("release-notes", "");
    std::fs::create_dir(env.path("release-dir")).unwrap();
    completes_to(
        terminal,
        "runlog tail --cursor-file release-n",
        "% runlog tail --cursor-file release-notes",
    );
    // The shell must not interpret a name.
    env.ok(&["run", "-q", "--name", "zz; touch 'x'", "--", "true"]);
    env.ok(&["run", "-q", "--name", "two words", "--", "true"]);
    for (typed, completed) in [
        ("status --name zz", r"status --name zz\;\ touch\ \'x\'"),
        (
            r"status --name zz\;\ to",
            r"status --name zz\;\ touch\ \'x\'",
        ),
        ("status --name 'two", "status --name 'two words'"),
        ("status --state fa", "status --state failed"),
        ("status --name dep", "status --name deploy"),
        ("run --name dep", "run --name deploy"),
        ("tail --type job_su", "tail --type job_submitted"),
        ("tail --job dep", "tail --job deploy"),
        ("stop --signal US", "stop --signal USR"),
        ("status --state pe", "status --state pending"),
        ("tail latest --js", "tail latest --json"),
        ("run --cwd rel", "run --cwd release-dir/"),
        // The words of a wrapped command are completed as without runlog.
        ("run -- cat release-n", "run -- cat release-notes"),
        (
            "run -q --name x cat release-n",
            "run -q --name x cat release-notes",
        ),
    ] {
        let completed = format!("% runlog {completed}");
        completes_to(terminal, &format!("runlog {typed}"), &completed);
    }
    // In another directory.
    elsewhere(env);
    completes_to(
        terminal,
        "runlog -C 'a b:c' status f",
        "% runlog -C 'a b:c' status far",
    );
    completes_to(
        terminal,
        "runlog --volume=a\\ b:c status f",
        "% runlog --volume=a\\ b:c status far",
    );
    std::fs::create_dir(env.path("away")).unwrap();
    terminal.keys(&["C-u"]);
    terminal.line("cd away; PATH=..:$PATH");
    completes_to(
        terminal,
        "runlog -C .. status ba",
        &format!("% runlog -C .. status {backup}"),
    );
}

#[test]
fn bash_completes_runs() {
    let env = volume();
    if !is_installed("bash") {
        return;
    }
    let Some(terminal) = Terminal::with(&env, &["bash", "--norc", "--noprofile"]) else {
        return;
    };
    terminal.line("PS1='% '; PATH=.:$PATH; source <(runlog completions bash); echo ready");
    terminal.wait_for_line("ready");
    in_a_terminal(&env, &terminal);
}

#[test]
fn zsh_completes_runs() {
    let env = volume();
    if !is_installed("zsh") {
        return;
    }
    let script = env.ok(&["completions", "zsh"]).stdout();
    std::fs::create_dir(env.path("functions")).unwrap();
    env.write("functions/_runlog", script);
    let Some(terminal) = Terminal::with(&env, &["zsh", "-f"]) else {
        return;
    };
    terminal.line(
        "PS1='%% '; PATH=.:$PATH; fpath=($PWD/functions $fpath); bindkey -e; \
         autoload -U compinit; compinit -D -u; echo ready",
    );
    terminal.wait_for_line("ready");
    env.ok(&["run", "--name", "col:on", "--", "true"]);
    completes_to(
        &terminal,
        "runlog status --name col",
        "% runlog status --name col:on",
    );
    in_a_terminal(&env, &terminal);
}

#[test]
fn fish_completes_runs() {
    let env = volume();
    if !is_installed("fish") {
        return;
    }
    let script = env.ok(&["completions", "fish"]).stdout();
    env.write("runlog.fish", script);
    let (backup, deploy) = (run_of(&env, "backup"), run_of(&env, "deploy"));
    let completed = |typed: &str| {
        let ask = format!("set PATH . $PATH; source runlog.fish; complete -C '{typed}'");
        let mut fish = env.program("fish");
        fish.env("HOME", env.root())
            .args(["--no-config", "-c", &ask]);
        crate::support::env::finish(&mut fish).stdout()
    };
    assert_eq!(
        completed("runlog status ba"),
        format!("{backup}\tcompleted\n")
    );
    assert_eq!(
        completed("runlog tail -f --json de"),
        format!("{deploy}\tfailed\n")
    );
    assert_eq!(
        completed("runlog replay --diff latest ba"),
        format!("{backup}\tcompleted\n")
    );
    assert_eq!(completed("runlog emit --run "), "release-7\topen\n");
    assert_eq!(completed("runlog run --run=rel"), "--run=release-7\topen\n");
    assert_eq!(
        completed("runlog -C . status ba"),
        format!("{backup}\tcompleted\n")
    );
    elsewhere(&env);
    for volume in ["-C \"a b:c\"", "--volume=a\\\\ b:c", "\"--volume=a b:c\""] {
        let typed = format!("runlog {volume} status f");
        assert_eq!(completed(&typed), "far\topen\n", "{volume}");
    }
    env.write("release-notes", "");
    assert_eq!(
        completed("runlog tail --cursor-file release-n"),
        "release-notes\n"
    );
    assert_eq!(completed("runlog tail --until rel"), "");
    // The words of a wrapped command are completed as without runlog.
    for typed in ["run cat rel", "run -- cat rel", "run -q -- cat rel"] {
        let completed = completed(&format!("runlog {typed}"));
        assert_eq!(completed, "release-notes\n", "{typed}");
    }
}
