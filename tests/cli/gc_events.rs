//! `gc --events-older-than`: old segments are removed, and the state of their run remains.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use crate::gc::lines;
use crate::support::env::{Background, TestEnv};

/// Creates the open run `it` with a failed job, two sealed segments, and later notes.
fn rotated() -> TestEnv {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--run", "it", "--", "false"]);
    for _ in 0..2 {
        env.ok(&["emit", "--run", "it", "old"]);
        env.ok(&["rotate", "it", "--no-compress"]);
    }
    env.ok(&["emit", "--run", "it", "new"]);
    env
}

fn sealed(env: &TestEnv) -> usize {
    let names = fs::read_dir(env.run_dir("it")).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("events-")).count()
}

#[test]
fn gc_prunes_old_segments_and_keeps_state() {
    let env = rotated();
    assert_eq!(sealed(&env), 2);
    env.ok(&["gc", "--events-older-than", "1h"]);
    assert_eq!(sealed(&env), 2);
    let before = env.status("it");
    let args = ["gc", "--events-older-than", "0", "--json", "--dry-run"];
    let mut foreseen = lines(&env.ok(&args));
    assert_eq!(sealed(&env), 2);
    let done = lines(&env.ok(&args[..4]));
    assert_eq!(sealed(&env), 0);
    for line in &mut foreseen {
        line["dry_run"] = false.into();
    }
    assert_eq!(foreseen, done);
    assert_eq!(done.len(), 2);
    assert_eq!(done[0]["action"], "drop");
    assert_eq!(done[0]["policy"], "events_older_than");
    assert!(done[0]["file"].as_str().unwrap().starts_with("events-"));
    assert_eq!(env.status("it"), before);
    // The run continues.
    env.ok(&["emit", "--run", "it", "more"]);
    let tail = env.ok(&["tail", "it", "-n", "all"]);
    assert_eq!(tail.stderr(), "");
    assert_eq!(env.runs(), ["it"]);
}

#[test]
fn gc_prunes_closed_run_and_keeps_state() {
    let env = rotated();
    env.ok(&["run", "--run", "it", "--close"]);
    let before = env.status("it");
    assert_eq!(before["state"], "failed");
    env.ok(&["gc", "--events-older-than", "0", "--max-age", "1h"]);
    assert_eq!(sealed(&env), 0);
    assert_eq!(env.status("it"), before);
}

#[test]
fn gc_of_old_events_reports_blocks() {
    let env = rotated();
    let usage = || -> u64 {
        let names = fs::read_dir(env.run_dir("it")).unwrap();
        let files = names.map(|e| e.unwrap().metadata().unwrap());
        files
            .filter(fs::Metadata::is_file)
            .map(|file| file.blocks() * 512)
            .sum()
    };
    let before = usage();
    let done = lines(&env.ok(&["gc", "--events-older-than", "0", "--json"]));
    let freed: u64 = done
        .iter()
        .map(|line| line["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!((done.len(), freed), (2, before - usage()));
}

#[test]
fn old_events_of_named_open_run_are_dropped() {
    let env = rotated();
    let output = env.ok(&["gc", "it", "--events-older-than", "0"]);
    assert_eq!((sealed(&env), output.stderr()), (0, String::new()));
    let args = ["gc", "it", "--events-older-than", "0", "--max-age", "0"];
    assert_eq!(env.run(&args).code, 4);
}

#[test]
fn gc_prunes_while_writers_append() {
    let env = rotated();
    let mut writer = env.command(&["emit", "--run", "it", "--lines", "--ack"]);
    writer.stdin(Stdio::piped());
    writer.stdout(fs::File::create(env.path("acked")).unwrap());
    let mut writer = Background::new(&mut writer);
    writer.feed(|n| format!("{{\"n\":{n}}}\n"));
    for _ in 0..20 {
        env.ok(&["rotate", "it", "--no-compress"]);
        env.ok(&["gc", "--events-older-than", "0"]);
        let status = env.run(&["status", "--json", "it"]);
        assert_eq!((status.code, status.stderr()), (0, String::new()));
    }
    drop(writer);
    let acked = fs::read(env.path("acked")).unwrap();
    let last = acked.rsplit(|b| *b == b'\n').nth(1).unwrap();
    let last: serde_json::Value = serde_json::from_slice(last).unwrap();
    let seq = last["seq"].as_u64().unwrap();
    let events = env.status("it")["events"].as_u64().unwrap();
    assert!(events > seq, "{events} events, {seq} was acknowledged");
    assert_eq!(env.status("it")["jobs_failed"], 1);
}
