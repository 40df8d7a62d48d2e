//! `runlog replay --verify`.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::replay::{seal, with_timeline};
use crate::support::checks::snapshot;
use crate::support::env::{Output, TestEnv};

fn verify(env: &TestEnv) -> Output {
    env.run(&["replay", "--verify", "it"])
}

/// Changes the active segment.
fn change(env: &TestEnv, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let log = fs::read(env.log_path("it")).unwrap();
    fs::write(env.log_path("it"), change(log)).unwrap();
}

#[test]
fn verify_accepts_intact_run() {
    let env = with_timeline();
    assert_snapshot!(snapshot(&env, &verify(&env)), @"
    exit 0
    -- stdout
    it: 11 events, no gaps (1 segment, 1 job)
    ");
    let json = env.ok(&["replay", "--verify", "--json", "it"]);
    assert_eq!(
        (json.stdout(), json.stderr()),
        (String::new(), String::new())
    );
}

#[test]
fn verify_names_file_line_and_offset_of_each_fault() {
    let env = with_timeline();
    change(&env, |log| {
        let text = String::from_utf8(log).unwrap();
        let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
        lines[1] = lines[1].replacen("deploy", "deplay", 1);
        lines.remove(4);
        let copy = lines[5].clone();
        lines.insert(6, copy);
        lines.insert(3, "not an event\n".to_owned());
        lines.concat().into_bytes()
    });
    fs::write(env.run_dir("it").join("jobs/deploy.out"), "out").unwrap();
    assert_snapshot!(snapshot(&env, &verify(&env)), @"
    exit 5
    -- stdout
    [ROOT]/.omne/var/runs/it/events.jsonl:2:[OFFSET]: damaged line: its checksum does not match
    [ROOT]/.omne/var/runs/it/events.jsonl:4:[OFFSET]: damaged line: it is not an event
    [ROOT]/.omne/var/runs/it/events.jsonl:6:[OFFSET]: event 4 is missing before it
    [ROOT]/.omne/var/runs/it/events.jsonl:8:[OFFSET]: damaged line: its sequence number has already occurred
    [ROOT]/.omne/var/runs/it/jobs/deploy.out: output lost: 3 of 23 bytes remain
    it: 9 events, 5 faults (1 segment, 1 job)
    ");
}

#[test]
fn verify_json_lists_faults() {
    let env = with_timeline();
    change(&env, |log| [&log[..], b"garbage\n"].concat());
    let output = env.run(&["replay", "--verify", "--json", "it"]);
    assert_eq!(output.code, 5);
    let fault: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = env.log_path("it").canonicalize().unwrap();
    assert_eq!(fault["run_id"], "it");
    assert_eq!(fault["kind"], "damaged_line");
    assert_eq!(fault["file"], file.to_str().unwrap());
    assert_eq!(fault["line"], 12);
    assert_eq!(fault["offset"], fs::metadata(file).unwrap().len() - 8);
    assert_eq!(fault["seq"], Value::Null);
    assert_eq!(fault["message"], "damaged line: it is not an event");
}

#[test]
fn torn_tail_is_a_fault_until_repaired() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "one"]);
    change(&env, |log| [&log[..], &log[..100]].concat());
    assert_snapshot!(snapshot(&env, &verify(&env)), @"
    exit 5
    -- stdout
    [ROOT]/.omne/var/runs/it/events.jsonl:3:[OFFSET]: torn tail: 100 bytes without a newline; the next writer repairs it
    it: 2 events, 1 fault (1 segment, 0 jobs)
    ");
    env.ok(&["emit", "--run", "it", "two"]);
    assert_snapshot!(snapshot(&env, &verify(&env)), @"
    exit 0
    -- stdout
    it: 4 events, no gaps (1 segment, 0 jobs)
    ");
}

#[test]
fn live_run_is_verified_up_to_its_end() {
    let env = TestEnv::new();
    let mut job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    job.write(b"some output\n");
    job.read_line();
    assert_snapshot!(snapshot(&env, &verify(&env)), @"
    exit 0
    -- stdout
    it: 4 events, no gaps (1 segment, 1 job)
    ");
    assert_eq!(job.end().code, 0);
}

#[test]
fn lost_run_is_not_a_log_fault() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    job.kill();
    assert_eq!(verify(&env).code, 0);
}

#[test]
fn segments_are_verified_as_chain() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "one"]);
    let sealed = seal(&env, "it", 0);
    env.ok(&["emit", "--run", "it", "two"]);
    assert_eq!(verify(&env).code, 0);
    let path = env.run_dir("it").join(&sealed);
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_snapshot!(snapshot(&env, &verify(&env)), @"
    exit 0
    -- stdout
    it: 2 events, no gaps (1 segment, 0 jobs)
    -- stderr
    note: the log starts with event 2; a checkpoint holds the state before it
    ");
    let first = whole.split_inclusive(|b| *b == b'\n').next().unwrap();
    fs::write(&path, first).unwrap();
    let output = env.run(&["replay", "--verify", "--json", "it"]);
    assert_eq!(output.code, 5);
    let kinds: Vec<_> = output
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds, ["gap", "segment_chain", "segment_chain"]);
}

#[test]
fn foreign_lines_are_read_but_reported_unchecked() {
    let env = TestEnv::new();
    fs::create_dir_all(env.run_dir("it")).unwrap();
    let line = |kind: &str, more: &str| {
        format!(
            r#"{{"type":"{kind}","id":"01jx","ts":"2026-04-15T00:00:00Z","run_id":"it"{more}}}"#
        )
    };
    let log = [
        line("pipe.started", r#","pipe":"p""#),
        line("node.started", r#","node_id":"n""#),
        line("node.completed", r#","node_id":"n""#),
        line("pipe.completed", ""),
    ];
    fs::write(env.log_path("it"), log.join("\n") + "\n").unwrap();
    assert_snapshot!(snapshot(&env, &verify(&env)), @"
    exit 0
    -- stdout
    it: 4 lines of other programs, no damage (1 segment, 1 job)
    -- stderr
    note: lines of other programs have no checksum and no sequence number, so they were only checked for being readable
    ");
}
