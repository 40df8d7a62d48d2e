//! `run --again`: runs a recorded job, if the record is certain.

use std::fs;

use serde_json::{Value, json};

use crate::support::checks::assert_one_error;
use crate::support::env::{Output, TestEnv};
use crate::support::segments;

/// Runs `run --again` with these arguments, and returns the new run.
pub(crate) fn again(env: &TestEnv, args: &[&str]) -> (Output, String) {
    let before = env.runs();
    let output = env.run(&[&["run", "--again"], args].concat());
    let mut new: Vec<_> = env.runs();
    new.retain(|run| !before.contains(run));
    assert_eq!(new.len(), 1, "{}", output.stderr());
    let run = new.remove(0);
    env.ok(&["replay", "--verify", &run]);
    (output, run)
}

/// Asserts that `run --again` with these arguments starts nothing, and returns what it says.
pub(crate) fn refused(env: &TestEnv, code: i32, args: &[&str]) -> String {
    let before = env.runs();
    let output = env.run(&[&["run", "--again"], args].concat());
    assert_eq!(output.code, code, "{}", output.stderr());
    assert_eq!(env.runs(), before);
    assert_one_error(&output);
    output.stderr()
}

fn submitted(env: &TestEnv, run: &str) -> Value {
    env.events_of_type(run, "job_submitted").remove(0)
}

/// Opens the run `it` with the jobs a and c, which fail, and b.
pub(crate) fn shared_run(env: &TestEnv) {
    for (job, script) in [
        ("a", "echo a; exit 4"),
        ("b", "true"),
        ("c", "echo c; exit 5"),
    ] {
        env.run(&["run", "-q", "--run", "it", "--job", job, "sh", "-c", script]);
    }
}

#[test]
fn everything_recorded_is_run_again() {
    let env = TestEnv::new();
    fs::create_dir(env.path("a dir")).unwrap();
    let options = [
        "run",
        "-q",
        "--name",
        "it ü",
        "--job",
        "work",
        "--cwd",
        "a dir",
        "--input",
        "ref= x=y ",
        "--label",
        "team=infra",
        "--env",
        "WHO=me",
        "--record-env",
        "--timeout",
        "1m",
        "--retries",
        "1",
        "--retry-delay",
        "1ms",
        "--retry-backoff=1.5",
        "--retry-max-delay=1s",
        "--retry-on=3,100-110,timeout",
        "--retry-jitter",
        "--sample=1m",
        "--require-free-disk=1K",
        "--require-free-mem=1K",
        "--max-load=1000.5",
        "--fail-if-shorter=0.002",
        "--fail-if-longer=1h",
        "--kill-after=5s",
        "--rollback",
        "echo undone >>../log",
        "--probe",
        "disk=file:.",
        "--require",
        "disk",
        "--lock=it",
        "--no-capture",
        "--on-failure",
        "echo failed >>../log",
        "--on-end",
        "echo ended >>../log",
    ];
    let job = [
        "--",
        "sh",
        "-c",
        "echo $WHO $1 >>../log; exit 3",
        "x",
        "an argument\n",
    ];
    assert_eq!(env.run(&[&options[..], &job].concat()).code, 3);
    let old = env.only_run();
    let log = fs::read_to_string(env.path("log")).unwrap();
    let (output, new) = again(&env, &[&old]);
    assert_eq!(output.code, 3);
    let twice = fs::read_to_string(env.path("log")).unwrap();
    assert_eq!(twice, log.repeat(2));
    let (mut was, mut is) = (submitted(&env, &old), submitted(&env, &new));
    assert_eq!(is["rerun_of"], Value::from(&*old));
    assert_eq!(is["rerun_of_job"], "work");
    for own in [
        "seq",
        "id",
        "ts",
        "run_id",
        "rerun_of",
        "rerun_of_job",
        "supervisor",
        "front",
        "crc",
        "telemetry_before",
        "process_before",
    ] {
        was.as_object_mut().unwrap().remove(own);
        is.as_object_mut().unwrap().remove(own);
    }
    assert_eq!(is, was);
    let options = json!({
        "retry_on": ["3", "100-110", "timeout"], "retry_delay_ms": 1, "retry_backoff": 1.5,
        "retry_max_delay_ms": 1000, "retry_jitter": true, "sample_ms": 60_000,
        "require_free_disk_bytes": 1024, "require_free_mem_bytes": 1024, "max_load": 1000.5,
        "fail_if_shorter_ms": 2, "fail_if_longer_ms": 3_600_000, "kill_after_ms": 5000,
    });
    assert_eq!(was["options"], options);
    assert_eq!(env.status(&new)["name"], "it ü");
}

