//! The wall clock is set while a job runs: all reported durations agree.

use std::process::Command;

use serde_json::Value;

use crate::support::env::{TestEnv, finish};

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

/// Runs a job that sets the clock by `seconds` between its lines.
fn run_with_step(env: &TestEnv, seconds: i64) {
    let script =
        format!("echo one; sleep 0.3; echo {seconds} > step; echo two; sleep 0.3; echo three");
    let mut command = env.command(&["run", "--run", "it", "--close", "--", "sh", "-c", &script]);
    command.env("LD_PRELOAD", env.path("clock.so"));
    command.env("STEP_FILE", env.path("step"));
    assert_eq!(finish(&mut command).code, 0);
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
        let length = |name: &str| slices.iter().find(|s| s["name"] == name).unwrap()["dur"].clone();
        assert_eq!(
            (length("sh"), length("it")),
            ((job * 1_000).into(), (run * 1_000).into())
        );
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
