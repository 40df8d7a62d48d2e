//! The order of stdout and stderr, which is exact if both go to the same place.

use rustix::process::{Signal, kill_process};

use crate::support::env::{Background, TestEnv, pid_of, wait_until};

/// A job that prints alternating lines to both streams.
const ALTERNATING: &str = "for i in 1 2 3 4 5 6 7 8 9; do echo out$i; echo err$i >&2; done";

fn alternating() -> String {
    let line = |i| format!("out{i}\nerr{i}\n");
    (1..=9).map(line).collect()
}

/// Runs the job with its stdout and stderr redirected by `to`.
fn run_to(env: &TestEnv, flags: &str, to: &str) {
    let line = format!("\"$RUNLOG\" run --run it --close {flags} -- sh -c '{ALTERNATING}' {to}");
    let output = env.sh(&line);
    assert_eq!(output.code, 0, "{}", output.stderr());
}

/// Returns the streams in the order of the index, without repetitions.
fn streams(env: &TestEnv) -> Vec<String> {
    let path = env.run_dir("it").join("jobs/sh.out.idx");
    let text = std::fs::read_to_string(path).unwrap();
    let mut streams: Vec<String> = text
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["stream"].as_str().unwrap().to_owned()
        })
        .collect();
    streams.dedup();
    streams
}

#[test]
fn order_of_streams_in_one_file_is_exact() {
    let env = TestEnv::new();
    run_to(&env, "", ">both 2>&1");
    let both = std::fs::read_to_string(env.path("both")).unwrap();
    let passed_on: String = both
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("run_id="))
        .collect();
    assert_eq!(passed_on, alternating());
    assert_eq!(env.captured("it", "sh"), alternating().as_bytes());
    assert_eq!(streams(&env), ["both"]);
    let shown = env.run(&["tail", "it", "--output", "--stream", "both"]);
    assert_eq!(shown.stdout(), alternating());
    let apart = env.run(&["tail", "it", "--output", "--stream", "stderr"]);
    assert_eq!(apart.stdout(), "");
    assert!(
        apart.stderr().contains("--stream both"),
        "{}",
        apart.stderr()
    );
    let output = &env.event("job_completed")["output"];
    assert_eq!(output["both_bytes"], 90);
    assert_eq!(output["stdout_bytes"], 0);
    assert_eq!(env.run(&["replay", "it", "--verify"]).code, 0);
}

#[test]
fn order_of_streams_in_one_pipe_is_exact() {
    let env = TestEnv::new();
    run_to(&env, "", "2>&1 | cat >both");
    assert_eq!(env.captured("it", "sh"), alternating().as_bytes());
    assert_eq!(streams(&env), ["both"]);
}

#[test]
fn appended_file_keeps_order_of_streams() {
    let env = TestEnv::new();
    run_to(&env, "", ">>both 2>>both");
    assert_eq!(env.captured("it", "sh"), alternating().as_bytes());
}

#[test]
fn separate_streams_stay_separate() {
    for (flags, to) in [("", ">out 2>err"), ("--streams apart", ">both 2>&1")] {
        let env = TestEnv::new();
        run_to(&env, flags, to);
        let output = &env.event("job_completed")["output"];
        assert_eq!(output["stdout_bytes"], 45);
        assert_eq!(output["stderr_bytes"], 45);
        assert_eq!(output["both_bytes"], serde_json::Value::Null);
        let shown = env.run(&["tail", "it", "--output", "--stream", "stderr"]);
        assert_eq!(shown.stdout().lines().next(), Some("err1"));
    }
}

#[test]
fn merged_streams_are_passed_on_to_stdout() {
    for flags in ["--streams merged", "--streams merged --no-capture"] {
        let env = TestEnv::new();
        run_to(&env, flags, ">out 2>err");
        let out = std::fs::read_to_string(env.path("out")).unwrap();
        assert_eq!(out, alternating(), "{flags}");
    }
}

#[test]
fn settings_define_layout_of_streams() {
    let env = TestEnv::new();
    std::fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(".omne/lib/cfg/runlog.toml", "[run]\nstreams = \"apart\"\n");
    run_to(&env, "", ">both 2>&1");
    assert_eq!(env.event("job_completed")["output"]["stderr_bytes"], 45);
}

#[test]
fn exports_accept_merged_output() {
    let env = TestEnv::new();
    run_to(&env, "", ">both 2>&1");
    let junit = env.run(&["replay", "it", "--export", "junit"]);
    assert!(
        junit.stdout().contains("out1\nerr1\nout2"),
        "{}",
        junit.stdout()
    );
    let cast = env.run(&["replay", "it", "--export", "asciicast"]).stdout();
    let printed = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let is_output = event[1] == "o";
        is_output.then(|| event[2].as_str().unwrap().replace('\r', ""))
    };
    assert_eq!(
        cast.lines().filter_map(printed).collect::<String>(),
        alternating()
    );
    let html = env.run(&["replay", "it", "--export", "html"]);
    assert!(
        html.stdout().contains("[\"both\",\"out1"),
        "{}",
        html.stdout()
    );
    let otlp = env.run(&["replay", "it", "--export", "otlp"]);
    assert!(otlp.stdout().contains("\"both\""), "{}", otlp.stdout());
    let csv = env.run(&["replay", "it", "--export", "csv"]);
    assert!(
        csv.stdout()
            .lines()
            .next()
            .unwrap()
            .ends_with(",both_bytes")
    );
}

