//! Ways to name a RUN: exact id, `latest`, name, unique prefix, in this order.

use insta::assert_snapshot;

use crate::support::checks::snapshot;
use crate::support::env::TestEnv;

/// Runs `true` under a name and returns the id of its run.
fn run_named(env: &TestEnv, name: &str) -> String {
    env.ok(&["run", "--name", name, "--", "true"]).run_id()
}

/// Returns the id of the run that `status` finds for a name.
#[track_caller]
fn found(env: &TestEnv, name: &str) -> String {
    let output = env.ok(&["status", "--json", name]);
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    run["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn name_finds_newest_run() {
    let env = TestEnv::new();
    let first = run_named(&env, "build");
    let second = run_named(&env, "build");
    let other = run_named(&env, "build-docs");
    assert_eq!(found(&env, "build"), second);
    assert_eq!(found(&env, "build~0"), second);
    assert_eq!(found(&env, "build~"), first);
    assert_eq!(found(&env, "build~1"), first);
    assert_eq!(found(&env, "build-docs"), other);
    assert_eq!(found(&env, "latest"), other);
    assert_eq!(found(&env, "latest~2"), first);
    for command in [
        &["tail", "build"][..],
        &["tail", "--output", "build"],
        &["replay", "build"],
        &["replay", "--state", "build~1"],
        &["replay", "--diff", "build~1", "build"],
        &["status", "--wait", "build"],
        &["rotate", "build"],
        &["gc", "--dry-run", "--max-age", "1d", "build~1"],
    ] {
        env.ok(command);
    }
}

#[test]
fn name_may_look_like_offset() {
    let env = TestEnv::new();
    let first = run_named(&env, "a");
    let named = run_named(&env, "a~1");
    let second = run_named(&env, "a");
    assert_eq!(found(&env, "a~1"), named);
    assert_eq!(found(&env, "a~"), first);
    assert_eq!(found(&env, "a"), second);
    env.ok(&["gc", "--max-runs", "0"]);
    let listed = env.json_lines(&["status", "--retired", "--json", "a~1"]);
    assert_eq!(listed[0]["run_id"], *named);
}

#[test]
fn removed_runs_are_found_by_name() {
    let env = TestEnv::new();
    let first = run_named(&env, "build");
    let second = run_named(&env, "build");
    let other = run_named(&env, "other");
    env.ok(&["gc", "--max-runs", "0"]);
    for (text, run) in [
        ("build", &second),
        ("build~1", &first),
        ("latest", &other),
        ("latest~2", &first),
        ("oth", &other),
        (&first, &first),
    ] {
        let listed = env.json_lines(&["status", "--retired", "--json", text, text]);
        assert_eq!(listed.len(), 1, "{text}");
        assert_eq!(listed[0]["run_id"], *run, "{text}");
    }
    assert_eq!(env.run(&["status", "--retired", "build~2"]).code, 3);
    assert_eq!(env.run(&["status", "--retired", "bui"]).code, 2);
    env.ok(&["gc", "--max-retired", "0"]);
    let stderr = env.ok(&["status", "--retired"]).stderr();
    assert!(
        stderr.starts_with("no removed runs are recorded in `"),
        "{stderr}"
    );
}

#[test]
fn exact_id_precedes_name() {
    let env = TestEnv::new();
    env.ok(&[
        "run", "--run", "build", "--close", "--name", "other", "--", "true",
    ]);
    run_named(&env, "build");
    let newest = run_named(&env, "other");
    assert_eq!(found(&env, "build"), "build");
    assert_eq!(found(&env, "other"), newest);
    assert_eq!(found(&env, "other~1"), "build");
}

#[test]
fn unusual_names_are_found() {
    let env = TestEnv::new();
    for name in ["a b", "ä", "build/x"] {
        let run = run_named(&env, name);
        let output = env.ok(&["status", "--json", "--", name]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status["run_id"], run, "{name}");
    }
    // The id of `a b` starts with `a-b`, which is what a user sees.
    assert!(found(&env, "a-b").starts_with("a-b-"));
}

#[test]
fn unknown_names_are_reported() {
    let env = TestEnv::new();
    run_named(&env, "build");
    run_named(&env, "build");
    assert_snapshot!(snapshot(&env, &env.run(&["status", "build~2"])), @"
    exit 3
    -- stderr
    error: no run `build~2`
    hint: list the runs with `runlog status`, or removed ones with --retired
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["status", "latest~9"])), @"
    exit 3
    -- stderr
    error: no run `latest~9`
    hint: list the runs with `runlog status`, or removed ones with --retired
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["status", "b"])), @"
    exit 2
    -- stderr
    error: `b` matches several runs: build-[ULID], build-[ULID]
    hint: use more characters of the ID
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["status", "build~x"])), @"
    exit 2
    -- stderr
    error: `build~x` is not the name of a run: there must be a number after `~`
    hint: write NAME~1 for the run before the newest one of that name
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["emit", "--run", "build", "note"])), @"
    exit 3
    -- stderr
    error: no run has the ID `build`; the newest run of that name is `build-[ULID]`
    hint: give the ID of the run
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["run", "--run", "build", "--close"])), @"
    exit 3
    -- stderr
    error: no run has the ID `build`; the newest run of that name is `build-[ULID]`
    hint: give the ID of the run
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["status", "x~1"])), @"
    exit 3
    -- stderr
    error: no run `x~1`
    hint: list the runs with `runlog status`, or removed ones with --retired
    ");
}

#[test]
fn changes_need_six_characters_of_ulid() {
    let env = TestEnv::new();
    let run = run_named(&env, "build");
    let ulid = run.len() - 26;
    assert_snapshot!(snapshot(&env, &env.run(&["rotate", "buil"])), @"
    exit 2
    -- stderr
    error: `buil` is too short to act on run `build-[ULID]`
    hint: give the whole ID, or at least 6 characters after the name
    ");
    assert_eq!(env.run(&["rotate", &run[..ulid + 5]]).code, 2);
    for name in [&run[..ulid + 6], "build", "latest"] {
        let output = env.ok(&["rotate", name]);
        assert_eq!(output.stderr(), format!("run_id={run}\n"), "{name}");
    }
    assert_eq!(env.ok(&["rotate", &run]).stderr(), "");
    // Reading accepts any unique prefix.
    assert_eq!(found(&env, "bui"), run);
}
