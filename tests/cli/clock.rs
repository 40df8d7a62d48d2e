//! The wall clock is set while a job runs: all reported durations agree.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::env::{TestEnv, finish};
use crate::support::process::Background;

/// A library that adds the seconds in the file `$STEP_FILE` to the wall clock.
const STEPPED_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, ts);
    const char *name = getenv("STEP_FILE");
    FILE *file = id == CLOCK_REALTIME && name ? fopen(name, "r") : NULL;
    long seconds = 0;
    if (file) {
        if (fscanf(file, "%ld", &seconds) == 1)
            ts->tv_sec += seconds;
        fclose(file);
    }
    return result;
}
"#;

/// Builds the library in the directory of the test; prints `skipped: …` if that is not possible.
fn build_clock(env: &TestEnv) -> bool {
    let source = env.write("clock.c", STEPPED_CLOCK);
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(env.path("clock.so"));
    let built = compiler.arg(source).arg("-ldl").status();
    let is_built = built.is_ok_and(|status| status.success());
    if !is_built {
        eprintln!("skipped: no C compiler");
    }
    is_built
}

/// Returns `runlog` with the stepped clock.
fn with_clock(env: &TestEnv, args: &[&str]) -> Command {
    let mut command = env.command(args);
    command.env("LD_PRELOAD", env.path("clock.so"));
    command.env("STEP_FILE", env.path("step"));
    command
}

/// Returns the milliseconds on the time axis of the page of a run.
fn axis_of_page(env: &TestEnv) -> f64 {
    let page = env.ok(&["replay", "it", "--export", "html"]).stdout();
    let number = |key: &str| {
        let (_, rest) = page.rsplit_once(&format!("\"{key}\":")).unwrap();
        let digits = rest.split([',', '}']).next().unwrap();
        digits.parse::<f64>().unwrap()
    };
    number("end") - number("start")
}

/// Runs a job that sets the clock by `seconds` between its lines.
fn run_with_step(env: &TestEnv, seconds: i64) {
    let script =
        format!("echo one; sleep 0.3; echo {seconds} > step; echo two; sleep 0.3; echo three");
    let args = ["run", "--run", "it", "--close", "--", "sh", "-c", &script];
    assert_eq!(finish(&mut with_clock(env, &args)).code, 0);
}

fn milliseconds(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn durations_ignore_changes_of_wall_clock() {
    for seconds in [7_200, -7_200] {
        let env = TestEnv::new();
        if !build_clock(&env) {
            return;
        }
        run_with_step(&env, seconds);
        let status = env.status("it");
        let run = milliseconds(&status["duration_ms"]);
        let job = milliseconds(&status["jobs"][0]["duration_ms"]);
        assert!(
            (600..60_000).contains(&job) && (job..60_000).contains(&run),
            "{status}"
        );
        assert_eq!(milliseconds(&env.event("run_closed")["duration_ms"]), run);
        let seconds = |ms: u64| ms as f64 / 1e3;
        // Durations are rounded to milliseconds.
        let junit = env.ok(&["replay", "it", "--export", "junit"]).stdout();
        assert!(
            junit.contains(&format!("time=\"{:.3}\"", seconds(run))),
            "{junit}"
        );
        let trace = env.ok(&["replay", "it", "--export", "chrome-trace"]);
        let trace: Value = serde_json::from_slice(&trace.stdout).unwrap();
        let slices = trace["traceEvents"].as_array().unwrap().iter();
        let slices: Vec<_> = slices.filter(|event| event["ph"] == "X").collect();
        let length = |name: &str| {
            milliseconds(&slices.iter().find(|s| s["name"] == name).unwrap()["dur"]) / 1_000
        };
        assert_eq!(length("sh"), job);
        // The run contains the job, whose end is written a little later than it is measured.
        assert!((run..60_000).contains(&length("it")), "{trace}");
        check_otlp(&env);
        let axis = axis_of_page(&env);
        assert!((run as f64..60_000.0).contains(&axis), "{axis}");
        let cast = env.ok(&["replay", "it", "--export", "asciicast"]).stdout();
        let lines = cast
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str(line).unwrap());
        let times: Vec<f64> = lines.map(|line: Value| line[0].as_f64().unwrap()).collect();
        // A marker, three lines and the end.
        assert_eq!(times.len(), 5, "{cast}");
        assert!(
            times[2] - times[1] >= 0.25 && times[3] - times[2] >= 0.25,
            "{cast}"
        );
        assert!((times[4] - seconds(run)).abs() < 0.01, "{cast}");
        let timeline = env.ok(&["replay", "it"]).stdout();
        let closed = timeline
            .lines()
            .find(|line| line.contains("run closed"))
            .unwrap();
        let offset = closed.trim_start().strip_prefix('+').unwrap();
        let offset: f64 = offset.split('s').next().unwrap().parse().unwrap();
        assert!((offset - seconds(run)).abs() < 2.0, "{timeline}");
        env.ok(&["replay", "it", "--verify"]);
    }
}