#[test]
fn tty_flag_decides_about_pseudo_terminal() {
    let env = TestEnv::new();
    let is_terminal = "test -t 1 && test -t 2";
    for (flags, code) in [("always", 0), ("never", 1), ("auto", 1)] {
        let output = env.run(&["run", "--tty", flags, "--", "sh", "-c", is_terminal]);
        assert_eq!(output.code, code, "{flags}");
    }
    let detached = [
        "run", "--detach", "--run", "it", "--close", "--job", "it", "--tty",
    ];
    let job = [
        "always",
        "--",
        "sh",
        "-c",
        "test -t 1 && echo yes; stty size <&2",
    ];
    env.ok(&[&detached[..], &job].concat());
    env.ok(&["status", "it", "--wait"]);
    assert_eq!(env.captured("it", "it"), b"yes\n24 80\n");
}

#[test]
fn pseudo_terminal_output_is_masked_and_limited() {
    let env = TestEnv::new();
    let tty = ["run", "--run", "it", "--job", "it", "--tty", "always"];
    let masked = [
        "--redact",
        "s3cr.t",
        "--redact-passed-on",
        "--streams",
        "merged",
    ];
    let script = "printf '\\033[1mout\\033[0m\\n'; echo err s3cret >&2; echo out";
    let output = env.ok(&[&tty[..], &masked, &["--", "sh", "-c", script]].concat());
    let expected = "\u{1b}[1mout\u{1b}[0m\nerr ***\nout\n";
    assert_eq!(output.stdout(), expected);
    assert_eq!(env.captured("it", "it"), expected.as_bytes());
    let limited = ["run", "--run", "small", "--job", "it", "--tty", "always"];
    let limit = ["--capture-limit", "3", "--", "echo", "12345"];
    let output = env.run(&[&limited[..], &limit].concat());
    assert_eq!(output.stdout(), "12345\n");
    assert_eq!(env.captured("small", "it"), b"123");
}

#[test]
fn pseudo_terminal_without_reader_ends_job() {
    let env = TestEnv::new();
    let output = env.sh("\"$RUNLOG\" run --tty always -- yes | head -n 1");
    assert_eq!(output.stdout(), "y\n");
}

#[test]
fn leftover_process_keeps_its_pseudo_terminal() {
    let env = TestEnv::new();
    let script = "(until [ -e go ]; do sleep 0.05; done; echo late; touch alive) & echo started";
    let output = env.ok(&[
        "run", "--run", "it", "--tty", "always", "--", "sh", "-c", script,
    ]);
    assert_eq!(output.stdout(), "started\n");
    env.write("go", "");
    env.wait_for_file("alive");
    assert_eq!(env.event("job_completed")["output"]["held_open"], true);
}

#[test]
fn output_of_retry_follows_that_of_attempt_before() {
    let env = TestEnv::new();
    // One write fills the pipe, which then is large enough for the rest.
    let job = "if mkdir first 2>/dev/null; then head -c 200000 /dev/zero | tr '\\0' a >a; \
               dd if=a bs=200000 count=1 status=none; exit 1; fi; \
               head -c 20000 /dev/zero | tr '\\0' b";
    env.executable("job", format!("#!/bin/sh\n{job}\n"));
    // The reader starts when the second attempt has ended.
    let script = "\"$RUNLOG\" run --run it --retries 1 --retry-delay 0 -- ./job | \
                  { until [ -e second ]; do sleep 0.01; done; cat; } >passed";
    env.executable("run", format!("#!/bin/sh\n{script}\n"));
    let mut run = Background::new(&mut env.program("./run"));
    wait_until("the end of the second attempt", || {
        env.types("it").contains(&"job_completed".to_owned())
    });
    env.write("second", "");
    wait_until("the end of the run", || run.has_ended());
    let expected = ["a".repeat(200_000), "b".repeat(20_000)].concat();
    assert!(std::fs::read_to_string(env.path("passed")).unwrap() == expected);
}

#[test]
fn killed_supervisor_names_output_of_all_attempts_that_was_not_passed_on() {
    let env = TestEnv::new();
    // More than the pipe to the reader holds, but not more than that and the job's pipe hold.
    let job = "echo >>starts; case $(wc -l <starts) in \
               1) dd if=/dev/zero bs=1100000 count=1 status=none; exit 1;; 2) echo b; exit 1;; esac; \
               until [ -e go ]; do sleep 0.01; done";
    env.executable("job", format!("#!/bin/sh\n{job}\n"));
    let script = "\"$RUNLOG\" run --run it --retries 2 --retry-delay 0 -- ./job | \
                  { until [ -e go ]; do sleep 0.01; done; cat; } >passed";
    env.executable("run", format!("#!/bin/sh\n{script}\n"));
    let mut run = Background::new(&mut env.program("./run"));
    let third = || {
        let started = env.events_of_type("it", "job_started");
        started.iter().any(|event| event["attempt"] == 3)
    };
    wait_until("the third attempt", || !env.runs().is_empty() && third());
    let pid = &env.events_of_type("it", "job_submitted")[0]["supervisor"]["pid"];
    kill_process(pid_of(pid.as_i64().unwrap()), Signal::KILL).unwrap();
    env.wait_for("supervisor_replaced");
    env.write("go", "");
    wait_until("the end of the run", || run.has_ended());
    let passed = std::fs::metadata(env.path("passed")).unwrap().len();
    let replaced = &env.events_of_type("it", "supervisor_replaced")[0];
    let uncertain = replaced["uncertain_stdout_bytes"].as_u64().unwrap();
    assert!(passed < 1_100_002, "{passed}");
    assert!(passed + uncertain >= 1_100_002, "{passed} {uncertain}");
}
