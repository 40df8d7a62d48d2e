//! `runlog replay --speed` and `--output`.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::replay::{seal, with_timeline};
use crate::support::env::{TestEnv, wait_until};

#[test]
fn play_interleaves_output_of_all_jobs() {
    let env = TestEnv::new();
    // The first job prints before and after the whole output of the second one.
    let first = "echo one; touch ready; while ! [ -e done ]; do sleep 0.01; done; echo three";
    let job = env.spawn(&[
        "run", "-q", "--run", "it", "--job", "a", "--", "sh", "-c", first,
    ]);
    env.wait_for_file("ready");
    let args = ["run", "-q", "--run", "it", "--job", "b", "--"];
    env.ok(&[&args[..], &["sh", "-c", "echo two; echo err >&2"]].concat());
    env.write("done", "");
    assert_eq!(job.end().code, 0);
    let output = |args: &[&str]| {
        env.ok(&[&["replay", "it", "--output"], args].concat())
            .stdout()
    };
    let all = output(&[]);
    assert!(
        all.starts_with("one\n") && all.ends_with("three\n"),
        "{all}"
    );
    assert!(all.contains("two\n") && all.contains("err\n"), "{all}");
    assert_eq!(output(&["--job", "a"]), "one\nthree\n");
    assert_eq!(output(&["--stream", "stderr"]), "err\n");
    assert_eq!(output(&["--stream", "stdout", "--job", "b"]), "two\n");
    assert_eq!(env.run(&["replay", "it", "--output", "--job", "c"]).code, 3);
}

#[test]
fn play_output_is_byte_identical() {
    let env = TestEnv::new();
    let printf =
        "head -c 300000 /dev/urandom | tee copy; printf 'a\\0b\\377'; printf 'a\\0b\\377' >>copy";
    env.ok(&["run", "-q", "--run", "it", "--", "sh", "-c", printf]);
    let output = env.ok(&["replay", "it", "--output"]);
    assert!(output.stdout == fs::read(env.path("copy")).unwrap());
}

#[test]
fn play_of_running_and_lost_runs() {
    let env = TestEnv::new();
    let mut job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    job.write(b"so far\n");
    job.read_line();
    assert_eq!(env.ok(&["replay", "--output"]).stdout(), "so far\n");
    job.kill();
    assert_eq!(env.ok(&["replay", "--output"]).stdout(), "so far\n");
}

#[test]
fn play_works_without_pruned_events() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--", "echo", "early"]);
    let sealed = seal(&env, "it", 0);
    env.ok(&[
        "run", "-q", "--run", "it", "--job", "late", "--", "echo", "late",
    ]);
    fs::remove_file(env.run_dir("it").join(sealed)).unwrap();
    assert_eq!(env.ok(&["replay", "--output"]).stdout(), "early\nlate\n");
}

#[test]
fn play_reports_missing_output_as_lost() {
    let env = TestEnv::new();
    env.ok(&[
        "run", "-q", "--run", "it", "--job", "j", "--", "echo", "hello",
    ]);
    fs::write(env.run_dir("it").join("jobs/j.out"), "he").unwrap();
    let output = env.ok(&["replay", "--output"]);
    assert_eq!(output.stdout(), "he");
    assert_eq!(
        output.stderr(),
        "warning: job j: output lost: 2 of 6 bytes remain\n"
    );
}

#[test]
fn play_without_index_prints_all_output() {
    let env = TestEnv::new();
    env.ok(&[
        "run", "-q", "--run", "it", "--job", "j", "--", "echo", "hello",
    ]);
    fs::remove_file(env.run_dir("it").join("jobs/j.out.idx")).unwrap();
    assert_eq!(env.ok(&["replay", "--output"]).stdout(), "hello\n");
}

#[test]
fn play_separates_output_from_timeline() {
    let env = with_timeline();
    let output = env.ok(&["replay", "it", "--speed", "max"]);
    assert!(output.stdout == env.captured("it", "deploy"));
    assert!(output.stdout().ends_with("undone\n"));
    let story = env.ok(&["replay", "it"]).stdout();
    let told: Vec<String> = output.stderr().lines().skip(1).map(str::to_owned).collect();
    let lines: Vec<String> = story.lines().skip(2).map(str::to_owned).collect();
    assert_eq!(told, lines);
}

#[test]
fn play_keeps_pace() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "-q",
        "--run",
        "it",
        "--",
        "sh",
        "-c",
        "sleep 0.4; echo x",
    ]);
    let own = env.status("it")["jobs"][0]["duration_ms"].as_u64().unwrap();
    let took = |args: &[&str]| {
        let start = Instant::now();
        env.ok(&[&["replay", "it"], args].concat());
        start.elapsed()
    };
    for mode in [&["--speed", "1"][..], &["--speed", "1", "--output"]] {
        assert!(
            took(mode) >= Duration::from_millis(own * 9 / 10),
            "{mode:?}"
        );
    }
    assert!(took(&["--speed", "0.5"]) >= Duration::from_millis(own * 18 / 10));
}

#[test]
fn fast_play_of_years_ends() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "true"]);
    env.ok(&["emit", "--run", "it", "later"]);
    let log = fs::read_to_string(env.log_path("it")).unwrap();
    let at = log.trim_end().rfind('\n').unwrap() + 1;
    let (before, last) = log.split_at(at);
    let year = last.find("\"ts\":\"").unwrap() + 6;
    let (head, tail) = (&last[..year], &last[year + 4..]);
    let later: u32 = last[year..year + 4].parse::<u32>().unwrap() + 4;
    let line = format!("{head}{later}{tail}");
    let body = line.split_at(line.find(",\"crc\":").unwrap()).0;
    let crc = crc32c::crc32c(body.as_bytes());
    let log = format!("{before}{body},\"crc\":\"{crc:08x}\"}}\n");
    fs::write(env.log_path("it"), log).unwrap();
    for speed in ["1000000000", "max"] {
        let shown = env.ok(&["replay", "it", "--speed", speed]).stderr();
        assert!(shown.contains("later"), "{shown}");
    }
}

#[test]
fn play_ends_on_signal() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "-q",
        "--run",
        "it",
        "--",
        "sh",
        "-c",
        "echo one; sleep 1",
    ]);
    // The pause before the first line is as slow; a speed of 0.001 made it a minute under load.
    let mut play = env.spawn(&["replay", "it", "--speed", "0.01"]);
    assert_eq!(play.read_line(), b"one");
    play.signal(Signal::INT);
    wait_until("the end of the play", || play.has_ended());
    assert!(!play.end().stderr().contains("error"));
}
