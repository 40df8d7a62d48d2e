//! `runlog tail` with cursors: nothing is delivered twice, and gaps are reported.

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::checks::{self, snapshot};
use crate::support::env::{Output, TestEnv, wait_until};
use crate::support::segments::{compress, keep, rotate};

/// Creates an open run with the notes `1`, `2`, ….
fn with_notes(notes: usize) -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "0"]);
    add(&env, 1..notes + 1);
    env
}

fn add(env: &TestEnv, numbers: std::ops::Range<usize>) {
    let lines = checks::numbered(numbers, |n| n.to_string());
    env.run_with(&["emit", "--run", "it", "--lines"], lines.as_bytes());
}

/// Returns `tail --json` with the cursor file `cursors` and these arguments.
fn tail(env: &TestEnv, args: &[&str]) -> Output {
    let fixed = ["tail", "--json", "--cursor-file", "cursors"];
    let args: Vec<_> = fixed.iter().chain(args).copied().collect();
    env.run(&args)
}

/// Returns the sequence numbers of the printed events, after checking the exit code.
#[track_caller]
fn seqs(env: &TestEnv, args: &[&str]) -> Vec<u64> {
    let output = tail(env, args);
    assert_eq!((output.code, output.stderr()), (0, String::new()));
    numbers(&output.stdout)
}

#[track_caller]
fn numbers(stdout: &[u8]) -> Vec<u64> {
    let events = checks::events(stdout);
    events.iter().map(|e| e["seq"].as_u64().unwrap()).collect()
}

fn range(numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.collect()
}

#[test]
fn cursor_delivers_each_event_once() {
    let env = with_notes(20);
    assert_eq!(seqs(&env, &["it"]), range(0..22), "all at first");
    assert_eq!(seqs(&env, &["it"]), range(0..0));
    add(&env, 0..3);
    assert_eq!(seqs(&env, &["it"]), range(22..25));
    rotate(&env, "it");
    compress(&env, "it");
    add(&env, 0..1);
    assert_eq!(seqs(&env, &["it", "-n", "1"]), range(25..27));
}

#[test]
fn first_use_may_start_at_last_lines() {
    let env = with_notes(20);
    assert_eq!(seqs(&env, &["it", "-n", "0"]), range(0..0));
    add(&env, 0..1);
    assert_eq!(seqs(&env, &["it", "-n", "0"]), range(22..23));
}

#[test]
fn filtered_events_count_as_read() {
    let env = with_notes(2);
    assert_eq!(seqs(&env, &["it", "--type", "run_opened"]), [0]);
    assert_eq!(seqs(&env, &["it"]), range(0..0));
}

#[test]
fn events_after_until_stay_for_next_call() {
    let env = with_notes(3);
    let ts = |run: &str, seq: usize| env.events(run)[seq]["ts"].as_str().unwrap().to_owned();
    // The notes of one command have the same time.
    add(&env, 0..1);
    assert_eq!(seqs(&env, &["it", "--until", &ts("it", 1)]), range(0..2));
    assert_eq!(seqs(&env, &["it", "--until", &ts("it", 4)]), range(2..5));
    let before = ts("it", 0);
    env.ok(&["run", "-q", "--run", "later", "true"]);
    assert_eq!(seqs(&env, &["--all", "--until", &before]), range(0..0));
    let rest = tail(&env, &["--all"]).stdout();
    assert_eq!(
        rest.lines().count(),
        1 + env.events("later").len(),
        "{rest}"
    );
}

#[test]
fn shown_cursor_is_before_events_after_until() {
    let env = with_notes(3);
    let until = env.events("it")[1]["ts"].as_str().unwrap().to_owned();
    let first = env.ok(&[
        "tail",
        "it",
        "-n",
        "all",
        "--until",
        &until,
        "--show-cursor",
    ]);
    let first = first.stderr();
    let cursor = first.trim().strip_prefix("cursor=").unwrap();
    let rest = env.ok(&["tail", "it", "--json", "--after-cursor", cursor]);
    assert_eq!(numbers(&rest.stdout), range(2..5));
}

