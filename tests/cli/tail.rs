//! `runlog tail`: the last events, the output of jobs, and following.

use insta::assert_snapshot;
use rustix::process::Signal;

use crate::support::checks::{self, snapshot};
use crate::support::env::{Background, Output, TestEnv, wait_until};

/// Runs `tail` of the run `it` with these arguments.
fn tail(env: &TestEnv, args: &[&str]) -> Output {
    let args: Vec<_> = ["tail", "it"].iter().chain(args).copied().collect();
    env.run(&args)
}

/// Returns the `seq` of the events that `tail --json` prints with these arguments.
fn seqs(env: &TestEnv, args: &[&str]) -> Vec<u64> {
    let args: Vec<_> = ["--json"].iter().chain(args).copied().collect();
    let output = tail(env, &args);
    assert_eq!((output.code, output.stderr()), (0, String::new()));
    let lines = output.stdout();
    let seq = |line: &str| checks::event(line.as_bytes())["seq"].as_u64().unwrap();
    lines.lines().map(seq).collect()
}

/// Creates the run `it` with twelve events: a failed job and six notes.
fn with_events() -> TestEnv {
    let env = TestEnv::new();
    env.run(&[
        "run",
        "-q",
        "--run",
        "it",
        "--",
        "sh",
        "-c",
        "echo out; exit 3",
    ]);
    env.run_with(&["emit", "--run", "it", "--lines"], b"1\n2\n3\n4\n5\n6\n");
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(env.events("it").len(), 12);
    env
}

#[test]
fn tail_prints_events_as_text() {
    let env = with_events();
    assert_snapshot!(snapshot(&env, &tail(&env, &["-n", "all"])), @"
    exit 0
    -- stdout
    [TIME]  0  run opened  it
    [TIME]  1  ○ submitted  sh  sh -c 'echo out; exit 3'
    [TIME]  2  ○ validated  sh  /usr/bin/sh
    [TIME]  3  ▶ started  sh  pid [PID]
    [TIME]  4  ✗ failed  sh  it exited with code 3  [DURATION]  [DURATION] CPU  [SIZE] peak RSS
    [TIME]  5  note  line  1
    [TIME]  6  note  line  2
    [TIME]  7  note  line  3
    [TIME]  8  note  line  4
    [TIME]  9  note  line  5
    [TIME]  10  note  line  6
    [TIME]  11  run closed  1 job  1 failed  [DURATION]
    ");
}

#[test]
fn tail_shows_last_ten_by_default() {
    assert_eq!(seqs(&with_events(), &[]), (2..12).collect::<Vec<_>>());
}

#[test]
fn tail_shows_requested_count() {
    let env = with_events();
    assert_eq!(seqs(&env, &["-n", "1"]), [11]);
    assert_eq!(seqs(&env, &["-n", "0"]), [0; 0]);
    assert_eq!(seqs(&env, &["-n", "100"]).len(), 12);
    assert_eq!(seqs(&env, &["-n", "all"]).len(), 12);
}

#[test]
fn tail_json_is_byte_identical_to_log() {
    let env = with_events();
    let output = tail(&env, &["--json", "-n", "all"]);
    assert!(output.stdout == std::fs::read(env.log_path("it")).unwrap());
}

#[test]
fn tail_defaults_to_newest_run() {
    let env = with_events();
    let named = tail(&env, &["--json"]).stdout;
    assert!(env.ok(&["tail", "--json"]).stdout == named);
    assert!(env.ok(&["tail", "--json", "i"]).stdout == named);
}

#[test]
fn tail_filters_by_type() {
    let env = with_events();
    assert_eq!(seqs(&env, &["--type", "note", "-n", "2"]), [9, 10]);
    assert_eq!(seqs(&env, &["--type", "job_failed"]), [4]);
    assert_eq!(
        seqs(&env, &["--type", "run_opened", "--type", "run_closed"]),
        [0, 11]
    );
}

#[test]
fn tail_filters_by_job() {
    let env = with_events();
    assert_eq!(seqs(&env, &["--job", "sh"]), [1, 2, 3, 4]);
    assert_eq!(seqs(&env, &["--job", "other"]), [0; 0]);
}

#[test]
fn tail_filters_by_time() {
    let env = with_events();
    let ts = env.events("it")[5]["ts"].as_str().unwrap().to_owned();
    assert_eq!(seqs(&env, &["--since", &ts])[0], 5);
    let until = seqs(&env, &["--until", &ts, "-n", "all"]);
    assert!(until.contains(&5) && !until.contains(&11), "{until:?}");
    assert_eq!(seqs(&env, &["--since", "2100-01-01"]), [0; 0]);
}

#[test]
fn tail_output_is_byte_identical() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "-q",
        "--run",
        "it",
        "--",
        "printf",
        "a\\0b\\377\\nlast",
    ]);
    assert_eq!(tail(&env, &["--output"]).stdout, b"a\0b\xff\nlast");
}

#[test]
fn tail_output_of_one_stream() {
    let env = TestEnv::new();
    let script = "echo out; echo err >&2; echo more";
    env.ok(&["run", "-q", "--run", "it", "--", "sh", "-c", script]);
    assert_eq!(
        tail(&env, &["--output", "--stream", "stdout"]).stdout(),
        "out\nmore\n"
    );
    assert_eq!(
        tail(&env, &["--output", "--stream", "stderr"]).stdout(),
        "err\n"
    );
}

