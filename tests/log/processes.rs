//! Several processes on one run, some of them killed.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use runlog::log::Durability;
use serde_json::json;

use super::support::{child, given_dir, log, note, read_sound};

const PROCESSES: usize = 4;
const EACH: usize = 200;

/// Appends events forever and prints each acknowledged one.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child_writer() {
    let Some(dir) = given_dir() else { return };
    let log = log(&dir);
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        let data = json!({"pid": std::process::id(), "n": n});
        let note = note(&log, &data);
        log.append(&[note], Durability::Process).unwrap();
        if writeln!(out, "ack {} {n}", std::process::id()).is_err() {
            return;
        }
    }
}

fn acknowledged(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines = out.lines().map(Result::unwrap);
    lines.filter_map(|line| line.strip_prefix("ack ").map(str::to_owned))
}

#[test]
fn acked_events_survive_kill() {
    let tmp = tempfile::tempdir().unwrap();
    let start = |_| {
        let mut command = child(&[], "processes::child_writer", tmp.path());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..PROCESSES).map(start).collect();
    let mut acks = Vec::new();
    for child in &mut children {
        let mut lines = acknowledged(child);
        acks.extend(lines.by_ref().take(EACH));
        child.kill().unwrap();
        acks.extend(lines);
    }
    for child in &mut children {
        child.wait().unwrap();
    }
    let log = log(tmp.path());
    let last = note(&log, &json!({"pid": 0, "n": 0}));
    log.append(&[last], Durability::Power).unwrap();

    let name = |event: &serde_json::Value| format!("{} {}", event["pid"], event["n"]);
    let events: Vec<String> = read_sound(&log).iter().map(name).collect();
    let distinct: HashSet<&String> = events.iter().collect();
    assert_eq!(distinct.len(), events.len());
    assert!(acks.len() >= PROCESSES * EACH);
    for ack in &acks {
        assert!(distinct.contains(ack), "{ack} was acknowledged and is gone");
    }
}
