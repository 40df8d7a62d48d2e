//! Probes: the dependencies of a job, checked for every snapshot.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::checks::snapshot;
use crate::support::env::{TestEnv, finish};

#[test]
fn snapshots_have_readings_of_probes() {
    let env = TestEnv::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = env.path("a.sock");
    let _unix = UnixListener::bind(&socket).unwrap();
    let port = tcp.local_addr().unwrap().port();
    env.ok(&[
        "run",
        "--probe",
        &format!("db=tcp:{port}"),
        "--probe",
        "socket=unix:a.sock",
        "--probe",
        "runlog=process:runlog",
        "--probe",
        "no-program=process:no-such-program",
        "--probe",
        "missing=file:missing",
        "--probe",
        "root=file:/",
        "--probe",
        "free=free:.:1",
        "--probe",
        "huge=free:.:7000T",
        "--probe",
        "lost=free:no/such/dir:1",
        "--require",
        "db",
        "--require",
        "socket",
        "true",
    ]);
    let expected = json!({
        "db": true, "free": true, "huge": false, "lost": null, "missing": false,
        "no-program": false, "root": true, "runlog": true, "socket": true,
    });
    for (event, key) in [
        ("job_submitted", "telemetry_before"),
        ("job_started", "telemetry_before"),
        ("job_completed", "telemetry_before"),
        ("job_completed", "telemetry_after"),
    ] {
        assert_eq!(env.event(event)[key]["probes"], expected, "{event}");
    }
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["probes"]["socket"], "unix:a.sock");
    assert_eq!(submitted["require"], json!(["db", "socket"]));
    let job = &env.status("latest")["jobs"][0];
    let read = json!({"before": true, "after": true});
    assert_eq!(job["probes"]["db"], read);
}

#[test]
fn relative_probe_paths_resolve_in_job_directory() {
    let env = TestEnv::new();
    fs::create_dir(env.path("dir")).unwrap();
    env.write("dir/file", "");
    let run = [
        "run",
        "--cwd",
        "dir",
        "--probe",
        "a=file:file",
        "--require",
        "a",
        "true",
    ];
    env.ok(&run);
}

#[test]
fn job_without_probes_records_no_readings() {
    let env = TestEnv::new();
    env.ok(&["run", "--sample", "10ms", "sleep", "0.1"]);
    let log = fs::read_to_string(env.log_path(&env.only_run())).unwrap();
    assert!(!log.contains("probes") && !log.contains("require"), "{log}");
    assert_eq!(env.status("latest")["jobs"][0]["probes"], json!({}));
}

