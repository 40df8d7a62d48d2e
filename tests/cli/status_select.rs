//! `runlog status`: selecting and naming runs.

use serde_json::Value;

use crate::support::env::{TestEnv, finish};

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
        (String::new(), String::new())
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
    assert_eq!(std::fs::read_to_string(env.path("code")).unwrap(), "0\n");
}
