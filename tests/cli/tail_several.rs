//! `runlog tail` of several or all runs, and the conditions that end it.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use rustix::process::Signal;

use crate::support::checks::{self, snapshot};
use crate::support::env::{Background, TestEnv, wait_until};
use crate::support::segments::rotate;

/// Creates open runs with one note each.
fn with_runs(runs: &[&str]) -> TestEnv {
    let env = TestEnv::new();
    for run in runs {
        env.ok(&["emit", "--open", "--run", run, "begin"]);
    }
    env
}

fn close(env: &TestEnv, run: &str) {
    env.ok(&["run", "--run", run, "--close"]);
}

/// Returns the sequence numbers of the events of each run.
#[track_caller]
fn by_run(stdout: &[u8]) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in stdout
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
    {
        let event = checks::event(line);
        let run = event["run_id"].as_str().unwrap().to_owned();
        found
            .entry(run)
            .or_default()
            .push(event["seq"].as_u64().unwrap());
    }
    found
}

/// Reads one line, which must belong to this run. Returns its type.
#[track_caller]
fn next_of(follower: &mut Background, run: &str) -> String {
    let event = checks::event(&follower.read_line());
    assert_eq!(event["run_id"], run);
    event["type"].as_str().unwrap().to_owned()
}

#[test]
fn tail_of_several_runs_as_text() {
    let env = with_runs(&["a", "longer", "c"]);
    assert_snapshot!(snapshot(&env, &env.run(&["tail", "--all", "-n", "1"])), @"
    exit 0
    -- stdout
    a  | [TIME]  1  note  begin
    c  | [TIME]  1  note  begin
    longer | [TIME]  1  note  begin
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["tail", "c", "a", "c", "-n", "1"])), @"
    exit 0
    -- stdout
    a | [TIME]  1  note  begin
    c | [TIME]  1  note  begin
    ");
}

#[test]
fn tail_all_on_empty_volume_prints_nothing() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path(".omne")).unwrap();
    let output = env.ok(&["tail", "--all"]);
    assert_eq!((output.stdout(), output.stderr()), Default::default());
}

#[test]
fn follow_of_named_runs_ends_with_last() {
    let env = with_runs(&["a", "b"]);
    let mut follower = env.spawn(&["tail", "-f", "--json", "-n", "1", "a", "b"]);
    for run in ["a", "b"] {
        assert_eq!(next_of(&mut follower, run), "note");
    }
    close(&env, "a");
    assert_eq!(next_of(&mut follower, "a"), "run_closed");
    env.ok(&["emit", "--run", "b", "x"]);
    assert_eq!(next_of(&mut follower, "b"), "note");
    assert!(!follower.has_ended());
    close(&env, "b");
    assert_eq!(follower.end().code, 0);
}

#[test]
fn follow_all_includes_new_runs() {
    let env = with_runs(&["old"]);
    let mut follower = env.spawn(&["tail", "-f", "--all", "--json", "-n", "1"]);
    assert_eq!(next_of(&mut follower, "old"), "note");
    for run in ["a", "b", "c"] {
        // A run directory is empty at first.
        std::fs::create_dir_all(env.run_dir(run)).unwrap();
        env.ok(&["emit", "--open", "--run", run, "x"]);
        assert_eq!(next_of(&mut follower, run), "run_opened");
        assert_eq!(next_of(&mut follower, run), "note");
        close(&env, run);
        assert_eq!(next_of(&mut follower, run), "run_closed");
    }
    // Events may follow the end of a run.
    rotate(&env, "b");
    assert_eq!(next_of(&mut follower, "b"), "log_rotated");
    assert!(!follower.has_ended());
    follower.signal(Signal::TERM);
    assert_eq!(follower.end().code, 1000 + Signal::TERM.as_raw());
}

