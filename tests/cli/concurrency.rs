//! Many concurrent writers, and killed writers: each acknowledged event is in the log once,
//! complete and in order.

use std::collections::HashMap;
use std::process::Stdio;

use serde_json::Value;

use crate::support::checks;
use crate::support::env::{Background, Output, TestEnv};

const WRITERS: usize = 8;
const EACH: usize = 500;

/// Runs `emit --lines --ack` on the run `it`, with a file as stdin.
fn writer(env: &TestEnv, who: usize, lines: usize) -> Background {
    let text = checks::numbered(0..lines, |n| format!("{{\"who\":{who},\"n\":{n}}}"));
    let path = env.write(&format!("lines{who}"), text);
    let mut command = env.command(&["emit", "--open", "--run", "it", "--lines", "--ack"]);
    Background::new(command.stdin(Stdio::from(std::fs::File::open(path).unwrap())))
}

/// Returns the notes of the run by id, after checking the log.
fn stored(env: &TestEnv) -> HashMap<String, Value> {
    let notes = env.events_of_type("it", "note");
    let count = notes.len();
    let by_id: HashMap<_, _> = notes
        .into_iter()
        .map(|n| (n["id"].as_str().unwrap().to_owned(), n))
        .collect();
    assert_eq!(by_id.len(), count, "an id was used twice");
    by_id
}

/// Asserts that each complete acknowledged line is in the log as it was printed.
#[track_caller]
fn assert_kept(stored: &HashMap<String, Value>, output: &Output) -> usize {
    let whole = output
        .stdout
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let acked = output.stdout[..whole].split_inclusive(|b| *b == b'\n');
    acked
        .map(|line| {
            let event = checks::event(line.strip_suffix(b"\n").unwrap());
            assert_eq!(stored.get(event["id"].as_str().unwrap()), Some(&event));
        })
        .count()
}

#[test]
fn eight_appending_processes_lose_nothing() {
    let env = TestEnv::new();
    let writers: Vec<_> = (0..WRITERS).map(|who| writer(&env, who, EACH)).collect();
    let outputs: Vec<_> = writers.into_iter().map(Background::end).collect();
    let stored = stored(&env);
    assert_eq!(stored.len(), WRITERS * EACH);
    for output in &outputs {
        assert_eq!((output.code, output.stderr().as_str()), (0, ""));
        assert_eq!(assert_kept(&stored, output), EACH);
    }
    let types = env.types("it");
    assert_eq!(types.iter().filter(|t| *t == "run_opened").count(), 1);
    assert_eq!(
        types.len(),
        1 + WRITERS * EACH,
        "nothing had to be repaired"
    );
    for who in 0..WRITERS {
        let mut own: Vec<_> = stored
            .values()
            .filter(|n| n["data"]["who"] == who)
            .collect();
        own.sort_by_key(|n| n["seq"].as_u64());
        let in_order = own.iter().enumerate().all(|(i, n)| n["data"]["n"] == i);
        assert!(in_order, "lines of writer {who} changed places");
    }
}

#[test]
fn single_appends_of_many_processes_are_all_logged() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    let script = r#"
        for who in 1 2 3 4; do
            (for n in 1 2 3 4 5 6 7 8 9 10; do "$RUNLOG" emit --run it "w$who" n=$n || echo failed; done) &
        done
        wait
    "#;
    assert_eq!(env.sh(script).stdout(), "");
    assert_eq!(env.events_of_type("it", "note").len(), 41);
}

#[test]
fn acked_events_survive_killed_writer() {
    let env = TestEnv::new();
    let mut acked = Vec::new();
    for round in 0..12 {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let mut writer = env.spawn(&["emit", "--open", "--run", "it", "--lines", "--ack"]);
                // Long lines, so that a pipe holds only a few of them.
                let pad = "x".repeat(4000);
                writer.feed(move |n| format!("{{\"n\":{n},\"pad\":\"{pad}\"}}\n"));
                writer
            })
            .collect();
        for mut writer in writers {
            // Kill it at a different place each time, after this many bytes.
            let mut seen = writer.read(1 + round * 6151);
            seen.extend(writer.kill_and_read());
            acked.push(seen);
        }
    }
    let stored = stored(&env);
    for stdout in acked {
        let output = Output {
            code: 0,
            stdout,
            stderr: Vec::new(),
        };
        assert_kept(&stored, &output);
    }
    env.ok(&["emit", "--run", "it", "after"]);
    assert_eq!(env.events("it").pop().unwrap()["name"], "after");
}

#[test]
fn concurrent_jobs_and_notes_keep_log_valid() {
    let env = TestEnv::new();
    let script = r#"
        for n in 1 2 3 4 5 6; do
            "$RUNLOG" run -q --run it -- sh -c '"$RUNLOG" emit step; echo out; "$RUNLOG" emit done' &
        done
        wait
    "#;
    let output = env.sh(script);
    assert_eq!(output.stderr(), "");
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(env.events_of_type("it", "job_completed").len(), 6);
    assert_eq!(env.events_of_type("it", "note").len(), 12);
    assert_eq!(env.status("it")["state"], "completed");
}

#[test]
fn concurrently_created_runs_have_unique_ids() {
    let env = TestEnv::new();
    let script =
        r#"for n in 1 2 3 4 5 6 7 8; do "$RUNLOG" run -q --name same -- true & done; wait"#;
    env.sh(script);
    assert_eq!(env.runs().len(), 8);
    for run in env.runs() {
        assert_eq!(env.types(&run).len(), 6);
    }
}

#[test]
fn only_one_of_many_concurrent_closes_succeeds() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--", "true"]);
    let script = r#"for n in 1 2 3 4 5 6; do "$RUNLOG" run --run it --close || echo failed; done"#;
    assert_eq!(env.sh(script).stdout(), "");
    assert_eq!(env.events_of_type("it", "run_closed").len(), 1);
}

#[test]
fn held_lock_times_out_with_6() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    let before = env.events("it").len();
    let lock = std::fs::File::open(env.run_dir("it").join("lock")).unwrap();
    lock.lock().unwrap();
    let output = env.run(&["emit", "--run", "it", "x"]);
    drop(lock);
    insta::assert_snapshot!(checks::snapshot(&env, &output), @"
    exit 6
    -- stderr
    error: another process has held the lock of `[ROOT]/.omne/var/runs/it/lock` for 5 s
    hint: find the process with `fuser -v` on that file
    ");
    assert_eq!(env.events("it").len(), before);
}

#[test]
fn lock_released_in_time_is_acquired() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    let lock = std::fs::File::open(env.run_dir("it").join("lock")).unwrap();
    lock.lock().unwrap();
    let mut emit = env.spawn(&["emit", "--run", "it", "x"]);
    assert!(!emit.has_ended());
    drop(lock);
    assert_eq!(emit.end().code, 0);
}

#[test]
fn readers_do_not_wait_for_lock() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    let lock = std::fs::File::open(env.run_dir("it").join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(env.status("it")["state"], "open");
}
