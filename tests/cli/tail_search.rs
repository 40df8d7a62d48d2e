//! `runlog tail --grep`: searching events and output.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::checks::{assert_one_error, snapshot};
use crate::support::env::TestEnv;

/// Creates two runs whose jobs print to both streams.
fn volume() -> TestEnv {
    let env = TestEnv::new();
    for name in ["a", "b"] {
        let script = format!("seq 1 5; echo {name} broke >&2; seq 6 9; echo BROKE");
        env.ok(&["run", "-q", "--run", name, "--", "sh", "-c", &script]);
        env.ok(&["run", "--run", name, "--close"]);
    }
    env
}

/// Returns the lines that `tail --json` finds.
fn found(env: &TestEnv, args: &[&str]) -> Vec<Value> {
    env.json_lines(&[&["tail", "--json", "--all"], args].concat())
}

/// Returns the texts of the lines that `tail --output --json` finds.
fn texts(env: &TestEnv, args: &[&str]) -> Vec<String> {
    let lines = found(env, &[&["--output"], args].concat());
    let text = |line: &Value| line["line"].as_str().unwrap().to_owned();
    lines.iter().map(text).collect()
}

/// Asserts that each line is at its place in its file.
fn assert_offsets(env: &TestEnv, lines: &[Value]) {
    assert!(!lines.is_empty());
    for line in lines {
        let file = line["file"].as_str().unwrap();
        let file = fs::read(env.run_dir(line["run_id"].as_str().unwrap()).join(file)).unwrap();
        let at = usize::try_from(line["offset"].as_u64().unwrap()).unwrap();
        let text = line["line"].as_str().unwrap().as_bytes();
        assert!(file[at..].starts_with(text), "{line}");
    }
}

