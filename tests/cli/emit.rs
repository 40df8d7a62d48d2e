//! `runlog emit`: single notes.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::checks::snapshot;
use crate::support::env::{TestEnv, finish};

/// Creates the open run `it` with one event.
fn opened() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    env
}

/// Returns the newest event of the run `it`.
fn last(env: &TestEnv) -> Value {
    env.events("it").pop().unwrap()
}

/// Returns the data of a note with these arguments.
fn data_of(args: &[&str]) -> Value {
    let env = opened();
    let args: Vec<_> = ["emit", "--run", "it", "note"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    env.ok(&args);
    last(&env)["data"].clone()
}

#[test]
fn emit_is_silent_and_stores_name() {
    let env = opened();
    let output = env.ok(&["emit", "--run", "it", "deployed to prod"]);
    assert_eq!(
        (output.stdout(), output.stderr()),
        (String::new(), String::new())
    );
    let note = last(&env);
    assert_eq!(
        (&note["type"], &note["name"]),
        (&"note".into(), &"deployed to prod".into())
    );
    assert!(
        note.get("data").is_none() && note.get("job_id").is_none(),
        "{note}"
    );
}

#[test]
fn emit_pairs_become_object_of_strings() {
    assert_eq!(
        data_of(&["a=1", "b=x=y", "c="]),
        json!({"a": "1", "b": "x=y", "c": ""})
    );
}

#[test]
fn emit_data_accepts_any_json() {
    for text in [
        "null",
        "true",
        "[1,2]",
        r#""text""#,
        r#"{"a":{"b":[]}}"#,
        "7",
    ] {
        assert_eq!(data_of(&["--data", text]).to_string(), text);
    }
}

#[test]
fn emit_merges_pairs_into_object_data() {
    assert_eq!(
        data_of(&["--data", r#"{"a":1}"#, "b=2"]),
        json!({"a": 1, "b": "2"})
    );
}

#[test]
fn emit_pairs_with_non_object_data_are_rejected() {
    let env = opened();
    let output = env.run(&["emit", "--run", "it", "n", "--data", "[1]", "b=2"]);
    assert_eq!(output.code, 2);
}

#[test]
fn emit_flattens_data_and_keeps_number_text() {
    let env = opened();
    let data = "{ \"n\" : 1.50,\n\t\"big\": 12345678901234567890123, \"e\": 1E+2 }";
    env.ok(&["emit", "--run", "it", "n", "--data", data]);
    let log = std::fs::read_to_string(env.log_path("it")).unwrap();
    let expected = r#""data":{"n":1.50,"big":12345678901234567890123,"e":1E+2}"#;
    assert!(log.contains(expected), "{log}");
}

#[test]
fn emit_invalid_data_creates_nothing() {
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    let long = format!("\"{}\"", "x".repeat(100_000));
    for data in ["{", "", "1 2", r#""\u0000""#, r#""\ud800""#, &deep, "NaN"] {
        let env = TestEnv::new();
        let output = env.run(&["emit", "--open", "--run", "it", "n", "--data", data]);
        assert_eq!(output.code, 2, "{data}: {}", output.stderr());
        assert!(
            output.stderr().starts_with("error: "),
            "{}",
            output.stderr()
        );
        assert!(!env.exists(".omne"), "{data}");
    }
    assert_eq!(data_of(&["--data", &long]).as_str().unwrap().len(), 100_000);
}

#[test]
fn emit_stores_depth_of_100() {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(data_of(&["--data", &deep]).to_string(), deep);
}

#[test]
fn open_creates_run_that_stays_open() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "mine", "first"]);
    env.ok(&["emit", "--open", "--run", "mine", "second"]);
    assert_eq!(env.types("mine"), ["run_opened", "note", "note"]);
    let status = env.status("mine");
    assert_eq!(
        (&status["state"], &status["name"]),
        (&"open".into(), &"mine".into())
    );
    env.ok(&["run", "--run", "mine", "--close"]);
    assert_eq!(env.status("mine")["state"], "completed");
}