#[test]
fn partial_line_is_delivered_when_complete() {
    let env = with_notes(1);
    let log = std::fs::read(env.log_path("it")).unwrap();
    std::fs::write(env.log_path("it"), &log[..log.len() - 20]).unwrap();
    assert_eq!(seqs(&env, &["it"]), [0, 1]);
    std::fs::write(env.log_path("it"), &log).unwrap();
    assert_eq!(seqs(&env, &["it"]), [2]);
}

#[test]
fn damaged_line_is_skipped_once() {
    let env = with_notes(3);
    let log = std::fs::read_to_string(env.log_path("it")).unwrap();
    let damaged = log.replacen("\"data\":3", "\"data\":8", 1);
    std::fs::write(env.log_path("it"), damaged).unwrap();
    let output = tail(&env, &["it"]);
    assert_eq!(output.code, 5);
    assert_eq!(output.stderr().matches("damaged line").count(), 1);
    assert_eq!(seqs(&env, &["it"]), range(0..0));
}

#[test]
fn runs_share_cursor_file_and_new_run_is_shown_fully() {
    let env = TestEnv::new();
    for run in ["a", "b"] {
        env.ok(&["emit", "--open", "--run", run, "x"]);
    }
    assert_eq!(tail(&env, &["--all"]).stdout().lines().count(), 4);
    env.ok(&["emit", "--open", "--run", "c", "x"]);
    env.ok(&["emit", "--run", "a", "y"]);
    let output = tail(&env, &["--all", "-n", "1"]).stdout();
    let of = |run: &str| output.matches(&format!("\"run_id\":\"{run}\"")).count();
    assert_eq!((of("a"), of("b"), of("c")), (1, 0, 2), "{output}");
    let cursors = std::fs::read_to_string(env.path("cursors")).unwrap();
    let of_runs = cursors.lines().filter(|line| line.starts_with("1:"));
    assert_eq!(of_runs.count(), 3, "{cursors}");
}

#[test]
fn pruned_unread_events_are_reported_once_with_5() {
    let env = with_notes(3);
    assert_eq!(seqs(&env, &["it"]).len(), 5);
    rotate(&env, "it");
    keep(&env, "it", 0);
    assert_eq!(seqs(&env, &["it"]), [5], "all of that was read");
    add(&env, 0..2);
    rotate(&env, "it");
    keep(&env, "it", 0);
    let output = tail(&env, &["it"]);
    assert_eq!((output.code, output.stderr()), (5, String::new()));
    let lines: Vec<_> = output.stdout.split_inclusive(|b| *b == b'\n').collect();
    assert!(!lines[0].starts_with(b"{\"v\""));
    let gap: Value = serde_json::from_slice(lines[0]).unwrap();
    assert_eq!(gap["type"], "gap");
    assert_eq!(gap["run_id"], "it");
    assert_eq!((&gap["from_seq"], &gap["to_seq"]), (&6.into(), &7.into()));
    assert_eq!(gap["reason"], "dropped");
    assert_eq!(numbers(lines[1]), [8]);
    assert_eq!(seqs(&env, &["it"]), range(0..0));
}

#[test]
fn gap_is_reported_as_text() {
    let env = with_notes(3);
    tail(&env, &["it"]);
    add(&env, 0..2);
    rotate(&env, "it");
    keep(&env, "it", 0);
    let output = env.run(&["tail", "it", "--cursor-file", "cursors"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 5
    -- stdout
    [TIME]  -  ✗ gap  events 5 to 6 are missing: their segment was dropped
    [TIME]  7  log rotated  events-00000000000000000000.jsonl
    ");
}

#[test]
fn removed_unread_run_is_reported_once() {
    let env = with_notes(3);
    env.ok(&["emit", "--open", "--run", "other", "x"]);
    tail(&env, &["--all"]);
    std::fs::remove_dir_all(env.run_dir("it")).unwrap();
    for (args, then) in [(&["--all"][..], "--all"), (&["it", "other"], "other")] {
        let before = std::fs::read(env.path("cursors")).unwrap();
        let output = tail(&env, args);
        assert_eq!(output.code, 5, "{args:?}: {}", output.stderr());
        let gap: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&gap["from_seq"], &gap["to_seq"]),
            (&5.into(), &Value::Null)
        );
        assert_eq!(gap["reason"], "removed");
        assert_eq!(seqs(&env, &[then]), range(0..0));
        std::fs::write(env.path("cursors"), before).unwrap();
    }
}