#[test]
fn follow_resumes_run_after_read_error() {
    let env = with_runs(&["a", "b"]);
    let args = ["tail", "-f", "--all", "--json", "--cursor-file", "cursor"];
    let mut follower = env.spawn(&args);
    for run in ["a", "a", "b", "b"] {
        next_of(&mut follower, run);
    }
    // The log of `a` cannot be read for a moment.
    let log = env.log_path("a");
    let aside = env.path("aside");
    std::fs::rename(&log, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &log).unwrap();
    env.ok(&["emit", "--run", "b", "n1"]);
    assert_eq!(next_of(&mut follower, "b"), "note");
    let mut warning = String::new();
    while !warning.starts_with("warning: run a") {
        warning = follower.read_stderr_line();
    }
    // The follower reads it about once per second, and does not warn again.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    std::fs::rename(&aside, &log).unwrap();
    env.ok(&["emit", "--run", "a", "last"]);
    let event = checks::event(&follower.read_line());
    assert_eq!((&event["run_id"], &event["seq"]), (&"a".into(), &2.into()));
    follower.signal(Signal::TERM);
    let output = follower.end();
    let warnings = output.stderr().matches("warning: run a").count();
    assert_eq!(warnings, 0, "{}", output.stderr());
}

#[test]
fn follow_of_many_runs_loses_nothing() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path(".omne")).unwrap();
    let script = r#"exec "$RUNLOG" tail -f --all --json --cursor-file cursors >lines"#;
    let follower = Background::new(env.program("sh").args(["-c", script]));
    let script = r#"
        for n in $(seq 0 19); do
            (
                "$RUNLOG" emit --open --run "r$n" x
                seq 0 199 | "$RUNLOG" emit --run "r$n" --lines
                "$RUNLOG" run --run "r$n" --close
            ) &
        done
        wait
    "#;
    let output = env.sh(script);
    assert_eq!(output.code, 0, "{}", output.stderr());
    let lines = || std::fs::read(env.path("lines")).unwrap();
    wait_until("all of them came", || {
        memchr::memchr_iter(b'\n', &lines()).count() >= 20 * 203
    });
    follower.signal(Signal::TERM);
    assert_eq!(follower.end().code, 1000 + Signal::TERM.as_raw());
    let found = by_run(&lines());
    assert_eq!(found.len(), 20);
    for seqs in found.values() {
        assert_eq!(*seqs, (0..203).collect::<Vec<_>>());
    }
}

#[test]
fn removed_run_does_not_stop_others() {
    let env = with_runs(&["a", "b"]);
    close(&env, "a");
    let mut follower = env.spawn(&["tail", "-f", "--all", "--json", "-n", "1"]);
    let mut first = follower.read_line();
    first.push(b'\n');
    first.extend(follower.read_line());
    assert_eq!(by_run(&first).len(), 2);
    std::fs::remove_dir_all(env.run_dir("b")).unwrap();
    let gap: serde_json::Value = serde_json::from_slice(&follower.read_line()).unwrap();
    assert_eq!((&gap["type"], &gap["run_id"]), (&"gap".into(), &"b".into()));
    env.ok(&["emit", "--open", "--run", "c", "x"]);
    assert_eq!(next_of(&mut follower, "c"), "run_opened");
    follower.signal(Signal::TERM);
    let output = follower.end();
    assert_eq!(output.stderr(), "run b was removed\n");
}

#[test]
fn unreadable_run_does_not_hide_others() {
    let env = with_runs(&["a", "b"]);
    std::fs::remove_file(env.log_path("a")).unwrap();
    std::fs::create_dir(env.log_path("a")).unwrap();
    let output = env.run(&["tail", "--all", "--json"]);
    assert_eq!(output.code, 7);
    assert_eq!(by_run(&output.stdout)["b"], [0, 1]);
    assert!(output.stderr().starts_with("warning: run a: "));
}

#[test]
fn until_event_type_ends_follow() {
    let env = with_runs(&["a"]);
    let mut follower = env.spawn(&["tail", "a", "--json", "--until", "type=run_closed"]);
    assert_eq!(next_of(&mut follower, "a"), "run_opened");
    close(&env, "a");
    let output = follower.end();
    assert_eq!(output.code, 0);
    assert_eq!(by_run(&output.stdout)["a"], [1, 2]);
    // The event need not be one of the shown events.
    let args = [
        "tail",
        "a",
        "--json",
        "--type",
        "run_opened",
        "--until",
        "type=note",
    ];
    assert_eq!(by_run(&env.ok(&args).stdout)["a"], [0]);
    // Nothing after it is shown.
    let args = ["tail", "--all", "--json", "--until", "type=note"];
    assert_eq!(by_run(&env.ok(&args).stdout)["a"], [0, 1]);
}

