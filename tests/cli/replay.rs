//! `runlog replay`: the timeline of a run, and its stored lines.

use std::fs;

use insta::assert_snapshot;

use crate::support::checks::{self, snapshot};
use crate::support::env::{Background, TestEnv, wait_until};

/// Creates the run `it`: a job that failed twice and was rolled back, and a note.
pub(crate) fn with_timeline() -> TestEnv {
    let env = TestEnv::new();
    let script = "echo out; echo err >&2; exit 3";
    let job = env.run(&[
        "run",
        "-q",
        "--run",
        "it",
        "--job",
        "deploy",
        "--retries",
        "1",
        "--retry-delay",
        "1ms",
        "--rollback",
        "echo undone",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(job.code, 3);
    env.ok(&["emit", "--run", "it", "checked", "by=ops"]);
    env.ok(&["run", "--run", "it", "--close"]);
    env
}

/// Seals the active segment of a run as an interrupted rotation does, and lets the next writer
/// continue.
pub(crate) fn seal(env: &TestEnv, run: &str, first_seq: u64) -> String {
    let name = format!("events-{first_seq:020}.jsonl");
    fs::rename(env.log_path(run), env.run_dir(run).join(&name)).unwrap();
    name
}

#[test]
fn timeline_of_run() {
    let env = with_timeline();
    assert_snapshot!(snapshot(&env, &env.run(&["replay", "it"])), @r#"
    exit 0
    -- stdout
    it  started [TIME] +00:00 on [HOST]

     +[DURATION]  0  run opened  it
     +[DURATION]  1  ○ submitted  deploy  sh -c 'echo out; echo err >&2; exit 3'
     +[DURATION]  2  ○ validated  deploy  /usr/bin/sh
     +[DURATION]  3  ▶ started  deploy  pid [PID]
     +[DURATION]  4  ✗ failed  deploy  exit 3  [DURATION]  [DURATION] CPU  [SIZE] peak RSS  [SIZE] printed  retrying in [DURATION]
     +[DURATION]  5  ▶ started  deploy  pid [PID]  attempt 2
     +[DURATION]  6  ✗ failed  deploy  exit 3  attempt 2  [DURATION]  [DURATION] CPU  [SIZE] peak RSS  [SIZE] printed
     +[DURATION]  7  ↩ rollback  deploy  echo undone
     +[DURATION]  8  ↩ rolled back  deploy  exit 0  [DURATION]  [DURATION] CPU  [SIZE] peak RSS  [SIZE] printed
     +[DURATION]  9  note  checked  {"by":"ops"}
     +[DURATION]  10  run closed  1 job  1 failed  [DURATION]

    ✗ failed after [DURATION]: the run is closed and job deploy failed: it exited with code 3
    11 events, 1 job, 1 failed, [SIZE] printed
    "#);
}

#[test]
fn timeline_spans_all_segments() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "one"]);
    seal(&env, "it", 0);
    env.ok(&["emit", "--run", "it", "two"]);
    env.ok(&["run", "--run", "it", "--close"]);
    assert_snapshot!(snapshot(&env, &env.run(&["replay"])), @"
    exit 0
    -- stdout
    it  started [TIME] +00:00 on [HOST]

     +[DURATION]  0  run opened  it
     +[DURATION]  1  note  one
     +[DURATION]  2  log rotated  events-00000000000000000000.jsonl  [SIZE]
     +[DURATION]  3  note  two
     +[DURATION]  4  run closed  0 jobs  0 failed  [DURATION]

    ✓ completed after [DURATION]: the run is closed and no job failed
    5 events, 0 jobs, 1 rotation
    ");
}

#[test]
fn raw_replay_is_byte_identical() {
    let env = with_timeline();
    let first = fs::read(env.log_path("it")).unwrap();
    assert!(env.ok(&["replay", "it", "--json"]).stdout == first);

    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "one"]);
    let first = fs::read(env.log_path("it")).unwrap();
    seal(&env, "it", 0);
    env.ok(&["emit", "--run", "it", "two"]);
    let second = fs::read(env.log_path("it")).unwrap();
    let foreign = br#"{"type":"node.started","id":"x","ts":"2026-04-15T00:00:00Z","run_id":"it","node_id":"n","kind":"bash"}"#;
    let all = [&first[..], &second, foreign, b"\n"].concat();
    fs::write(env.log_path("it"), &all[first.len()..]).unwrap();
    assert!(env.ok(&["replay", "it", "--json"]).stdout == all);
}