#[test]
fn given_options_precede_recorded_ones() {
    let env = TestEnv::new();
    let recorded = [
        "--retries=2",
        "--retry-delay=0",
        "--retry-on=9",
        "--capture-limit=9",
    ];
    env.run(&[&["run", "-q"], &recorded[..], &["--", "sh", "-c", "exit 9"]].concat());
    let old = env.only_run();
    let (_, new) = again(&env, &[&old, "--retry-on=8", "--capture-limit=1K"]);
    assert_eq!(env.events_of_type(&old, "job_started").len(), 3);
    assert_eq!(env.events_of_type(&new, "job_started").len(), 1);
    let options = submitted(&env, &new)["options"].clone();
    assert_eq!(
        options,
        json!({
            "retry_on": ["8"], "retry_delay_ms": 0, "retry_backoff": 1.0, "retry_jitter": false,
            "capture_limit_bytes": 1024,
        })
    );
    // The recorded number of retries counts, and without one a flag about them is refused.
    env.ok(&["run", "-q", "--run", "plain", "--close", "true"]);
    assert!(submitted(&env, "plain").get("options").is_none());
    let why = refused(&env, 2, &["plain", "--retry-on=8"]);
    assert!(
        why.contains("--retry-on has no effect without --retries"),
        "{why}"
    );
}

#[test]
fn secrets_remain_masked() {
    let env = TestEnv::new();
    let secret = ("KEY", "hunter2hunter2");
    let flags = ["--redact=ENV:KEY", "--redact-passed-on"];
    let job = ["sh", "-c", "echo $KEY; \"$RUNLOG\" emit it key=$KEY"];
    let mut first = env.command(&[&["run", "--name=it"], &flags[..], &job].concat());
    assert!(first.env(secret.0, secret.1).status().unwrap().success());
    let old = env.only_run();
    let mut second = env.command(&["run", "--again", "it"]);
    let output = second.env(secret.0, secret.1).output().unwrap();
    assert_eq!(output.stdout, b"***\n");
    for run in env.runs() {
        assert_eq!(env.ok(&["tail", &run, "--output"]).stdout(), "***\n");
        assert_eq!(env.events_of_type(&run, "note")[0]["data"]["key"], "***");
        assert_eq!(
            submitted(&env, &run)["options"],
            json!({"redact_vars": ["KEY"], "redact_passed_on": true})
        );
    }
    // Without the variable, nothing could be masked.
    let why = refused(&env, 125, &[&old]);
    assert!(why.contains("needs the variable KEY"), "{why}");
}

#[test]
fn patterns_of_secrets_are_given_again() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--redact=hunter2", "--", "echo", "hello"]);
    let old = env.only_run();
    assert_eq!(submitted(&env, &old)["options"]["redact_patterns"], 1);
    let why = refused(&env, 125, &[&old]);
    assert!(why.contains("hint: give them again with --redact"), "{why}");
    again(&env, &[&old, "--redact=hunter3"]);
}

#[test]
fn both_runs_name_each_other() {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--name", "it", "false"]);
    let old = env.only_run();
    let before = env.status(&old);
    let (output, new) = again(&env, &["it"]);
    assert_eq!(output.code, 1);
    let opened = env.events_of_type(&new, "run_opened").remove(0);
    assert_eq!(opened["rerun_of"], Value::from(&*old));
    let link = env.events(&old).pop().unwrap();
    assert_eq!(link["type"], "job_rerun");
    assert_eq!(link["rerun_by"], Value::from(&*new));
    assert_eq!(link["rerun_by_job"], "it");
    env.ok(&["replay", "--verify", &old]);
    // Nothing else changed in the old run.
    let mut after = env.status(&old);
    assert_eq!(after["rerun_by"], Value::from(&*new));
    for changed in ["rerun_by", "events", "bytes"] {
        after[changed] = before[changed].clone();
    }
    assert_eq!(after, before);
    let shown = env.ok(&["status", &new]).stdout();
    assert!(shown.contains(&format!("rerun of  {old}\n")), "{shown}");
    let shown = env.ok(&["status", &old]).stdout();
    assert!(shown.contains(&format!("rerun by  {new}\n")), "{shown}");
    let shown = env.ok(&["replay", &old]).stdout();
    assert!(
        shown.contains(&format!("run again     it  as it of {new}")),
        "{shown}"
    );
    // A link survives the rotation of the log.
    segments::compress(&env, &old);
    let (_, third) = again(&env, &["it~1"]);
    assert_eq!(env.status(&old)["rerun_by"], Value::from(&*third));
    assert_eq!(env.status(&third)["rerun_of"], Value::from(&*old));
}

#[test]
fn typed_options_override_recorded_ones() {
    let env = TestEnv::new();
    let options = [
        "run",
        "-q",
        "--name",
        "it",
        "--timeout",
        "1m",
        "--label",
        "a=1",
    ];
    let options = [
        &options[..],
        &["--label", "b=1", "--lock", "--on-end", "touch old"],
    ]
    .concat();
    env.ok(&[&options[..], &["sh", "-c", "pwd; echo $WHO"]].concat());
    fs::create_dir(env.path("dir")).unwrap();
    let typed = [
        "latest",
        "--label",
        "b=2",
        "--timeout",
        "0",
        "--no-lock",
        "--cwd",
        "dir",
    ];
    let typed = [
        &typed[..],
        &["--env", "WHO=me", "--name", "new", "--on-end", "true"],
    ]
    .concat();
    fs::remove_file(env.path("old")).unwrap();
    let (output, run) = again(&env, &typed);
    assert_eq!(
        output.stdout(),
        format!("{}\nme\n", env.path("dir").display())
    );
    let event = submitted(&env, &run);
    assert_eq!(event["labels"], json!({"a": "1", "b": "2"}));
    assert!(event.get("timeout_ms").is_none() && event.get("lock").is_none());
    assert_eq!(env.status(&run)["name"], "new");
    assert!(!env.exists("dir/old"));
}