/// Checks that each span contains its children and the log records of its job.
fn check_otlp(env: &TestEnv) {
    let stdout = env.ok(&["replay", "it", "--export", "otlp"]).stdout();
    let lines = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let all = |at: &str| {
        let found = lines.iter().filter_map(|line| line.pointer(at)?.as_array());
        found.flatten().cloned().collect::<Vec<_>>()
    };
    let spans = all("/resourceSpans/0/scopeSpans/0/spans");
    let time = |of: &Value, key: &str| of[key].as_str().unwrap().parse::<u64>().unwrap();
    let (start, end) = ("startTimeUnixNano", "endTimeUnixNano");
    let by_id = |id: &Value| spans.iter().find(|span| span["spanId"] == *id);
    let mut children = 0;
    for span in &spans {
        assert!(
            time(span, end) - time(span, start) < 60_000_000_000,
            "{span}"
        );
        if let Some(parent) = by_id(&span["parentSpanId"]) {
            children += 1;
            assert!(time(parent, start) <= time(span, start), "{parent}\n{span}");
            assert!(time(span, end) <= time(parent, end), "{parent}\n{span}");
        }
    }
    assert!(children >= 3, "{spans:?}");
    let records = all("/resourceLogs/0/scopeLogs/0/logRecords");
    assert!(records.len() > 5);
    let root = spans
        .iter()
        .find(|span| by_id(&span["parentSpanId"]).is_none());
    let root = time(root.unwrap(), start);
    for record in records {
        let after = time(&record, "timeUnixNano").checked_sub(root);
        assert!(after.is_some_and(|ns| ns < 60_000_000_000), "{record}");
    }
}

#[test]
fn running_job_lasts_until_now_despite_change_of_wall_clock() {
    let env = TestEnv::new();
    if !build_clock(&env) {
        return;
    }
    let script = "echo 7200 > new; mv new step; until [ -e end ]; do sleep 0.05; done";
    let args = ["run", "-q", "--run", "it", "--", "sh", "-c", script];
    let job = Background::new(&mut with_clock(&env, &args));
    env.wait_for_file("step");
    env.wait_for("job_started");
    let args = ["replay", "it", "--export", "chrome-trace"];
    let trace = finish(&mut with_clock(&env, &args));
    env.write("end", "");
    assert_eq!(job.wait().code, 0);
    let trace: Value = serde_json::from_slice(&trace.stdout).unwrap();
    let slices = trace["traceEvents"].as_array().unwrap().iter();
    let slices: Vec<_> = slices.filter(|event| event["ph"] == "X").collect();
    assert!(slices.len() >= 2, "{trace}");
    for slice in slices {
        assert!(milliseconds(&slice["dur"]) < 60_000_000, "{slice}");
    }
}

#[test]
fn rotation_does_not_prolong_run() {
    let env = TestEnv::new();
    if !build_clock(&env) {
        return;
    }
    env.ok(&["run", "-q", "--run", "it", "--close", "--", "true"]);
    env.write("step", "3600");
    assert_eq!(finish(&mut with_clock(&env, &["rotate", "it"])).code, 0);
    assert!(axis_of_page(&env) < 60_000.0);
    // An hour would take 18 s.
    let start = Instant::now();
    env.ok(&["replay", "it", "--speed", "200"]);
    assert!(start.elapsed() < Duration::from_secs(15));
}