#[test]
fn open_without_id_prints_new_id() {
    let env = TestEnv::new();
    let output = env.ok(&["emit", "--open", "first"]);
    assert_eq!(output.run_id(), env.only_run());
    assert_eq!(env.status("latest")["name"], "first");
}

#[test]
fn emit_inside_job_uses_its_run_and_job() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "--job",
        "build",
        "--",
        "sh",
        "-c",
        r#"cd / && "$RUNLOG" emit step n=1"#,
    ]);
    let note = env.event("note");
    assert_eq!(
        (&note["job_id"], &note["data"]),
        (&"build".into(), &json!({"n": "1"}))
    );
}

#[test]
fn emit_to_other_run_inside_job_has_no_job() {
    let env = opened();
    env.ok(&["run", "--", "sh", "-c", r#""$RUNLOG" emit --run it step"#]);
    assert!(last(&env).get("job_id").is_none(), "{}", last(&env));
}

#[test]
fn emit_accepts_explicit_job() {
    let env = opened();
    env.ok(&["emit", "--run", "it", "--job", "j1", "x"]);
    assert_eq!(last(&env)["job_id"], "j1");
    // A note does not create a job.
    assert_eq!(env.status("it")["jobs_total"], 0);
}

#[test]
fn emit_without_run_is_usage_error() {
    let env = opened();
    assert_snapshot!(snapshot(&env, &env.run(&["emit", "x"])), @"
    exit 2
    -- stderr
    error: no run given
    hint: name a run with --run ID, create one with --open, or call it inside a job
    ");
}

#[test]
fn emit_to_closed_run_exits_1() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--close", "--", "true"]);
    let before = env.events("it").len();
    assert_snapshot!(snapshot(&env, &env.run(&["emit", "--run", "it", "late"])), @"
    exit 1
    -- stderr
    error: run `it` is closed
    hint: start another run; a closed run accepts no more jobs or notes
    ");
    let output = env.run_with(&["emit", "--run", "it", "--lines"], b"late\n");
    assert_eq!(output.code, 1);
    assert_eq!(env.run(&["emit", "--open", "--run", "it", "late"]).code, 1);
    assert_eq!(env.events("it").len(), before);
}

#[test]
fn emit_to_unknown_run_exits_3() {
    let env = opened();
    assert_snapshot!(snapshot(&env, &env.run(&["emit", "--run", "nope", "x"])), @"
    exit 3
    -- stderr
    error: no run `nope`
    hint: list the runs with `runlog status`, or removed ones with --retired
    ");
    assert_eq!(env.runs(), ["it"]);
}

#[test]
fn emit_rejects_run_prefix() {
    let env = opened();
    assert_eq!(env.run(&["emit", "--run", "i", "x"]).code, 3);
    assert_eq!(env.run(&["emit", "--run", "latest", "x"]).code, 2);
}

#[test]
fn emit_without_sync_is_stored() {
    let env = opened();
    env.ok(&["emit", "--run", "it", "--no-sync", "fast"]);
    assert_eq!(last(&env)["name"], "fast");
}

#[test]
fn emit_with_closed_stdout_keeps_read_lines() {
    let env = opened();
    let script = r#"printf '1\n2\n3\n' | { "$RUNLOG" emit --run it --lines --ack; } | true"#;
    let output = finish(env.program("sh").args(["-c", script]));
    assert_eq!(output.stderr(), "");
    assert_eq!(env.events_of_type("it", "note").len(), 4);
}

#[test]
fn emit_needs_name() {
    let env = opened();
    let output = env.run(&["emit", "--run", "it", ""]);
    let expected = "error: the name of the note is empty\n\
                    hint: put the name first, as in `runlog emit progress percent=50`\n";
    assert_eq!((output.code, output.stderr().as_str()), (2, expected));
    assert_eq!(env.run(&["emit", "--open", "--run", "new", ""]).code, 2);
    assert_eq!(env.runs(), ["it"]);
}