#[test]
fn fully_read_finished_run_may_be_removed() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--close", "--", "true"]);
    assert_eq!(seqs(&env, &["--all"]).len(), 6);
    std::fs::remove_dir_all(env.run_dir("it")).unwrap();
    assert_eq!(seqs(&env, &["--all"]), range(0..0));
    let left = std::fs::read_to_string(env.path("cursors")).unwrap();
    assert!(!left.contains(":it:"), "{left}");
    // Another run may use the name again.
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    assert_eq!(seqs(&env, &["--all"]), [0, 1]);
}

#[test]
fn replaced_log_is_reported_and_shown() {
    let env = with_notes(3);
    tail(&env, &["it"]);
    std::fs::remove_dir_all(env.run_dir("it")).unwrap();
    env.ok(&["emit", "--open", "--run", "it", "new"]);
    let output = tail(&env, &["it"]);
    assert_eq!(output.code, 5);
    let mut lines = output.stdout.split_inclusive(|b| *b == b'\n');
    let gap: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
    assert_eq!(gap["reason"], "changed");
    assert_eq!(numbers(&lines.collect::<Vec<_>>().concat()), [0, 1]);
}

#[test]
fn foreign_cursor_file_exits_2_and_is_kept() {
    let env = with_notes(1);
    env.ok(&["emit", "--open", "--run", "other", "x"]);
    tail(&env, &["it"]);
    let good = std::fs::read_to_string(env.path("cursors")).unwrap();
    let newer = good.replacen("1:", "2:", 1);
    let cut = &good[..good.len() / 2];
    let mut said = String::new();
    for (content, run) in [
        ("garbage\n", "it"),
        (cut, "it"),
        (&newer, "it"),
        (&good, "other"),
    ] {
        env.write("cursors", content);
        let output = tail(&env, &[run]);
        checks::assert_one_error(&output);
        assert_eq!(output.code, 2, "{content}");
        let left = std::fs::read_to_string(env.path("cursors")).unwrap();
        assert_eq!(left, content);
        said += &output.stderr();
    }
    let cursor = regex::Regex::new(r"`[12]:it:[^`]*`").unwrap();
    assert_snapshot!(cursor.replace_all(&said, "[CURSOR]"), @"
    error: cursors, line 1: `garbage` is not a cursor, or not all of one
    hint: use another file, or remove this one to start with the first event
    error: cursors, line 1: [CURSOR] is not a cursor, or not all of one
    hint: use another file, or remove this one to start with the first event
    error: cursors, line 1: [CURSOR] is the cursor of a newer runlog
    hint: use the newer runlog, or another file
    error: the cursor belongs to run it, which is not named
    hint: name that run too, or use another cursor
    ");
}

#[test]
fn cursor_file_in_use_exits_6() {
    let env = with_notes(1);
    let mut follower = env.spawn(&["tail", "-f", "it", "--json", "--cursor-file", "cursors"]);
    follower.read_line();
    wait_until("it is saved", || {
        std::fs::metadata(env.path("cursors")).is_ok_and(|m| m.len() > 0)
    });
    let output = tail(&env, &["it"]);
    checks::assert_one_error(&output);
    assert_eq!(output.code, 6, "{}", output.stderr());
}

#[test]
fn cursor_is_printed_and_accepted() {
    let env = with_notes(3);
    let output = env.ok(&["tail", "it", "--json", "--show-cursor", "-n", "1"]);
    assert_eq!(numbers(&output.stdout), [4]);
    let stderr = output.stderr();
    let cursor = stderr.trim_end().strip_prefix("cursor=").unwrap();
    add(&env, 0..2);
    for args in [
        &["tail", "--json", "--after-cursor", cursor][..],
        &["tail", "i", "--json", "--after-cursor", cursor],
    ] {
        assert_eq!(numbers(&env.ok(args).stdout), [5, 6]);
    }
    env.ok(&["emit", "--open", "--run", "other", "x"]);
    let other = env.run(&["tail", "other", "--after-cursor", cursor]);
    assert_eq!(other.code, 2, "{}", other.stderr());
    let cut = env.run(&["tail", "--after-cursor", &cursor[..9]]);
    assert_eq!(cut.code, 2, "{}", cut.stderr());
}

#[test]
fn unconsumed_lines_do_not_advance_cursor() {
    let env = with_notes(3000);
    let script = r#""$RUNLOG" tail it --json --cursor-file cursors | head -n 1 >first"#;
    assert_eq!(env.sh(script).stderr(), "");
    let rest = seqs(&env, &["it"]);
    assert_eq!(rest.last(), Some(&3001));
    assert!(rest[0] < 1000, "{}", rest[0]);
}

#[test]
fn closed_stdout_is_error_and_keeps_cursor() {
    let env = with_notes(2);
    let output = env.sh("\"$RUNLOG\" tail it --json --cursor-file cursors >&-");
    let expected = "error: cannot write to stdout: Bad file descriptor (os error 9)\n";
    assert_eq!((output.code, output.stderr()), (7, expected.to_owned()));
    assert_eq!(seqs(&env, &["it"]), range(0..4));
    // Without a cursor, nothing is lost.
    let output = env.sh("\"$RUNLOG\" tail it --json >&-");
    assert_eq!((output.code, output.stderr()), (0, String::new()));
}

#[test]
fn missing_directory_of_cursor_file_exits_7() {
    let env = with_notes(0);
    let output = env.run(&["tail", "it", "--cursor-file", "none/cursors"]);
    assert_eq!(output.code, 7, "{}", output.stderr());
}

#[test]
fn signal_ends_tail_between_lines() {
    let env = with_notes(1);
    let mut seen = Vec::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut follower = env.spawn(&["tail", "-f", "it", "--json", "--cursor-file", "cursors"]);
        add(&env, 0..100);
        let mut stdout = follower.read_line();
        stdout.push(b'\n');
        follower.signal(signal);
        let output = follower.wait();
        assert_eq!(output.code, 1000 + signal.as_raw());
        stdout.extend(output.stdout);
        seen.extend(numbers(&stdout));
    }
    seen.extend(seqs(&env, &["it"]));
    // Events that the reader did not read in time are delivered again.
    let mut next = 0;
    for seq in seen {
        assert!(seq <= next, "{next} was lost");
        next = next.max(seq + 1);
    }
    assert_eq!(next, 303);
}