#[test]
fn search_of_output_prints_lines_of_all_runs() {
    let env = volume();
    let output = env.run(&["tail", "--output", "--all", "--grep", "broke"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 0
    -- stdout
    a sh [TIME] a broke
    b sh [TIME] b broke
    ");
    let output = env.run(&["tail", "--output", "a", "b", "a", "-i", "--grep", "^broke$"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 0
    -- stdout
    a sh [TIME] BROKE
    b sh [TIME] BROKE
    ");
}

#[test]
fn search_without_match_exits_1() {
    let env = volume();
    let output = env.run(&["tail", "--output", "--all", "--grep", "absent"]);
    assert_eq!(
        (output.code, output.stdout(), output.stderr()),
        (1, String::new(), String::new())
    );
    assert_eq!(env.run(&["tail", "--all", "--grep", "absent"]).code, 1);
    let empty = TestEnv::new();
    fs::create_dir_all(empty.path(".omne/var/runs")).unwrap();
    assert_eq!(empty.run(&["tail", "--all", "--grep", "x"]).code, 1);
    assert_eq!(env.run(&["tail", "none", "--grep", "x"]).code, 3);
}

#[test]
fn search_prints_context_with_separators() {
    let env = volume();
    let args = ["tail", "--output", "--all", "--grep", "^[28]$", "-C", "1"];
    assert_snapshot!(snapshot(&env, &env.run(&args)), @"
    exit 0
    -- stdout
    a sh [TIME] 1
    a sh [TIME] 2
    a sh [TIME] 3
    --
    a sh [TIME] 7
    a sh [TIME] 8
    a sh [TIME] 9
    --
    b sh [TIME] 1
    b sh [TIME] 2
    b sh [TIME] 3
    --
    b sh [TIME] 7
    b sh [TIME] 8
    b sh [TIME] 9
    ");
    assert_eq!(
        texts(&env, &["--grep", "^3$", "-A2"]),
        ["3", "4", "5", "3", "4", "5"]
    );
    let lines = found(&env, &["--output", "--grep", "^3$", "-B1"]);
    assert_eq!(lines[0]["context"], true);
    assert!(lines[1].get("context").is_none());
    assert_offsets(&env, &lines);
}

#[test]
fn search_follows_filters_of_output() {
    let env = volume();
    let lines = found(&env, &["--output", "--grep", "", "--stream", "stderr"]);
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["stream"] == "stderr"));
    assert_offsets(&env, &lines);
    let lines = found(&env, &["--output", "--grep", "[79]", "--stream", "stdout"]);
    assert_eq!(lines.len(), 4);
    assert_offsets(&env, &lines);
    assert_eq!(texts(&env, &["--grep", "broke", "--job", "sh"]).len(), 2);
    let code = |args: &[&str]| {
        let args = [&["tail", "--output", "--all", "--grep", "broke"], args].concat();
        env.run(&args).code
    };
    assert_eq!(code(&["--job", "other"]), 1);
    assert_eq!(code(&["--since", "2100-01-01"]), 1);
    assert_eq!(code(&["--until", "2100-01-01", "--since", "1h"]), 0);
    assert_eq!(code(&["--until", "2000-01-01"]), 1);
}

#[test]
fn search_keeps_non_utf8_bytes() {
    let env = TestEnv::new();
    let script = r"printf 'x\377\000y\n\033[31mred\033[0m\n10%%\r20%%'";
    env.ok(&["run", "-q", "--run", "it", "--", "sh", "-c", script]);
    let lines = found(&env, &["--output", "--grep", "x"]);
    assert_eq!(
        (&lines[0]["line"], &lines[0]["line_b64"]),
        (&"x\u{fffd}\0y".into(), &"eP8AeQ==".into())
    );
    let search = |args: &[&str]| {
        let args = [&["tail", "--output", "it", "--grep"], args].concat();
        let line = env.ok(&args).stdout;
        line.splitn(5, |byte| *byte == b' ')
            .last()
            .unwrap()
            .to_vec()
    };
    assert_eq!(search(&["x"]), b"x\xff\0y\n");
    let colored = |pattern| String::from_utf8(search(&[pattern, "--color", "always"])).unwrap();
    assert_eq!(colored("red"), "\x1b[1;31mred\x1b[0m\n");
    assert_eq!(colored("x"), "\x1b[1;31mx\x1b[0m\u{fffd}\\u{0}y\n");
    assert_eq!(
        colored("10"),
        "\x1b[1;31m10\x1b[0m%\\r20%\n",
        "what is overwritten is shown"
    );
}

#[test]
fn search_splits_overlong_lines() {
    let env = TestEnv::new();
    let script = "head -c 65536 /dev/zero | tr '\\0' a; echo; \
                  head -c 200000 /dev/zero | tr '\\0' b; echo c; echo d";
    env.ok(&["run", "-q", "--run", "it", "--", "sh", "-c", script]);
    let lines = found(&env, &["--output", "--grep", "[bcd]|^$"]);
    let place = |line: &Value| {
        let len = line["line"].as_str().unwrap().len();
        (line["offset"].as_u64().unwrap(), len)
    };
    let places: Vec<_> = lines.iter().map(place).collect();
    let (start, max) = (65_537, 65_536);
    assert_eq!(
        places,
        [
            (start, max),
            (start + 65_536, max),
            (start + 2 * 65_536, max),
            (start + 3 * 65_536, 200_001 - 3 * max),
            (start + 200_002, 1),
        ]
    );
    assert_offsets(&env, &lines);
}

#[test]
fn search_of_events_reads_sealed_segments() {
    let env = volume();
    env.ok(&["emit", "--run", "it", "--open", "needle", "size=7"]);
    env.ok(&["rotate", "it"]);
    env.ok(&["emit", "--run", "it", "other", "text=a needle"]);
    let lines = found(&env, &["--type", "note", "--grep", "needle"]);
    let files: Vec<_> = lines
        .iter()
        .map(|line| line["file"].as_str().unwrap())
        .collect();
    assert_eq!(
        files,
        ["events-00000000000000000000.jsonl.gz", "events.jsonl"]
    );
    assert!(
        lines
            .iter()
            .all(|line| line["stream"] == "events" && line["job_id"].is_null())
    );
    assert_offsets(&env, &lines[1..]);
    let stored = env.ok(&["tail", "it", "--json", "--type", "note"]).stdout();
    let stored: Vec<_> = stored.lines().collect();
    assert_eq!(
        lines
            .iter()
            .map(|line| line["line"].as_str().unwrap())
            .collect::<Vec<_>>(),
        stored
    );
    let output = env.run(&["tail", "it", "--type", "note", "--grep", "needle"]);
    assert_snapshot!(snapshot(&env, &output), @r#"
    exit 0
    -- stdout
    it - [TIME] note  needle  {"size":"7"}
    it - [TIME] note  other  {"text":"a needle"}
    "#);
    let output = env.run(&[
        "tail",
        "a",
        "--grep",
        r#""exit_code":0"#,
        "--type",
        "job_completed",
    ]);
    let line = output.stdout();
    assert!(line.contains(" ✓ completed  "), "{line}");
    assert!(line.contains(r#""attempt":1,"exit_code":0,"#), "{line}");
}

#[test]
fn search_of_events_has_context() {
    let env = TestEnv::new();
    env.ok(&["emit", "--run", "it", "--open", "start"]);
    env.run_with(
        &["emit", "--run", "it", "--lines"],
        b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n",
    );
    let args = [
        "tail",
        "it",
        "--type",
        "note",
        "--grep",
        r#""(two|six)""#,
        "-B1",
        "-A1",
    ];
    assert_snapshot!(snapshot(&env, &env.run(&args)), @r#"
    exit 0
    -- stdout
    it - [TIME] note  line  {"text":"one"}
    it - [TIME] note  line  {"text":"two"}
    it - [TIME] note  line  {"text":"three"}
    --
    it - [TIME] note  line  {"text":"five"}
    it - [TIME] note  line  {"text":"six"}
    it - [TIME] note  line  {"text":"seven"}
    "#);
}

#[test]
fn search_skips_damage_and_exits_5() {
    let env = volume();
    env.damage_event_3("a");
    let output = env.run(&["tail", "--all", "--grep", "run_opened"]);
    assert_eq!(output.code, 5);
    assert_eq!(
        output
            .stdout()
            .lines()
            .filter(|line| line.contains("run opened"))
            .count(),
        2
    );
    assert!(
        output.stderr().starts_with("warning: "),
        "{}",
        output.stderr()
    );
    assert_eq!(env.run(&["tail", "--all", "--grep", "absent"]).code, 5);
}

#[test]
fn search_rejects_bad_arguments() {
    let env = volume();
    for (args, hint) in [
        (&["--grep", "(x"][..], "put `\\` before"),
        (&["--grep", "x", "-f"], "grep --line-buffered"),
        (
            &["--grep", "x", "--until", "state=failed"],
            "give --until a time",
        ),
        (&["--grep", "x", "-n", "3"], "--since"),
        (&["--grep", "x", "--cursor-file", "c"], "--since"),
        (&["--grep", "x", "--output", "-t"], "--json"),
        (&["--output", "--json"], "--grep REGEX"),
    ] {
        let output = env.run(&[&["tail"], args].concat());
        assert_eq!(output.code, 2, "{args:?}");
        assert_one_error(&output);
        assert!(output.stderr().contains(hint), "{}", output.stderr());
    }
    assert_eq!(env.run(&["tail", "-i"]).code, 2);
    assert_eq!(
        env.run(&["tail", "--grep", "x", "--type", "note", "--output"])
            .code,
        2
    );
}

#[test]
fn search_of_many_runs_keeps_their_order() {
    let env = volume();
    let jobs = env.run_dir("a").join("jobs");
    for n in 0..100 {
        let copy = env.run_dir(&format!("copy-{n:03}")).join("jobs");
        fs::create_dir_all(&copy).unwrap();
        for file in ["sh.out", "sh.out.idx"] {
            fs::copy(jobs.join(file), copy.join(file)).unwrap();
        }
    }
    let lines = found(&env, &["--output", "--grep", "broke"]);
    let runs: Vec<_> = lines
        .iter()
        .map(|line| line["run_id"].as_str().unwrap())
        .collect();
    assert_eq!(runs.len(), 102);
    assert!(runs.is_sorted(), "{runs:?}");
    let output = env.sh("\"$RUNLOG\" tail --output --all --grep . | head -n 1");
    assert_eq!((output.code, output.stderr()), (0, String::new()));
}
