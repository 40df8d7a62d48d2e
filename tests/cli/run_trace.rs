//! Distributed traces: the caller's trace in the environment reaches the job, as its parent.

use serde_json::{Value, json};

use crate::support::env::{TestEnv, finish};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Runs `runlog run ARGS` with these variables. It must exit with 0.
#[track_caller]
fn run(env: &TestEnv, variables: &[(&str, &str)], args: &[&str]) -> String {
    let mut command = env.command(&[&["run", "-n", "it"], args].concat());
    let output = finish(command.envs(variables.iter().copied()));
    assert_eq!(output.code, 0, "{}", output.stderr());
    output.stdout()
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Returns `trace` of the only event of this type.
fn trace_of(env: &TestEnv, run: &str, event_type: &str) -> Value {
    env.events_of_type(run, event_type)[0]["trace"].clone()
}

#[test]
fn job_is_child_of_caller() {
    let env = TestEnv::new();
    let parent = parent("01");
    let variables = [
        ("TRACEPARENT", &*parent),
        ("TRACESTATE", "congo=t61rcWkgMzE"),
        ("BAGGAGE", "user=42"),
    ];
    let script = "echo \"$TRACEPARENT $TRACESTATE $BAGGAGE\"";
    let printed = run(&env, &variables, &["sh", "-c", script]);
    let id = env.only_run();
    let opened = trace_of(&env, &id, "run_opened");
    let submitted = trace_of(&env, &id, "job_submitted");
    let (run_span, job_span) = (&opened["span_id"], &submitted["span_id"]);
    assert_ne!(run_span, job_span);
    let expected = json!({
        "trace_id": TRACE, "span_id": run_span, "parent_span_id": CALLER, "sampled": true,
        "tracestate": "congo=t61rcWkgMzE",
    });
    assert_eq!(opened, expected);
    assert_eq!(submitted["parent_span_id"], *run_span);
    let job_span = job_span.as_str().unwrap();
    assert_eq!(
        printed,
        format!("00-{TRACE}-{job_span}-01 congo=t61rcWkgMzE user=42\n")
    );
    assert_eq!(env.status("latest")["trace_id"], TRACE);
    assert!(env.ok(&["status", "latest"]).stdout().contains(TRACE));
}

#[test]
fn sampled_flag_is_kept() {
    let env = TestEnv::new();
    let script = ["sh", "-c", "echo ${TRACEPARENT##*-}"];
    for (flags, expected) in [("00", "00\n"), ("01", "01\n"), ("03", "01\n")] {
        let parent = parent(flags);
        assert_eq!(run(&env, &[("TRACEPARENT", &parent)], &script), expected);
    }
}

#[test]
fn invalid_parent_changes_nothing() {
    let env = TestEnv::new();
    for invalid in [
        "",
        "junk",
        &parent("01").replacen("00-", "ff-", 1),
        &parent("01").replace(TRACE, &"0".repeat(32)),
        &parent("01").replace(CALLER, &"0".repeat(16)),
        &format!("{}0", parent("01")),
    ] {
        let variables = [("TRACEPARENT", invalid), ("TRACESTATE", "a=1")];
        let printed = run(&env, &variables, &["printenv", "TRACEPARENT", "TRACESTATE"]);
        assert_eq!(printed, format!("{invalid}\na=1\n"));
        assert_eq!(env.status("latest")["trace_id"], Value::Null, "{invalid}");
    }
}

#[test]
fn later_version_is_continued() {
    let env = TestEnv::new();
    let parent = format!("42-{TRACE}-{CALLER}-01-what-is-to-come");
    let printed = run(
        &env,
        &[("TRACEPARENT", &parent)],
        &["printenv", "TRACEPARENT"],
    );
    assert!(printed.starts_with(&format!("00-{TRACE}-")), "{printed}");
}

#[test]
fn job_without_parent_has_no_trace() {
    let env = TestEnv::new();
    let script = ["sh", "-c", "echo ${TRACEPARENT-none}"];
    assert_eq!(run(&env, &[], &script), "none\n");
    let opened = env.event("run_opened");
    assert!(
        opened.get("trace").is_none() && opened.get("parent").is_none(),
        "{opened}"
    );
    // With `--trace`, the job gets a new trace.
    let printed = run(&env, &[], &[&["--trace"][..], &script].concat());
    let id = env.status("latest")["run_id"].as_str().unwrap().to_owned();
    let job = trace_of(&env, &id, "job_submitted");
    let [trace, span] = ["trace_id", "span_id"].map(|key| job[key].as_str().unwrap().to_owned());
    assert_eq!(printed, format!("00-{trace}-{span}-01\n"));
    let opened = trace_of(&env, &id, "run_opened");
    assert_eq!(opened["parent_span_id"], Value::Null);
    assert_eq!(job["parent_span_id"], opened["span_id"]);
}

#[test]
fn parent_may_be_set_for_job() {
    let env = TestEnv::new();
    let set = format!("TRACEPARENT={}", parent("01"));
    let printed = run(&env, &[], &["--env", &set, "printenv", "TRACEPARENT"]);
    let submitted = trace_of(&env, &env.only_run(), "job_submitted");
    assert_eq!(submitted["trace_id"], TRACE);
    assert!(
        printed.contains(submitted["span_id"].as_str().unwrap()),
        "{printed}"
    );
}

#[test]
fn nested_run_is_child_and_names_outer_job() {
    let env = TestEnv::new();
    let parent = parent("01");
    let inner = ["sh", "-c", "\"$RUNLOG\" run -q -n inner true"];
    run(&env, &[("TRACEPARENT", &parent)], &inner);
    let [inner, outer] = ["inner", "it"].map(|name| env.status(name));
    let outer_run = outer["run_id"].as_str().unwrap();
    assert_eq!(
        inner["parent"],
        json!({"run_id": outer_run, "job_id": "it"})
    );
    assert_eq!(outer["parent"], Value::Null);
    let outer_job = trace_of(&env, outer_run, "job_submitted");
    let opened = trace_of(&env, inner["run_id"].as_str().unwrap(), "run_opened");
    assert_eq!(opened["trace_id"], TRACE);
    assert_eq!(opened["parent_span_id"], outer_job["span_id"]);
    let shown = env.ok(&["status", "inner"]).stdout();
    assert!(
        shown.contains(&format!("parent    job it of run {outer_run}\n")),
        "{shown}"
    );
}

/// Returns all spans of an export by name.
fn spans(env: &TestEnv, run: &str) -> Vec<Value> {
    let lines = env.json_lines(&["replay", run, "--export", "otlp"]);
    let spans = lines
        .iter()
        .filter_map(|line| line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array());
    spans.flatten().cloned().collect()
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    found.map_or(&Value::Null, |attribute| &attribute["value"]["stringValue"])
}

#[test]
fn export_has_ids_of_trace() {
    let env = TestEnv::new();
    let parent = parent("01");
    run(
        &env,
        &[("TRACEPARENT", &parent), ("TRACESTATE", "a=1")],
        &["true"],
    );
    let submitted = trace_of(&env, &env.only_run(), "job_submitted");
    let spans = spans(&env, "it");
    let span = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    assert!(
        spans
            .iter()
            .all(|span| span["traceId"] == TRACE && span["traceState"] == "a=1")
    );
    let (root, job, attempt) = (span("RUN it"), span("it"), span("attempt 1"));
    assert_eq!(root["parentSpanId"], CALLER);
    assert_eq!(job["parentSpanId"], root["spanId"]);
    assert_eq!(job["spanId"], submitted["span_id"]);
    assert_eq!(attempt["parentSpanId"], job["spanId"]);
    assert_eq!(attribute(root, "cicd.pipeline.result"), "success");
    assert_eq!(attribute(job, "cicd.pipeline.task.run.result"), "success");
    assert_eq!(attribute(job, "error.type"), &Value::Null);
}

#[test]
fn jobs_of_other_callers_stay_in_their_traces() {
    let env = TestEnv::new();
    let callers = ["1", "2"].map(|n| parent("01").replace('b', n));
    for (n, parent) in callers.iter().enumerate() {
        let job = format!("job{n}");
        let args = ["--run", "shared", "--job", &job, "true"];
        run(&env, &[("TRACEPARENT", parent)], &args);
    }
    env.ok(&["run", "--run", "shared", "--job", "plain", "true"]);
    let spans = spans(&env, "shared");
    let span = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let root = span("RUN it");
    assert_eq!(span("job0")["traceId"], root["traceId"]);
    assert_eq!(span("job0")["parentSpanId"], root["spanId"]);
    assert_eq!(span("plain")["parentSpanId"], root["spanId"]);
    assert_eq!(span("job1")["traceId"], TRACE.replace('b', "2"));
    assert_eq!(span("job1")["parentSpanId"], CALLER.replace('b', "2"));
}

#[test]
fn results_follow_semantic_conventions() {
    let env = TestEnv::new();
    for (args, result, error_type) in [
        (&["sh", "-c", "exit 3"][..], "failure", "exit"),
        (&["sh", "-c", "kill -9 $$"], "failure", "signal"),
        (&["--timeout", "10ms", "sleep", "60"], "timeout", "timeout"),
        (
            &["--max-load", "0", "--require-free-mem", "999T", "true"],
            "skip",
            "resource_limit",
        ),
        (&["no-such-command"], "error", "not_found"),
    ] {
        env.run(&[&["run", "-n", "it", "--job", "job"], args].concat());
        let spans = spans(&env, "latest");
        let span = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
        let (root, job) = (span("RUN it"), span("job"));
        assert_eq!(attribute(root, "cicd.pipeline.result"), result, "{args:?}");
        assert_eq!(attribute(job, "cicd.pipeline.task.run.result"), result);
        assert_eq!(attribute(job, "cicd.pipeline.task.name"), "job");
        assert_eq!(attribute(job, "error.type"), error_type);
    }
}
