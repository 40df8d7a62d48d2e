//! `runlog replay --state`.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::replay::{seal, with_timeline};
use crate::support::checks::snapshot;
use crate::support::env::{Output, TestEnv};

fn state(env: &TestEnv, at: &str) -> Output {
    env.run(&["replay", "it", "--state", "--at", at])
}

fn json(env: &TestEnv, at: &str) -> Value {
    let output = env.ok(&["replay", "it", "--state", "--json", "--at", at]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn state_now_matches_status() {
    let env = with_timeline();
    let told = env.ok(&["replay", "it", "--state", "--json"]).stdout();
    assert_eq!(told, env.ok(&["status", "it", "--json"]).stdout());
    let state = env.ok(&["replay", "it", "--state"]).stdout();
    // `status` adds the last lines of a failed job's output.
    let status = env.ok(&["status", "it"]).stdout();
    let without_output: Vec<&str> = status.lines().filter(|l| !l.starts_with('│')).collect();
    assert_eq!(state.lines().collect::<Vec<_>>(), without_output);
}

#[test]
fn state_at_event() {
    let env = with_timeline();
    assert_snapshot!(snapshot(&env, &state(&env, "4")), @"
    exit 0
    -- stdout
    run  it
    name  it
    state  ▶ running
    at  event 4, [TIME] +00:00
    because  job deploy had not ended at that point
    opened  [TIME] +00:00 on [HOST]
    log  5 events, [SIZE]
    path  [ROOT]/.omne/var/runs/it

    JOB  STAGE  EXIT  DURATION  CPU  PEAK RSS  COMMAND
    deploy  ▶ started  3  [DURATION]…  [DURATION]  [SIZE]  sh -c 'echo out; echo err >&2; exit 3'
    deploy: it exited with code 3 (exit)
    ");
    let stage = |at: &str| json(&env, at)["jobs"][0]["stage"].clone();
    for (at, expected) in [
        ("1", "submitted"),
        ("2", "validated"),
        ("3", "started"),
        ("6", "failed"),
        ("8", "rolled_back"),
    ] {
        assert_eq!(stage(at), expected, "at {at}");
    }
    assert_eq!(json(&env, "0")["jobs"], serde_json::json!([]));
    let last = json(&env, "10");
    assert_eq!(
        (&last["state"], &last["at"]["seq"]),
        (&"failed".into(), &10.into())
    );
    let status = env.status("it");
    for key in ["events", "bytes", "closed_ts", "jobs", "duration_ms"] {
        assert_eq!(last[key], status[key], "{key}");
    }
}

#[test]
fn state_at_time() {
    let env = with_timeline();
    let events = env.events("it");
    let ts = events[3]["ts"].as_str().unwrap();
    assert_eq!(json(&env, ts)["at"]["seq"], 3);
    assert_eq!(json(&env, "2100-01-01T00:00:00Z")["at"]["seq"], 10);
    let output = state(&env, "2000-01-01T00:00:00Z");
    assert_snapshot!(snapshot(&env, &output), @"
    exit 1
    -- stderr
    error: run it: it had not started at that time
    ");
}

#[test]
fn state_at_unreached_point_exits_1() {
    let env = with_timeline();
    assert_snapshot!(snapshot(&env, &state(&env, "11")), @"
    exit 1
    -- stderr
    error: run it: there is no event 11; the last one is 10
    ");
}

#[test]
fn state_of_pruned_point_is_unavailable() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--job", "j", "--", "true"]);
    let sealed = seal(&env, "it", 0);
    env.ok(&["emit", "--run", "it", "later"]);
    fs::remove_file(env.run_dir("it").join(sealed)).unwrap();
    assert_snapshot!(snapshot(&env, &state(&env, "3")), @"
    exit 5
    -- stderr
    error: run it: the events before 5 were dropped, so the state at that point is unknown
    ");
    assert_eq!(state(&env, "2000-01-01T00:00:00Z").code, 5);
    let told = json(&env, "5");
    assert_eq!(told["jobs"][0]["stage"], "completed");
    assert_eq!(told["at"]["seq"], 5);
}

#[test]
fn only_damage_before_point_is_reported() {
    let env = with_timeline();
    let log = fs::read_to_string(env.log_path("it")).unwrap();
    fs::write(
        env.log_path("it"),
        log.replacen("\"by\":\"ops\"", "\"by\":\"0ps\"", 1),
    )
    .unwrap();
    let before = state(&env, "8");
    assert_eq!((before.code, before.stderr()), (0, String::new()));
    let behind = state(&env, "10");
    assert_eq!(behind.code, 5);
    assert!(
        behind.stderr().contains("events.jsonl:10:"),
        "{}",
        behind.stderr()
    );
}
