//! `runlog status`: selecting and naming runs.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::env::{Output, TestEnv, finish};

/// Returns the ids of the runs that `status --json` lists with these arguments.
fn listed(env: &TestEnv, args: &[&str]) -> Vec<String> {
    let args: Vec<_> = ["status", "--json"].iter().chain(args).copied().collect();
    let stdout = env.ok(&args).stdout();
    let id = |line: &str| {
        let run: Value = serde_json::from_str(line).unwrap();
        run["run_id"].as_str().unwrap().to_owned()
    };
    stdout.lines().map(id).collect()
}

/// Creates three runs in this order: `one` completed, `two` failed, `three` open.
fn three_runs(env: &TestEnv) {
    env.ok(&["run", "-q", "--run", "one", "--close", "--", "true"]);
    env.run(&[
        "run", "-q", "--run", "two", "--close", "--name", "tests", "--", "false",
    ]);
    env.ok(&["emit", "--open", "--run", "three", "hello"]);
}

#[test]
fn status_json_has_one_line_per_run() {
    let env = TestEnv::new();
    three_runs(&env);
    let all = env.ok(&["status", "--json"]).stdout();
    let of = |run: &&str| env.ok(&["status", "--json", run]).stdout();
    let each: String = ["one", "two", "three"].iter().map(of).collect();
    assert_eq!(all, each);
}

#[test]
fn runs_are_selected_by_state() {
    let env = TestEnv::new();
    three_runs(&env);
    assert_eq!(listed(&env, &["--state", "failed"]), ["two"]);
    assert_eq!(
        listed(&env, &["--state", "completed", "--state", "open"]),
        ["one", "three"]
    );
    assert_eq!(listed(&env, &["--state", "lost"]), [""; 0]);
}

#[test]
fn runs_are_selected_by_name() {
    let env = TestEnv::new();
    three_runs(&env);
    assert_eq!(listed(&env, &["--name", "tests"]), ["two"]);
}

#[test]
fn newest_n_runs_are_selected() {
    let env = TestEnv::new();
    three_runs(&env);
    assert_eq!(listed(&env, &["-n", "2"]), ["two", "three"]);
    assert_eq!(listed(&env, &["-n", "0"]), [""; 0]);
    assert_eq!(listed(&env, &["-n", "9"]).len(), 3);
    assert_eq!(listed(&env, &["-n", "1", "--state", "completed"]), ["one"]);
}

#[test]
fn runs_are_selected_by_age() {
    let env = TestEnv::new();
    three_runs(&env);
    let opened = env.status("two")["opened_ts"].as_str().unwrap().to_owned();
    assert_eq!(listed(&env, &["--since", &opened]), ["two", "three"]);
    assert_eq!(listed(&env, &["--since", "1h"]).len(), 3);
    assert_eq!(listed(&env, &["--since", "2100-01-01"]), [""; 0]);
}

#[test]
fn empty_selection_succeeds() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    let output = env.ok(&["status", "--state", "lost"]);
    assert_eq!(
        (output.stdout(), output.stderr()),
        (String::new(), "no runs match\n".to_owned())
    );
}

#[test]
fn unknown_state_is_rejected() {
    let env = TestEnv::new();
    let output = env.run(&["status", "--state", "sleeping"]);
    assert_eq!(output.code, 2);
    assert!(
        output
            .stderr()
            .contains("completed, failed, running, lost, unknown, open")
    );
}

#[test]
fn run_is_found_by_unique_prefix() {
    let env = TestEnv::new();
    three_runs(&env);
    for (name, run) in [("o", "one"), ("tw", "two"), ("three", "three")] {
        assert_eq!(listed(&env, &[name]), [run]);
    }
}

#[test]
fn exact_id_wins_over_longer_one() {
    let env = TestEnv::new();
    for run in ["a", "a-b"] {
        env.ok(&["emit", "--open", "--run", run, "x"]);
    }
    assert_eq!(listed(&env, &["a"]), ["a"]);
}

#[test]
fn latest_is_last_started_run() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "z-old", "x"]);
    env.ok(&["emit", "--open", "--run", "a-new", "x"]);
    env.ok(&["emit", "--run", "z-old", "x"]);
    assert_eq!(listed(&env, &["latest"]), ["a-new"]);
}

