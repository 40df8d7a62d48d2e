//! `runlog rotate`, and automatic rotation by writers.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::checks::snapshot;
use crate::support::env::TestEnv;

/// Creates the open run `it` with `notes` notes.
fn noted(notes: usize) -> TestEnv {
    let env = TestEnv::new();
    let lines: Vec<_> = (0..notes).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let emit = ["emit", "--open", "--run", "it", "--lines"];
    assert_eq!(env.run_with(&emit, lines.concat().as_bytes()).code, 0);
    env
}

/// Returns the names of a run's segments.
fn segments(env: &TestEnv, run: &str) -> Vec<String> {
    let dir = env.path(".omne/var/runs").join(run);
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("events"))
        .collect();
    names.sort();
    names
}

fn seqs(env: &TestEnv) -> Vec<u64> {
    let all = env.json_lines(&["tail", "it", "-n", "all", "--json"]);
    all.iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn rotate_reports_sealed_segment() {
    let env = noted(3);
    let rotate = |args: &[&str]| {
        let args: Vec<_> = ["rotate", "it"].iter().chain(args).copied().collect();
        snapshot(&env, &env.run(&args))
    };
    assert_snapshot!(rotate(&["--dry-run"]), @"
    exit 0
    -- stdout
    it  [SIZE] would be sealed
    ");
    assert_snapshot!(rotate(&["--no-compress"]), @"
    exit 0
    -- stdout
    it  sealed events-00000000000000000000.jsonl ([SIZE])
    ");
    assert_snapshot!(rotate(&[]), @"
    exit 0
    -- stdout
    it  not rotated: nothing was written since the last rotation
    it  compressed events-00000000000000000000.jsonl.gz ([SIZE] to [SIZE])
    ");
    env.ok(&["emit", "--run", "it", "more"]);
    assert_snapshot!(rotate(&["--keep", "1", "--dry-run"]), @"
    exit 0
    -- stdout
    it  [SIZE] would be sealed
    it  1 segment would be dropped ([SIZE])
    ");
    assert_snapshot!(rotate(&["--keep", "1"]), @"
    exit 0
    -- stdout
    it  sealed events-00000000000000000004.jsonl ([SIZE])
    it  compressed events-00000000000000000004.jsonl.gz ([SIZE] to [SIZE])
    it  1 segment dropped ([SIZE])
    ");
    assert_eq!(seqs(&env), [4, 5, 6]);
}

#[test]
fn rotate_json_has_one_line_per_run() {
    let env = noted(2);
    env.ok(&["run", "-q", "--run", "other", "--close", "--", "true"]);
    let rotated = env.json_lines(&["rotate", "--all", "--json"]);
    let names: Vec<_> = rotated.iter().map(|run| &run["run_id"]).collect();
    assert_eq!(names, ["it", "other"]);
    for run in &rotated {
        assert_eq!((&run["rotated"], &run["why"]), (&true.into(), &Value::Null));
        assert_eq!(run["sealed"]["first_seq"], 0);
        assert_eq!(run["compressed"][0]["bytes"], run["sealed"]["bytes"]);
    }
    let again = env.json_lines(&["rotate", "--all", "--json"]);
    for run in &again {
        assert_eq!(run["rotated"], false);
        assert_eq!(run["why"], "nothing was written since the last rotation");
    }
    assert_eq!(env.ok(&["rotate", "--all"]).stdout(), "");
}

#[test]
fn rotate_leaves_finished_run_unchanged() {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--run", "it", "--close", "--", "false"]);
    let before = env.status("it");
    env.ok(&["rotate", "it", "--keep", "0"]);
    assert_eq!(segments(&env, "it"), ["events.jsonl"]);
    let after = env.status("it");
    for key in [
        "state",
        "opened_ts",
        "closed_ts",
        "duration_ms",
        "name",
        "jobs",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["events"], 7);
    assert!(after["bytes"].as_u64() > before["bytes"].as_u64());
}

#[test]
fn rotate_thresholds_come_from_flags_or_settings() {
    let env = noted(50);
    let left = |args: &[&str]| env.ok(args).stdout().contains("no threshold is reached");
    assert!(left(&["rotate", "it", "--max-size", "1MiB"]));
    assert!(left(&["rotate", "it", "--max-age", "1h"]));
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    let settings = |text: &str| env.write(".omne/lib/cfg/runlog.toml", text);
    settings("[rotate]\nmax_size = \"1MiB\"\nmax_age = \"1d\"\n");
    assert!(left(&["rotate", "it"]));
    assert!(!left(&["rotate", "it", "--max-size", "1KiB"]));
    env.ok(&["emit", "--run", "it", "more"]);
    assert!(!left(&["rotate", "it", "--force"]));
    settings("[rotate]\nkeep = 1\ncompress = false\n");
    env.ok(&["emit", "--run", "it", "more"]);
    env.ok(&["rotate", "it"]);
    let left = segments(&env, "it");
    assert_eq!(left, ["events-00000000000000000053.jsonl", "events.jsonl"]);
}

#[test]
fn invalid_settings_stop_rotate_and_run() {
    let env = noted(1);
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(".omne/lib/cfg/runlog.toml", "[rotate]\nmax_sice = 1\n");
    assert_snapshot!(snapshot(&env, &env.run(&["rotate", "it"])), @"
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: unknown field `max_sice`, expected one of `max_size`, `max_age`, `keep`, `compress`
    hint: fix the settings, or move the file away
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["run", "-q", "--", "true"])), @"
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: unknown field `max_sice`, expected one of `max_size`, `max_age`, `keep`, `compress`
    hint: fix the settings, or move the file away
    ");
    env.write(
        ".omne/lib/cfg/runlog.toml",
        "[rotate]\nmax_size = \"much\"\n",
    );
    assert_snapshot!(snapshot(&env, &env.run(&["rotate", "it"])), @"
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: rotate.max_size: `much` is not a size; write bytes or a number with K, M, G, T, P (1024-based), such as 512M
    hint: fix the settings, or move the file away
    ");
}

#[test]
fn rotate_skips_foreign_log_with_reason() {
    let env = noted(1);
    let log = env.log_path("it");
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(
        b"{\"id\":\"01k0000000000000000000000a\",\"ts\":\"2026-01-01T00:00:00Z\",\
          \"run_id\":\"it\",\"type\":\"node.started\",\"node_id\":\"n\"}\n",
    );
    fs::write(&log, &bytes).unwrap();
    assert_snapshot!(snapshot(&env, &env.run(&["rotate", "it", "--keep", "0"])), @"
    exit 1
    -- stdout
    it  not rotated: it holds lines of another program, which may still write to it
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["rotate", "--all"])), @"
    exit 0
    -- stdout
    it  not rotated: it holds lines of another program, which may still write to it
    ");
    assert_eq!(fs::read(&log).unwrap(), bytes);
}

#[test]
fn rotate_reports_locked_log() {
    let env = noted(1);
    let lock = fs::File::open(env.path(".omne/var/runs/it/lock")).unwrap();
    lock.lock().unwrap();
    let output = env.run(&["rotate", "it"]);
    assert_eq!(output.code, 6, "{}", output.stderr());
    assert!(
        output.stderr().contains("has held the lock"),
        "{}",
        output.stderr()
    );
}

#[test]
fn rotate_rejects_invalid_arguments() {
    let env = noted(1);
    for args in [
        &["rotate", "it", "--all"][..],
        &["rotate", "--max-size", "x"],
        &["rotate", "--keep", "-1"],
        &["rotate", "--compress", "--no-compress"],
        &["rotate", "--force", "--max-size", "1"],
    ] {
        assert_eq!(env.run(args).code, 2, "{args:?}");
    }
    assert_eq!(env.run(&["rotate", "nothing"]).code, 3);
}

#[test]
fn jobs_and_their_scripts_rotate_automatically() {
    let env = TestEnv::new();
    let runlog = env!("CARGO_BIN_EXE_runlog");
    let script = format!("seq 500 | {runlog} emit --lines && seq 500 | {runlog} emit --lines");
    env.ok(&[
        "run",
        "-q",
        "--run",
        "it",
        "--close",
        "--rotate-size",
        "20KiB",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let names = segments(&env, "it");
    assert!(names.len() > 2, "{names:?}");
    let sealed = &names[..names.len() - 1];
    assert!(sealed.iter().all(|name| name.contains(".gz")), "{names:?}");
    let seqs = seqs(&env);
    assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "{seqs:?}");
    let zcat = env.sh("cd .omne/var/runs/it && (zcat *.gz; cat events.jsonl) | wc -l");
    assert_eq!(zcat.stdout().trim(), seqs.len().to_string());
    assert!(env.ok(&["status", "it"]).stdout().contains("completed"));
}

#[test]
fn compressed_segment_keeps_owner_and_mode() {
    let env = noted(3);
    env.ok(&["rotate", "it", "--no-compress"]);
    let plain = env.run_dir("it").join("events-00000000000000000000.jsonl");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&plain).unwrap();
    env.ok(&["rotate", "it"]);
    let after = fs::metadata(plain.with_extension("jsonl.gz")).unwrap();
    assert_eq!(after.mode(), before.mode());
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
}

#[test]
fn rotate_finds_all_runs_before_rotating_one() {
    let env = noted(2);
    let output = env.run(&["rotate", "it", "nosuch"]);
    assert_eq!((output.code, output.stdout()), (3, String::new()));
    assert_eq!(segments(&env, "it"), ["events.jsonl"]);
    let output = env.ok(&["rotate", "it", "latest", "--no-compress"]);
    assert_eq!(output.stdout().lines().count(), 1, "{}", output.stdout());
}