#[test]
fn reused_run_id_does_not_hide_missing_events() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "n", "a"]);
    for _ in 0..6 {
        env.ok(&["emit", "--run", "n", "a"]);
    }
    let tail = ["tail", "n", "--json", "--cursor-file", "c"];
    assert_eq!(env.json_lines(&tail).len(), 8);
    for _ in 0..20 {
        env.ok(&["emit", "--run", "n", "important"]);
    }
    env.ok(&["run", "--run", "n", "--close"]);
    env.ok(&["gc", "--max-runs", "0"]);
    env.ok(&["run", "-q", "--run", "n", "--close", "--", "true"]);
    env.ok(&["gc", "--max-runs", "0"]);
    let output = env.run(&tail);
    assert_eq!(output.code, 5, "{}", output.stderr());
    let output = output.stdout();
    let gaps: Vec<Value> = output
        .lines()
        .map(|gap| serde_json::from_str(gap).unwrap())
        .collect();
    let range = |gap: &Value| (gap["from_seq"].as_u64(), gap["to_seq"].as_u64());
    let ranges: Vec<_> = gaps.iter().map(range).collect();
    // The follower read nothing of the later run.
    assert_eq!(ranges, [(Some(8), Some(28)), (Some(0), Some(5))]);
}

#[test]
fn pruned_run_of_reused_id_is_reported() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "n", "old"]);
    env.ok(&["run", "--run", "n", "--close"]);
    let tail = ["tail", "n", "--json", "--cursor-file", "c"];
    assert_eq!(env.json_lines(&tail).len(), 3);
    env.ok(&["gc", "--max-runs", "0"]);
    env.ok(&["emit", "--open", "--run", "n", "dropped"]);
    env.ok(&["rotate", "n", "--force", "--keep", "0"]);
    let output = env.run(&tail);
    assert_eq!(output.code, 5, "{}", output.stderr());
    let first: Value = serde_json::from_str(output.stdout().lines().next().unwrap()).unwrap();
    // The old run was read completely.
    assert_eq!(
        (&first["from_seq"], &first["to_seq"]),
        (&0.into(), &1.into())
    );
    assert_eq!(first["reason"], "dropped");
    assert_eq!(env.run(&tail).code, 0);
}
