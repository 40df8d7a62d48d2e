//! `runlog tail --cursor-file` reports every run that was removed before it was shown.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::env::{Output, TestEnv};

/// Runs a job in a separate run, and removes all runs that have ended.
fn run_and_remove(env: &TestEnv, run: &str) {
    env.ok(&["run", "-q", "--run", run, "--close", "--", "true"]);
    env.ok(&["gc", "--max-runs", "0"]);
}

fn tail(env: &TestEnv, args: &[&str]) -> Output {
    let fixed = ["tail", "--json", "--cursor-file", "cursors"];
    env.run(&[&fixed, args].concat())
}

fn printed(output: &Output) -> Vec<Value> {
    let lines = output.stdout();
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// Returns the runs of the reported gaps, with the exit code.
#[track_caller]
fn gaps(env: &TestEnv, args: &[&str]) -> (i32, Vec<String>) {
    let output = tail(env, args);
    let lines = printed(&output);
    let gaps = lines.iter().filter(|line| line["type"] == "gap");
    let run = |gap: &Value| gap["run_id"].as_str().unwrap().to_owned();
    (output.code, gaps.map(run).collect())
}

fn retired(env: &TestEnv) -> PathBuf {
    env.path(".omne/var/retired.jsonl")
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn run_between_two_calls_is_reported_once() {
    let env = TestEnv::new();
    run_and_remove(&env, "before");
    assert_eq!(gaps(&env, &["--all"]), (0, none()), "before the first call");
    run_and_remove(&env, "a");
    env.ok(&["emit", "--open", "--run", "stays", "x"]);
    run_and_remove(&env, "b");
    let found = tail(&env, &["--all"]);
    assert_eq!(found.code, 5);
    let lines = printed(&found);
    let first = lines.iter().find(|line| line["run_id"] == "a").unwrap();
    assert_eq!(first["reason"], "removed");
    assert_eq!(
        (&first["from_seq"], &first["to_seq"]),
        (&0.into(), &5.into())
    );
    assert_eq!(lines.iter().filter(|line| line["type"] == "gap").count(), 2);
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
}

#[test]
fn shown_and_removed_run_is_not_reported() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "a", "--close", "--", "true"]);
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
    env.ok(&["gc", "--max-runs", "0"]);
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
}

#[test]
fn reused_named_run_is_reported() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "a", "--close", "--", "true"]);
    assert_eq!(gaps(&env, &["a"]), (0, none()));
    env.ok(&["gc", "--max-runs", "0"]);
    run_and_remove(&env, "other");
    run_and_remove(&env, "a");
    assert_eq!(gaps(&env, &["a"]), (5, vec!["a".to_owned()]));
}

#[test]
fn named_run_that_came_and_went_is_reported_once() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "a", "--close", "--", "true"]);
    assert_eq!(gaps(&env, &["a"]), (0, none()));
    env.ok(&["gc", "--max-runs", "0"]);
    assert_eq!(gaps(&env, &["a"]), (0, none()));
    run_and_remove(&env, "other");
    assert_eq!(gaps(&env, &["a"]), (3, none()));
    run_and_remove(&env, "a");
    run_and_remove(&env, "a");
    assert_eq!(gaps(&env, &["a"]), (5, vec!["a".to_owned(); 2]));
    assert_eq!(gaps(&env, &["a"]), (3, none()));
}

#[test]
fn trimmed_list_of_removed_runs_is_continued() {
    let env = TestEnv::new();
    run_and_remove(&env, "before");
    run_and_remove(&env, "last");
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
    run_and_remove(&env, "a");
    let text = fs::read_to_string(retired(&env)).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(retired(&env), rest).unwrap();
    assert_eq!(gaps(&env, &["--all"]), (5, vec!["a".to_owned()]));
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
}

#[test]
fn replaced_list_of_removed_runs_is_reported() {
    let env = TestEnv::new();
    run_and_remove(&env, "before");
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
    fs::write(retired(&env), "").unwrap();
    let found = tail(&env, &["--all"]);
    assert_eq!(found.code, 5);
    assert!(
        found.stderr().contains("may be missing"),
        "{}",
        found.stderr()
    );
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
    run_and_remove(&env, "a");
    assert_eq!(gaps(&env, &["--all"]), (5, vec!["a".to_owned()]));
}

#[test]
fn tail_without_cursor_needs_no_list_of_removed_runs() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    drop(fs::remove_file(retired(&env)));
    fs::create_dir(retired(&env)).unwrap();
    for runs in ["it", "--all"] {
        let output = env.ok(&["tail", runs, "--json"]);
        assert_eq!(output.stdout().lines().count(), 2, "{runs}");
    }
    assert_eq!(tail(&env, &["--all"]).code, 7);
}

#[test]
fn damaged_line_of_removed_run_is_reported() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "stays", "x"]);
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
    run_and_remove(&env, "a");
    run_and_remove(&env, "b");
    let text = fs::read_to_string(retired(&env)).unwrap();
    fs::write(retired(&env), text.replacen("\"a\"", "\"x\"", 1)).unwrap();
    let found = tail(&env, &["--all"]);
    assert_eq!(found.code, 5);
    assert!(
        found.stderr().contains("retired.jsonl:1:0"),
        "{}",
        found.stderr()
    );
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
}

#[test]
fn dropped_events_of_new_run_are_reported() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "old", "x"]);
    env.ok(&["rotate", "old", "--force", "--keep", "0"]);
    assert_eq!(gaps(&env, &["--all"]), (0, none()), "before the first call");
    env.ok(&["emit", "--open", "--run", "a", "x"]);
    env.ok(&["rotate", "a", "--force", "--keep", "0"]);
    let found = tail(&env, &["--all"]);
    assert_eq!(found.code, 5);
    let gap = &printed(&found)[0];
    let range = (&gap["from_seq"], &gap["to_seq"]);
    assert_eq!(
        (range, &gap["reason"]),
        ((&0.into(), &1.into()), &"dropped".into())
    );
    assert_eq!(gaps(&env, &["--all"]), (0, none()));
}