#[test]
fn timeline_of_running_run_is_partial() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "it", "--job", "j", "--", "cat"]);
    env.wait_for("job_started");
    let told = env.ok(&["replay", "it"]);
    assert!(
        told.stdout()
            .contains("▶ running: the supervisor of job j holds its lease")
    );
    job.kill();
    wait_until("the lease to be free", || {
        env.ok(&["replay"])
            .stdout()
            .contains("! lost: job j has not ended")
    });
}

#[test]
fn damage_is_shown_in_place() {
    let env = with_timeline();
    let log = fs::read_to_string(env.log_path("it")).unwrap();
    fs::write(
        env.log_path("it"),
        log.replacen("\"by\":\"ops\"", "\"by\":\"0ps\"", 1),
    )
    .unwrap();
    let output = env.run(&["replay", "it"]);
    let shown = snapshot(&env, &output);
    let lines: Vec<_> = shown.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains("! damaged"))
        .unwrap();
    assert_snapshot!(lines[at - 1..].join("\n"), @"
     +[DURATION]  8  ↩ rolled back  deploy  exit 0  [DURATION]  [DURATION] CPU  [SIZE] peak RSS  [SIZE] printed
     ! damaged  events.jsonl:10:[OFFSET]: its checksum does not match
     +[DURATION]  10  run closed  1 job  1 failed  [DURATION]

    ✗ failed after [DURATION]: the run is closed and job deploy failed: it exited with code 3
    10 events, 1 job, 1 failed, [SIZE] printed, 1 damaged place skipped
    -- stderr
    warning: damage was skipped; list it with `runlog replay --verify it`
    ");
}

#[test]
fn raw_replay_reports_damage_on_stderr() {
    let env = with_timeline();
    let log = fs::read_to_string(env.log_path("it")).unwrap();
    let lines: Vec<_> = log.split_inclusive('\n').collect();
    fs::write(
        env.log_path("it"),
        log.replacen("\"by\":\"ops\"", "\"by\":\"0ps\"", 1),
    )
    .unwrap();
    let output = env.run(&["replay", "it", "--json"]);
    assert_eq!(output.code, 5);
    let at = lines
        .iter()
        .position(|line| line.contains("\"by\":\"ops\""))
        .unwrap();
    let rest = [&lines[..at], &lines[at + 1..]].concat().concat();
    assert_eq!(output.stdout(), rest);
    let place = format!("events.jsonl:{}:", at + 1);
    assert!(output.stderr().contains(&place), "{}", output.stderr());
}