#[test]
fn tail_output_last_lines() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--", "seq", "1", "100000"]);
    assert_eq!(
        tail(&env, &["--output", "-n", "2"]).stdout(),
        "99999\n100000\n"
    );
    assert_eq!(tail(&env, &["--output"]).stdout().lines().count(), 100_000);
}

#[test]
fn tail_output_of_one_job() {
    let env = TestEnv::new();
    for job in ["one", "two"] {
        env.ok(&["run", "-q", "--run", "it", "--job", job, "--", "echo", job]);
    }
    assert_eq!(tail(&env, &["--output", "--job", "two"]).stdout(), "two\n");
}

#[test]
fn follow_ends_with_run() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    let mut follower = env.spawn(&["tail", "it", "-f", "--json", "-n", "all"]);
    follower.read_line();
    follower.read_line();
    for name in ["one", "two"] {
        env.ok(&["emit", "--run", "it", name]);
        assert_eq!(checks::event(&follower.read_line())["name"], name);
    }
    assert!(!follower.has_ended());
    env.ok(&["run", "--run", "it", "--close"]);
    let output = follower.end();
    assert_eq!(output.code, 0);
    assert_eq!(checks::events(&output.stdout)[0]["type"], "run_closed");
}

#[test]
fn follow_misses_nothing_of_busy_writer() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    let follower = Background::new(
        env.command(&["tail", "it", "-f", "--json", "-n", "all"])
            .stdin(std::process::Stdio::null()),
    );
    let lines = checks::numbered(0..3000, |n| n.to_string());
    env.run_with(&["emit", "--run", "it", "--lines"], lines.as_bytes());
    env.ok(&["run", "--run", "it", "--close"]);
    let output = follower.end();
    assert!(output.stdout == std::fs::read(env.log_path("it")).unwrap());
}

#[test]
fn follow_ends_when_run_is_lost() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    let mut follower = env.spawn(&["tail", "it", "-f", "--json"]);
    follower.read_line();
    job.kill();
    wait_until("the end of tail -f", || follower.has_ended());
}

#[test]
fn follow_output_is_live() {
    let env = TestEnv::new();
    let mut job = env.spawn(&["run", "--run", "it", "--close", "--", "cat"]);
    env.wait_for("job_started");
    let mut follower = env.spawn(&["tail", "it", "-f", "--output"]);
    for text in ["one", "two"] {
        job.write(format!("{text}\n").as_bytes());
        assert_eq!(follower.read_line(), text.as_bytes());
    }
    assert_eq!(job.end().code, 0);
    assert_eq!(follower.end().code, 0);
}

#[test]
fn follow_ends_on_signal() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    let mut follower = env.spawn(&["tail", "it", "-f", "--json"]);
    follower.read_line();
    follower.signal(Signal::INT);
    wait_until("the end of tail -f", || follower.has_ended());
}

#[test]
fn tail_closed_stdout_ends_quietly() {
    let env = with_events();
    let output = env.sh(r#"{ "$RUNLOG" tail it --json -n all; echo $? >code; } | true"#);
    assert_eq!(output.stderr(), "");
    assert_eq!(std::fs::read_to_string(env.path("code")).unwrap(), "0\n");
}

#[test]
fn tail_reports_and_skips_damage_with_5() {
    let env = with_events();
    let log = std::fs::read_to_string(env.log_path("it")).unwrap();
    std::fs::write(
        env.log_path("it"),
        log.replacen("\"data\":3", "\"data\":8", 1),
    )
    .unwrap();
    let output = tail(&env, &["-n", "5"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 5
    -- stdout
    [TIME]  6  note  line  2
    [TIME]  8  note  line  4
    [TIME]  9  note  line  5
    [TIME]  10  note  line  6
    [TIME]  11  run closed  1 job  1 failed  [DURATION]
    -- stderr
    warning: [ROOT]/.omne/var/runs/it/events.jsonl:8:[OFFSET]: damaged line: its checksum does not match
    ");
}

#[test]
fn tail_unknown_run_exits_3() {
    let env = with_events();
    assert_eq!(env.run(&["tail", "nope"]).code, 3);
}

#[test]
fn tail_strips_control_characters_on_terminal() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "a\x1b[31mb\nc"]);
    let output = tail(&env, &[]);
    assert!(!output.stdout.contains(&0x1b), "{}", output.stdout());
    assert_eq!(output.stdout().lines().count(), 2, "{}", output.stdout());
}

#[test]
fn duplicated_last_line_is_not_counted() {
    let env = TestEnv::new();
    env.run(&["run", "--run", "it", "--", "true"]);
    let log = env.log_path("it");
    let text = std::fs::read_to_string(&log).unwrap();
    let copied: String = text.split_inclusive('\n').skip(2).take(2).collect();
    std::fs::write(&log, text.clone() + &copied).unwrap();
    let tail = env.run(&["tail", "it", "-n", "1", "--json"]);
    assert_eq!(tail.code, 5);
    assert_eq!(
        tail.stdout(),
        text.split_inclusive('\n').next_back().unwrap()
    );
}
