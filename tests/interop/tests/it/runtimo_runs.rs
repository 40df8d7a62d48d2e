//! Logs of both versions of runtimo-core. No program can link both, so each version runs in a
//! separate program.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::world::{World, stages};

const RUN: &str = "imported";
const OLD: &str = env!("CARGO_BIN_EXE_runtimo-old");
const NEW: &str = env!("CARGO_BIN_EXE_runtimo-new");

/// Returns a log of runtimo from the fixtures.
fn fixture(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/parents")
        .join(format!("runtimo-core-{version}"))
        .join(name)
}

/// Returns the events that runtimo's own reader finds in a file.
#[track_caller]
fn read_by(program: &str, file: &Path) -> Vec<Value> {
    let output = Command::new(program)
        .arg("read")
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let parse = |line| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

#[test]
fn runtimo_log_is_read_as_run() {
    for (version, events) in [("0.1.4", 5), ("0.10.3", 13)] {
        let world = World::new();
        let wal = std::fs::read(fixture(version, "wal.jsonl")).unwrap();
        world.put(RUN, &wal);
        let status = world.status(RUN);
        assert_eq!(
            status["state"], "unknown",
            "it has no word for the end of a run"
        );
        assert_eq!(status["events"], events);
        assert_eq!(
            stages(&status),
            [
                ("4f1c9e0b7a2d", "completed"),
                ("9a07d3e65b18", "failed"),
                ("c2b8417f60ea", "started"),
            ]
        );
        assert_eq!(status["jobs"][0]["duration_ms"], 2000);
        assert_eq!(
            status["jobs"][1]["error"]["message"],
            "Execution failed: command timed out"
        );
        assert!(world.tail_all(RUN) == wal);
        let last = world.runlog_ok(&["tail", RUN, "-n", "1", "--json"]);
        assert!(wal.ends_with(&last));
        let of_one = world.runlog_ok(&["tail", RUN, "--json", "--job", "9a07d3e65b18"]);
        let lines = of_one.iter().filter(|&&b| b == b'\n').count();
        assert_eq!(lines, if version == "0.1.4" { 2 } else { 3 });
        let people = String::from_utf8(world.runlog_ok(&["tail", RUN])).unwrap();
        assert_eq!(people.lines().count(), events.min(10), "{people}");
    }
}

#[test]
fn note_to_runtimo_log_needs_force() {
    let world = World::new();
    let wal = std::fs::read(fixture("0.1.4", "wal.jsonl")).unwrap();
    world.put(RUN, &wal);
    let refused = world.runlog(&["emit", "--run", RUN, "seen"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(world.log(RUN) == wal);
    let note = world.runlog_ok(&["emit", "--run", RUN, "--force", "--ack", "seen"]);
    assert!(note.starts_with(b"{\"v\":1,\"seq\":0,"));
    assert!(world.log(RUN) == [&wal, &note[..]].concat());
    assert_eq!(world.status(RUN)["events"], 6);
}

#[test]
fn every_runtimo_event_is_found() {
    let world = World::new();
    for (version, program) in [("0.1.4", OLD), ("0.10.3", NEW)] {
        for name in ["wal", "torn-tail", "glued-line", "garbage-line"] {
            let wal = fixture(version, &format!("{name}.jsonl"));
            let theirs = read_by(program, &wal);
            let replay = world.runlog(&["replay", "--json", "--wal", wal.to_str().unwrap()]);
            let text = String::from_utf8(replay.stdout).unwrap();
            let ours: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                // runtimo's reader omits these lines.
                .filter(|line: &Value| line["type"] != "writer_initialized")
                .collect();
            assert!(!ours.is_empty() && ours == theirs, "{version} {name}");
        }
    }
}

#[test]
fn fixtures_match_current_programs() {
    let tmp = tempfile::tempdir().unwrap();
    for (version, program) in [("0.1.4", OLD), ("0.10.3", NEW)] {
        let dir = tmp.path().join(version);
        let made = Command::new(program)
            .arg("make")
            .arg(&dir)
            .status()
            .unwrap();
        assert!(made.success());
        for name in ["wal", "torn-tail", "glued-line", "garbage-line"] {
            let name = format!("{name}.jsonl");
            let events = read_by(program, &dir.join(&name));
            assert_eq!(events, read_by(program, &fixture(version, &name)), "{name}");
        }
    }
}

#[test]
fn both_runtimo_versions_read_exported_run() {
    let world = World::new();
    let run = |args: &[&str]| world.runlog(&[&["run", "-q", "--run", RUN, "--job"], args].concat());
    assert_eq!(run(&["good", "--", "true"]).status.code(), Some(0));
    let bad = run(&["bad", "--rollback", "true", "--", "sh", "-c", "exit 3"]);
    assert_eq!(bad.status.code(), Some(3));
    world.runlog_ok(&["emit", "--run", RUN, "seen"]);
    let wal = world.root().join("wal.jsonl");
    world.runlog_ok(&[
        "replay",
        RUN,
        "--as",
        "runtimo",
        "-o",
        wal.to_str().unwrap(),
    ]);
    for program in [OLD, NEW] {
        let told: Vec<_> = read_by(program, &wal)
            .into_iter()
            .map(|event| json!([event["seq"], event["type"], event["job_id"], event["error"]]))
            .collect();
        assert_eq!(
            json!(told),
            json!([
                [0, "job_submitted", "good", null],
                [1, "job_validated", "good", null],
                [2, "job_started", "good", null],
                [3, "job_completed", "good", null],
                [4, "job_submitted", "bad", null],
                [5, "job_validated", "bad", null],
                [6, "job_started", "bad", null],
                [7, "job_failed", "bad", "it exited with code 3"],
                [8, "job_rolled_back", "bad", null],
            ])
        );
    }
    assert_eq!(read_by(NEW, &wal)[7]["cmd"], "sh -c 'exit 3'");
    assert_eq!(read_by(NEW, &wal)[7]["cmd_exit_code"], 3);
}