#[test]
fn required_probe_prevents_start() {
    let env = TestEnv::new();
    let run = |probe: &str| {
        let args = [
            "run",
            "--probe",
            probe,
            "--require",
            "db",
            "--",
            "touch",
            "ran",
        ];
        let output = env.run(&args);
        let failed = env.events_of_type(&env.runs()[0], "job_failed").remove(0);
        assert_eq!(failed["error"]["kind"], "validation");
        assert_eq!(env.status("latest")["state"], "failed");
        fs::remove_dir_all(env.path(".omne")).unwrap();
        snapshot(&env, &output)
    };
    let shown = [run("db=file:gone"), run("db=free:gone:1K")].concat();
    assert!(!env.exists("ran"));
    assert_snapshot!(shown, @"
    exit 125
    -- stderr
    run_id=touch-[ULID]
    error: required probe db is false: file:gone
    hint: start what the probe looks for, or run without --require
    exit 125
    -- stderr
    run_id=touch-[ULID]
    error: required probe db cannot be determined: free:gone:1K
    hint: start what the probe looks for, or run without --require
    ");
}

#[test]
fn only_declared_probes_can_be_required() {
    let env = TestEnv::new();
    let args = ["run", "--probe", "a=file:/", "--require", "b", "true"];
    assert_snapshot!(snapshot(&env, &env.run(&args)), @"
    exit 2
    -- stderr
    error: --require b: there is no such probe
    hint: declare it with --probe NAME=SPEC, or in [telemetry.probes] of the settings
    ");
    let args = ["run", "--probe", "a=http://x", "true"];
    assert_snapshot!(snapshot(&env, &env.run(&args)), @"
    exit 2
    -- stderr
    error: invalid value 'a=http://x' for '--probe <NAME=SPEC>': `http://x` is not a probe; write tcp:PORT, unix:PATH, process:NAME, file:PATH or free:PATH:SIZE

    For more information, try '--help'.
    ");
    assert!(env.runs().is_empty());
}

/// Runs a job with a probe that turns false while it runs, and returns its last event.
fn run_with_change(env: &TestEnv) -> Value {
    env.write("ready", "");
    env.ok(&[
        "run",
        "-n",
        "job",
        "--probe",
        "ready=file:ready",
        "rm",
        "ready",
    ]);
    env.event("job_completed")
}

#[test]
fn changed_probe_is_named() {
    let env = TestEnv::new();
    let completed = run_with_change(&env);
    assert_eq!(completed["telemetry_before"]["probes"]["ready"], true);
    assert_eq!(completed["telemetry_after"]["probes"]["ready"], false);
    let status = env.status("latest");
    let expected = json!({"before": true, "after": false, "changed": true});
    assert_eq!(status["jobs"][0]["probes"]["ready"], expected);
    let because = "the run is closed and no job failed; probe ready turned false while job job ran";
    assert_eq!(status["because"], because);
    let shown = env.ok(&["status", "latest"]).stdout();
    assert!(
        shown.contains("job: probe ready turned false while it ran\n"),
        "{shown}"
    );
    // The state at an earlier point includes the probe too.
    let at = env.json_lines(&["replay", "latest", "--state", "--json"]);
    assert_eq!(at[0]["jobs"][0]["probes"]["ready"], expected);
}

#[test]
fn diff_names_changed_probe() {
    let env = TestEnv::new();
    run_with_change(&env);
    env.write("ready", "");
    env.ok(&["run", "-n", "job", "--probe", "ready=file:ready", "true"]);
    let diff = env.ok(&["replay", "--diff", "job~1", "job"]).stdout();
    let row = diff.lines().find(|line| line.contains("probe ready"));
    let words: Vec<_> = row
        .unwrap_or_else(|| panic!("{diff}"))
        .split_whitespace()
        .collect();
    assert_eq!(words, ["probe", "ready", "turned", "false", "true", "≠"]);
    let diff = env.json_lines(&["replay", "--diff", "job~1", "job", "--json"]);
    assert_eq!(diff[0]["same"], true);
    assert_eq!(diff[0]["differs"], json!(["probes"]));
    assert_eq!(diff[0]["jobs"][0]["differs"], json!(["probes"]));
}

#[test]
fn page_names_changed_probe() {
    let env = TestEnv::new();
    run_with_change(&env);
    let page = env.ok(&["replay", "latest", "--export", "html"]).stdout();
    assert!(page.contains("probe ready turned false while job job ran"));
}

#[test]
fn samples_show_temporary_change() {
    let env = TestEnv::new();
    env.write("ready", "");
    // The job waits until a sample has seen it.
    let log = ".omne/var/runs/*/events.jsonl";
    let script = format!(
        "rm ready; until grep -q '\"probes\":{{\"ready\":false}}' {log}; do sleep 0.02; done; \
         touch ready"
    );
    env.ok(&[
        "run",
        "-n",
        "job",
        "--sample",
        "10ms",
        "--probe",
        "ready=file:ready",
        "sh",
        "-c",
        &script,
    ]);
    let status = env.status("latest");
    let expected = json!({"before": true, "after": true, "changed": true});
    assert_eq!(status["jobs"][0]["probes"]["ready"], expected);
    let because = status["because"].as_str().unwrap();
    assert!(
        because.ends_with("; probe ready was false for a time while job job ran"),
        "{because}"
    );
}

#[test]
fn settings_declare_probes() {
    let env = TestEnv::new();
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    fs::create_dir_all(env.path("config/runlog")).unwrap();
    let settings = ".omne/lib/cfg/runlog.toml";
    env.write(
        settings,
        "[telemetry.probes]\na = \"file:volume\"\nb = \"file:volume\"\n",
    );
    env.write(
        "config/runlog/config.toml",
        "[telemetry.probes]\na = \"file:user\"\nc = \"file:/\"\n[run]\nrequire = \"c\"\n",
    );
    let run = |args: &[&str]| finish(env.command(args).env("XDG_CONFIG_HOME", env.path("config")));
    assert_eq!(run(&["run", "--probe", "b=file:flag", "true"]).code, 0);
    let probes = json!({"a": "file:volume", "b": "file:flag", "c": "file:/"});
    assert_eq!(env.event("job_submitted")["probes"], probes);

    let mut errors = String::new();
    for invalid in [
        "[telemetry.probes]\n\"a b\" = \"tcp:1\"\n",
        "[telemetry.probes]\n\ndb = \"5432\"\n",
        "[telemetry.probes]\ndb = 5432\n",
        "[telemetry]\nprobe = 1\n",
    ] {
        env.write(settings, invalid);
        errors.push_str(&snapshot(&env, &env.run(&["run", "true"])));
    }
    assert_snapshot!(errors, @r#"
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: telemetry.probes.a b: invalid id "a b": only letters, digits, `.`, `_` and `-` are allowed
    hint: use names as keys in [telemetry.probes], and values as of `runlog run --probe`
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:3: telemetry.probes.db: `5432` is not a probe; write tcp:PORT, unix:PATH, process:NAME, file:PATH or free:PATH:SIZE
    hint: use names as keys in [telemetry.probes], and values as of `runlog run --probe`
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: invalid type: integer `5432`, expected a string
    hint: fix the settings, or move the file away
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: unknown field `probe`, expected `probes`
    hint: fix the settings, or move the file away
    "#);
}

#[test]
fn secret_in_probe_is_masked() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "--redact",
        "s3cret",
        "--probe",
        "a=file:/s3cret",
        "true",
    ]);
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["probes"]["a"], "file:/***");
    assert_eq!(submitted["redacted"], true);
}