#[test]
fn strict_replay_stops_at_damage() {
    let env = with_timeline();
    let log = fs::read_to_string(env.log_path("it")).unwrap();
    let lines: Vec<_> = log.split_inclusive('\n').collect();
    fs::write(
        env.log_path("it"),
        log.replacen("\"attempt\":2", "\"attempt\":3", 1),
    )
    .unwrap();
    let at = lines
        .iter()
        .position(|line| line.contains("\"attempt\":2"))
        .unwrap();
    let output = env.run(&["replay", "it", "--json", "--strict"]);
    assert_eq!((output.code, output.stdout()), (5, lines[..at].concat()));
    assert_snapshot!(snapshot(&env, &output).split_once("-- stderr").unwrap().1, @"

    error: [ROOT]/.omne/var/runs/it/events.jsonl:6:[OFFSET]: damaged line: its checksum does not match
    hint: run without --strict to skip damage, or `runlog replay --verify it` to list it
    ");
    for mode in [&["--state"][..], &["--output"], &["--speed", "max"], &[]] {
        let args = [&["replay", "it", "--strict"], mode].concat();
        assert_eq!(env.run(&args).code, 5, "{mode:?}");
    }
}

#[test]
fn replay_modes_are_mutually_exclusive() {
    let env = with_timeline();
    for args in [
        &["--state", "--verify"][..],
        &["--output", "--json"],
        &["--at", "3"],
        &["--state", "--speed", "1"],
        &["--verify", "--strict"],
        &["--job", "x"],
        &["--speed", "0"],
        &["--speed", "-1"],
        &["--state", "--at", "someday"],
        &["--diff", "it"],
        &["it", "--diff", "it", "it"],
    ] {
        let output = env.run(&[&["replay"], args].concat());
        assert_eq!(output.code, 2, "{args:?}: {}", output.stderr());
        assert_eq!(output.stdout(), "");
    }
}

#[test]
fn replay_of_missing_run_exits_3() {
    let env = with_timeline();
    for mode in [
        &[][..],
        &["--json"],
        &["--verify"],
        &["--state"],
        &["--output"],
    ] {
        assert_eq!(env.run(&[&["replay", "nope"], mode].concat()).code, 3);
    }
    assert_eq!(env.run(&["replay", "--diff", "it", "nope"]).code, 3);
    assert_eq!(TestEnv::new().run(&["replay"]).code, 3);
}

#[test]
fn replay_closed_stdout_ends_quietly() {
    let env = with_timeline();
    let lines = checks::numbered(0..5000, |n| n.to_string());
    env.ok(&["emit", "--open", "--run", "long", "begin"]);
    env.run_with(&["emit", "--run", "long", "--lines"], lines.as_bytes());
    for mode in ["", "--json"] {
        let script =
            format!(r#"{{ "$RUNLOG" replay long {mode}; echo $? >code; }} | head -n 1 >/dev/null"#);
        let output = env.sh(&script);
        assert_eq!(output.stderr(), "", "{mode}");
        assert_eq!(
            fs::read_to_string(env.path("code")).unwrap(),
            "0\n",
            "{mode}"
        );
    }
}

#[test]
fn replay_strips_control_characters_on_terminal() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "a\x1b[31mb\nc"]);
    let output = env.ok(&["replay", "it"]);
    assert!(!output.stdout.contains(&0x1b), "{}", output.stdout());
}

#[test]
fn replay_during_writes_reads_each_event_once() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    let lines = checks::numbered(0..1000, |n| n.to_string());
    let mut writers: Vec<_> = (0..2)
        .map(|_| {
            let mut writer = env.spawn(&["emit", "--run", "it", "--lines", "--no-sync"]);
            writer.write_and_close(lines.as_bytes());
            writer
        })
        .collect();
    let mut rotations = 0;
    while rotations < 3 || writers.iter_mut().any(|writer| !writer.has_ended()) {
        let rotated = env.ok(&["rotate", "it", "--json"]);
        rotations += rotated.stdout().matches("events-").count().min(1);
        let told = env.ok(&["replay", "it", "--json"]);
        assert_eq!(checks::events(&told.stdout)[0]["seq"], 0);
        let verdict = env.run(&["replay", "it", "--verify"]);
        assert_eq!(verdict.code, 0, "{}", verdict.stdout());
        if writers.iter_mut().all(Background::has_ended) {
            env.ok(&["emit", "--run", "it", "more"]);
        }
    }
    let events = checks::events(&env.ok(&["replay", "it", "--json"]).stdout);
    let notes = events.iter().filter(|event| event["data"].is_number());
    assert_eq!(notes.count(), 2000);
}