#[test]
fn awaited_event_may_be_older_than_shown_lines() {
    let env = with_runs(&["a"]);
    for _ in 0..10 {
        env.ok(&["emit", "--run", "a", "next"]);
    }
    close(&env, "a");
    let shown = |args: &[&str]| {
        let output = env.run(&[&["tail", "a", "--json"], args].concat());
        let seqs = by_run(&output.stdout).remove("a").unwrap_or_default();
        (output.code, seqs)
    };
    assert_eq!(shown(&["--until", "type=note"]), (0, vec![0, 1]));
    // Lines that come before are shown as without --until.
    let last = (3..=12).collect::<Vec<_>>();
    assert_eq!(shown(&["--until", "type=run_closed"]), (0, last.clone()));
    assert_eq!(shown(&["--until", "type=job_failed"]), (1, last));
    // The user chose where to start.
    let newest = ["-n", "1", "--until", "type=note"];
    assert_eq!(shown(&newest), (1, vec![12]));
}

#[test]
fn until_time_ends_follow() {
    let env = with_runs(&["a"]);
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(1);
    for when in [&soon.to_string(), "2001-01-01"] {
        for runs in ["a", "--all"] {
            // A limit that is never reached gives 4.
            let args = [
                "tail",
                "-f",
                runs,
                "--json",
                "--until",
                when,
                "--timeout",
                "1m",
            ];
            let output = env.ok(&args);
            let shown = if when == "2001-01-01" { 0 } else { 2 };
            assert_eq!(output.stdout().lines().count(), shown, "{when} {runs}");
        }
    }
}

#[test]
fn until_run_state_ends_follow() {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--run", "old", "--close", "--", "false"]);
    let args = ["tail", "old", "--json", "--until", "state=failed"];
    assert_eq!(by_run(&env.ok(&args).stdout)["old"].len(), 6);

    let args = ["--json", "-n", "1", "--until", "state=failed"];
    let mut follower = env.spawn(&[&["tail", "--all"], &args[..]].concat());
    assert_eq!(next_of(&mut follower, "old"), "run_closed");
    env.ok(&["run", "-q", "--run", "fine", "--close", "--", "true"]);
    for _ in 0..6 {
        next_of(&mut follower, "fine");
    }
    assert!(!follower.has_ended());
    env.run(&["run", "-q", "--run", "new", "--close", "--", "false"]);
    let output = follower.end();
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_eq!(by_run(&output.stdout)["new"].len(), 6);
}

#[test]
fn until_without_match_exits_1() {
    let env = with_runs(&["a"]);
    close(&env, "a");
    for (until, why) in [
        ("state=running", "no run is in state `running`"),
        ("type=run_opened", "no event of type `run_opened` was found"),
    ] {
        let output = env.run(&["tail", "a", "-n", "0", "--until", until]);
        assert_eq!(output.code, 1, "{until}: {}", output.stderr());
        assert_eq!(output.stderr(), format!("the runs have ended: {why}\n"));
    }
}

#[test]
fn follow_timeout_exits_4() {
    let env = with_runs(&["a"]);
    for args in [
        &["tail", "-f", "a"][..],
        &["tail", "-f", "--all"],
        &["tail", "a", "--until", "type=x"],
        &["tail", "-f", "--output", "a"],
    ] {
        let args: Vec<_> = args.iter().chain(&["--timeout", "50ms"]).copied().collect();
        assert_eq!(env.run(&args).code, 4, "{args:?}");
    }
}

#[test]
fn conflicting_arguments_exit_2() {
    let env = with_runs(&["a", "b"]);
    for args in [
        &["a", "--timeout", "1s"][..],
        &["a", "--until", "state=over"],
        &["a", "--until", "job=x"],
        &["a", "--until", "type="],
        &["--all", "a"],
        &["a", "--output", "--until", "type=note"],
        &["a", "--timestamps"],
        &["--output", "--cursor-file", "x"],
        &["--cursor-file", "x", "--after-cursor", "1:a"],
        &["--cursor-file", "."],
    ] {
        let output = env.run(&[&["tail"], args].concat());
        checks::assert_one_error(&output);
        assert_eq!(output.code, 2, "{args:?}: {}", output.stderr());
    }
    assert!(!env.exists("x"));
}