#[test]
fn volume_is_found_from_subdirectory() {
    let env = TestEnv::new();
    three_runs(&env);
    let output = env.sh(r#"mkdir -p a/b && cd a/b && "$RUNLOG" status --json one"#);
    assert_eq!(output.code, 0);
}

#[test]
fn volume_is_named_by_option_or_variable() {
    let env = TestEnv::new();
    three_runs(&env);
    let script =
        r#"cd / && "$RUNLOG" status -C "$V" one && RUNLOG_VOLUME="$V" "$RUNLOG" status one"#;
    let output = finish(env.program("sh").args(["-c", script]).env("V", env.root()));
    assert_eq!(output.code, 0, "{}", output.stderr());
}

#[test]
fn status_closed_stdout_ends_quietly() {
    let env = TestEnv::new();
    three_runs(&env);
    let output = env.sh(r#"{ "$RUNLOG" status --json; echo $? >code; } | true"#);
    assert_eq!(output.stderr(), "");
    assert_eq!(fs::read_to_string(env.path("code")).unwrap(), "0\n");
}

/// Returns the names of the runs that `status` lists with these arguments.
#[track_caller]
fn names(env: &TestEnv, args: &[&str]) -> Vec<String> {
    let lines = env.json_lines(&[&["status", "--json"], args].concat());
    let name = |run: &Value| run["name"].as_str().unwrap().to_owned();
    lines.iter().map(name).collect()
}

#[test]
fn name_filter_takes_globs_commas_and_repeats() {
    let env = TestEnv::new();
    for name in ["backup-a", "backup-b", "build", "x"] {
        env.ok(&["run", "-q", "--name", name, "--", "true"]);
    }
    assert_eq!(names(&env, &["--name", "back*"]), ["backup-a", "backup-b"]);
    assert_eq!(names(&env, &["--name", "x,build"]), ["build", "x"]);
    assert_eq!(names(&env, &["--name", "?", "--name", "*-[ab]"]).len(), 3);
    assert_eq!(names(&env, &["--name", "backup"]), [""; 0]);
    let output = env.ok(&["status", "--name", "nothing*"]);
    assert_eq!(
        (&*output.stdout(), &*output.stderr()),
        ("", "no runs match\n")
    );
    assert_eq!(env.run(&["status", "--name", "[a"]).code, 2);
    let removed = env.json_lines(&["gc", "--json", "--max-runs", "0", "--name", "backup-*,x"]);
    assert_eq!(removed.len(), 3);
}

#[test]
fn state_filter_takes_commas() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--name", "a", "--", "true"]);
    env.run(&["run", "-q", "--name", "b", "--", "false"]);
    env.ok(&["emit", "--open", "--run", "c", "x"]);
    assert_eq!(names(&env, &["--state", "failed,open"]), ["b", "c"]);
    assert_eq!(
        names(&env, &["--state", "completed", "--state", "failed"]),
        ["a", "b"]
    );
    let output = env.run(&["status", "--state", "bad"]);
    insta::assert_snapshot!(crate::support::checks::snapshot(&env, &output), @"
    exit 2
    -- stderr
    error: invalid value 'bad' for '--state <STATE>'
     [possible values: pending, completed, failed, running, lost, unknown, open]

    For more information, try '--help'.
    ");
}

#[test]
fn status_takes_several_runs() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--name", "a", "--", "true"]);
    env.run(&["run", "-q", "--name", "b", "--", "false"]);
    assert_eq!(names(&env, &["b", "a"]), ["b", "a"]);
    assert_eq!(names(&env, &["a", "a"]), ["a"]);
    let stdout = env.ok(&["status", "a", "b"]).stdout();
    assert!(stdout.contains("\n\nrun       b-"), "{stdout}");
    assert_eq!(env.run(&["status", "a", "x"]).code, 3);
    assert_eq!(env.run(&["status", "--wait", "a", "a"]).code, 0);
    assert_eq!(env.run(&["status", "--wait", "b", "a"]).code, 1);
    assert_eq!(env.run(&["status", "--watch", "--json", "a", "b"]).code, 2);
}

#[test]
fn exit_status_reports_outcome() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--name", "a", "--", "true"]);
    env.run(&["run", "-q", "--name", "b", "--", "false"]);
    env.ok(&["emit", "--open", "--run", "c", "x"]);
    for (runs, code) in [
        (&["a"][..], 0),
        (&["b"], 1),
        (&["c"], 4),
        (&["a", "c"], 4),
        (&["c", "b", "a"], 1),
    ] {
        let args = [&["status", "--exit-status"], runs].concat();
        assert_eq!(env.run(&args).code, code, "{runs:?}");
        assert_eq!(env.run(&[&["status"], runs].concat()).code, 0, "{runs:?}");
    }
}

#[test]
fn timeout_zero_is_no_limit() {
    let env = TestEnv::new();
    let output = env.ok(&["run", "--timeout", "0", "sh", "-c", "sleep 0.2; echo done"]);
    assert_eq!(output.stdout(), "done\n");
    env.ok(&["emit", "--open", "--run", "c", "x"]);
    let mut waiting = env.spawn(&["status", "--wait", "c", "--timeout", "0"]);
    assert_eq!(
        env.run(&["status", "--wait", "c", "--timeout", "0.2"]).code,
        4
    );
    assert!(!waiting.has_ended());
    env.ok(&["run", "--run", "c", "--close"]);
    assert_eq!(waiting.end().code, 0);
}

#[test]
fn unreadable_run_does_not_hide_others() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "-n", "build", "--", "true"]);
    env.ok(&["run", "-q", "--run", "private", "-n", "other", "--", "true"]);
    set_mode(&env.run_dir("private"), 0o000);
    for text in ["latest", "build", "bui"] {
        let status = without_privileges(&env, &["status", text]);
        assert_eq!(status.code, 0, "{text}: {}", status.stderr());
        assert!(status.stdout().contains("build-"), "{text}");
    }
    for text in ["private", "priv"] {
        let status = without_privileges(&env, &["status", text]);
        assert_eq!(status.code, 7, "{text}");
        assert!(status.stderr().contains("Permission denied"), "{text}");
    }
    let build = env.runs().into_iter().find(|run| run != "private").unwrap();
    set_mode(&env.run_dir(&build), 0o000);
    let all = without_privileges(&env, &["status"]);
    assert_eq!(all.code, 7);
    assert!(!all.stderr().contains("no runs"), "{}", all.stderr());
    for run in ["private", &build] {
        set_mode(&env.run_dir(run), 0o700);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs `runlog` without the privilege of root to read every file.
fn without_privileges(env: &TestEnv, args: &[&str]) -> Output {
    let runlog = env!("CARGO_BIN_EXE_runlog");
    if !rustix::process::geteuid().is_root() {
        return env.run(args);
    }
    let mut command = env.program("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", runlog]);
    finish(command.args(args))
}