#[test]
fn arguments_are_run_byte_for_byte() {
    let env = TestEnv::new();
    env.sh(r#"$RUNLOG run -q --name it -- printf '%s|' '' '--' -q "$(printf '\377')" ' a '"#);
    let (output, run) = again(&env, &["it"]);
    assert_eq!(output.stdout, b"|--|-q|\xff| a |");
    assert_eq!(submitted(&env, &run)["argv_b64"][5], "/w==");
}

#[test]
fn secret_variables_get_current_values() {
    let env = TestEnv::new();
    let job = r#"echo "$1 ${API_TOKEN}""#;
    env.sh(&format!(
        "API_TOKEN=first-Value1 $RUNLOG run -q --name it -- sh -c '{job}' x --t=first-Value1"
    ));
    assert_eq!(
        submitted(&env, &env.only_run())["argv_vars"],
        json!(["API_TOKEN"])
    );
    let said = refused(&env, 125, &["it"]);
    assert!(
        said.contains("variable API_TOKEN, whose value was not recorded"),
        "{said}"
    );
    let output =
        env.sh("API_TOKEN=second-Value2 $RUNLOG run -q --again it; $RUNLOG tail --output it");
    assert_eq!(output.stdout(), "--t=*** ***\n");
    let (output, run) = again(&env, &["it", "--env", "API_TOKEN=third-Value3"]);
    assert_eq!(output.stdout(), "--t=third-Value3 third-Value3\n");
    assert_eq!(submitted(&env, &run)["argv"][4], "--t=${API_TOKEN}");
}

#[test]
fn secret_variables_in_record_get_current_values() {
    let env = TestEnv::new();
    let script = "$RUNLOG run -q --name it --record-env --env API_TOKEN --env URL=u:first-Value1 \
                  -- sh -c 'echo $API_TOKEN $URL'";
    env.sh(&format!("export API_TOKEN=first-Value1; {script}"));
    refused(&env, 125, &["it"]);
    let (output, _) = again(&env, &["it", "--env", "API_TOKEN=second-Value2"]);
    assert_eq!(output.stdout(), "second-Value2 u:second-Value2\n");
}

#[test]
fn typed_reference_to_variable_is_unchanged() {
    let env = TestEnv::new();
    env.sh("API_TOKEN=first-Value1 $RUNLOG run -q --name it -- echo '${API_TOKEN}'");
    let (output, _) = again(&env, &["it"]);
    assert_eq!(output.stdout(), "${API_TOKEN}\n");
}

#[test]
fn run_with_several_jobs_needs_a_choice() {
    let env = TestEnv::new();
    shared_run(&env);
    let said = refused(&env, 2, &["it"]);
    assert!(
        said.contains("run `it` has several jobs: a, b, c"),
        "{said}"
    );
    let said = refused(&env, 2, &["it", "--job", "d"]);
    assert!(
        said.contains("run `it` has no job `d`; it has a, b, c"),
        "{said}"
    );
    let (output, run) = again(&env, &["it", "--job", "c"]);
    assert_eq!((output.code, &*output.stdout()), (5, "c\n"));
    assert_eq!(env.status(&run)["jobs"][0]["job_id"], "c");
    assert_eq!(env.status(&run)["state"], "failed");
}

#[test]
fn job_can_join_a_run_again() {
    let env = TestEnv::new();
    shared_run(&env);
    let output = env.run(&["run", "-q", "--again", "it", "--job", "a", "--run", "it"]);
    assert_eq!(output.code, 4);
    let event = env.events_of_type("it", "job_submitted").remove(3);
    assert_eq!(
        (&event["job_id"], &event["rerun_of"]),
        (&json!("a-4"), &json!("it"))
    );
    env.ok(&["replay", "--verify", "it"]);
}

#[test]
fn missing_directory_is_reported_and_can_be_replaced() {
    let env = TestEnv::new();
    fs::create_dir(env.path("dir")).unwrap();
    env.ok(&["run", "-q", "--name", "it", "--cwd", "dir", "pwd"]);
    fs::remove_dir(env.path("dir")).unwrap();
    let (output, _) = again(&env, &["it"]);
    assert_eq!(output.code, 125);
    let said = output.stderr();
    assert!(
        said.contains("hint: use another directory with --cwd"),
        "{said}"
    );
    let (output, _) = again(&env, &["it", "--cwd", "."]);
    assert_eq!(output.stdout(), format!("{}\n", env.root().display()));
}
