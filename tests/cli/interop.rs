//! Logs that omne-cli and runtimo-core wrote, and runs exported for them.

use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::Value;

use crate::support::checks::{assert_one_error, snapshot};
use crate::support::env::TestEnv;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/parents")
        .join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Creates a volume with this omne log as the run `r`.
fn with_omne(name: &str) -> TestEnv {
    let env = TestEnv::new();
    fs::create_dir_all(env.run_dir("r")).unwrap();
    let from = fixture("omne-cli-0.2.0").join(format!("{name}.jsonl"));
    fs::copy(from, env.log_path("r")).unwrap();
    env
}

/// Returns each job with its stage, from `replay --state --json` or `status --json`.
fn stages(told: &Value) -> Vec<(String, String)> {
    let text = |job: &Value, key: &str| job[key].as_str().unwrap().to_owned();
    let jobs = told["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (text(job, "job_id"), text(job, "stage")))
        .collect()
}

fn pairs(jobs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    jobs.iter().map(owned).collect()
}

#[test]
fn omne_runs_whole_and_damaged() {
    let done = [("build", "completed")];
    let both = [("build", "completed"), ("test", "completed")];
    let failed = [("build", "completed"), ("test", "failed")];
    let begun = [("build", "completed"), ("test", "started")];
    let glued = [("build", "completed"), ("deploy", "completed")];
    for (name, code, state, jobs) in [
        ("completed", 0, "completed", &both[..]),
        ("aborted", 0, "failed", &failed),
        ("running", 0, "unknown", &begun),
        // The end of the line may still be in flight, so it is not known to be torn.
        ("torn-tail", 0, "unknown", &done),
        ("glued-line", 5, "unknown", &glued),
        ("garbage-line", 5, "unknown", &done),
    ] {
        let env = with_omne(name);
        let output = env.run(&["status", "r", "--json"]);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.code, &told["state"]),
            (code, &state.into()),
            "{name}"
        );
        assert_eq!(stages(&told), pairs(jobs), "{name}");
        let replayed = env.run(&["replay", "r", "--state", "--json"]);
        let replayed: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        assert_eq!(
            (&replayed["state"], &replayed["jobs"]),
            (&told["state"], &told["jobs"]),
            "{name}"
        );

        let log = fs::read(env.log_path("r")).unwrap();
        let sound = |line: &&[u8]| serde_json::from_slice::<Value>(line).is_ok();
        let sound: Vec<u8> = log
            .split_inclusive(|b| *b == b'\n')
            .filter(sound)
            .flatten()
            .copied()
            .collect();
        for args in [
            &["replay", "r", "--json"][..],
            &["tail", "r", "-n", "all", "--json"],
            &["replay", "r", "--as", "omne"],
        ] {
            let output = env.run(args);
            assert_eq!(output.code, code, "{name} {args:?}: {}", output.stderr());
            assert!(output.stdout == sound, "{name} {args:?}");
        }
        let verified = env.run(&["replay", "r", "--verify"]);
        let has_fault = code == 5 || name == "torn-tail";
        assert_eq!(
            verified.code == 5,
            has_fault,
            "{name}: {}",
            verified.stdout()
        );
        assert!(fs::read(env.log_path("r")).unwrap() == log, "{name}");
    }
}

#[test]
fn runtimo_0_1_log() {
    let env = TestEnv::new();
    let wal = fixture("runtimo-core-0.1.4/wal.jsonl");
    let told = env.json_lines(&["replay", "--wal", text(&wal), "--state", "--json"]);
    assert_eq!(
        told[0]["state"], "unknown",
        "it has no word for the end of a run"
    );
    assert_eq!(told[0]["events"], 5);
    assert_eq!(
        stages(&told[0]),
        pairs(&[
            ("4f1c9e0b7a2d", "completed"),
            ("9a07d3e65b18", "failed"),
            ("c2b8417f60ea", "started"),
        ])
    );
    assert_eq!(told[0]["jobs"][0]["command"], "FileRead");
    assert_eq!(told[0]["jobs"][0]["duration_ms"], 2000);
    let output = env.ok(&["replay", "--wal", text(&wal), "--json"]);
    assert!(output.stdout == fs::read(&wal).unwrap());
    assert!(!env.exists(".omne"), "it needs no volume, and makes none");
}

#[test]
fn runtimo_0_10_log() {
    let env = TestEnv::new();
    let wal = fixture("runtimo-core-0.10.3/wal.jsonl");
    let output = env.ok(&["replay", "--wal", text(&wal)]);
    let shown = output.stdout();
    // The writers' markers contain the time at which the file was created.
    let lines: Vec<_> = shown
        .lines()
        .filter(|l| !l.contains("writer_init"))
        .collect();
    assert_eq!(lines.len(), shown.lines().count() - 3);
    assert_snapshot!(lines[2..].join("\n"), @r"
    +2h 31m 16s     1  ▶ started       4f1c9e0b7a2d  ShellExec
    +2h 31m 16s     2  safety_evaluated  4f1c9e0b7a2d  ShellExec
    +2h 31m 18s     3  backup_created  4f1c9e0b7a2d  ShellExec
    +2h 31m 18s     4  ✓ completed     4f1c9e0b7a2d
    +2h 31m 18s     5  command_executed  4f1c9e0b7a2d  make all  exit 0
    +2h 31m 19s     6  ▶ started       9a07d3e65b18  ShellExec
    +2h 31m 19s     7  safety_evaluated  9a07d3e65b18  ShellExec
    +2h 31m 23s     8  ✗ failed        9a07d3e65b18  Execution failed: command timed out
    +2h 31m 24s     9  ▶ started       c2b8417f60ea  GitExec
    +2h 31m 24s    10  safety_evaluated  c2b8417f60ea  GitExec

    ? unknown: the run is not closed, and another program wrote it, whose writer cannot be checked
    13 events, 3 jobs, 1 failed
    ");
    let told = env.json_lines(&["replay", "--wal", text(&wal), "--state", "--json"]);
    assert_eq!(told[0]["events"], 13);
    assert_eq!(told[0]["jobs_total"], 3, "a marker is no job");
    assert_eq!(told[0]["jobs"][0]["command"], "make all");
    assert_eq!(told[0]["jobs"][0]["exit_code"], 0);
}

#[test]
fn damaged_runtimo_logs() {
    let env = TestEnv::new();
    for version in ["0.1.4", "0.10.3"] {
        for (name, code, faults) in [
            ("wal", 0, 0),
            ("torn-tail", 0, 1),
            ("glued-line", 5, 1),
            ("garbage-line", 5, 1),
        ] {
            let wal = fixture(&format!("runtimo-core-{version}/{name}.jsonl"));
            let what = format!("{version} {name}");
            let output = env.run(&["replay", "--wal", text(&wal), "--json"]);
            assert_eq!(output.code, code, "{what}: {}", output.stderr());
            let verified = env.run(&["replay", "--wal", text(&wal), "--verify", "--json"]);
            assert_eq!(verified.stdout().lines().count(), faults, "{what}");
            assert_eq!(verified.code == 5, faults > 0, "{what}");
        }
        let wal = fixture(&format!("runtimo-core-{version}/glued-line.jsonl"));
        let strict = env.run(&["replay", "--strict", "--wal", text(&wal), "--json"]);
        assert_eq!(strict.code, 5);
        assert!(!strict.stdout().contains("e4b2"), "{}", strict.stdout());
    }
}

#[test]
fn rotated_runtimo_events_come_first() {
    let env = TestEnv::new();
    for (version, prefix) in [("0.1.4", "a"), ("0.10.3", "b")] {
        let wal = fixture(&format!("runtimo-core-{version}/rotated/wal.jsonl"));
        let told = env.json_lines(&["replay", "--wal", text(&wal), "--state", "--json"]);
        let jobs: Vec<_> = stages(&told[0]).into_iter().map(|(job, _)| job).collect();
        assert_eq!(jobs, [1, 2, 3].map(|n| format!("{prefix}{n}")), "{version}");
    }
    let one = fixture("runtimo-core-0.10.3/rotated/wal.jsonl.2");
    let told = env.json_lines(&["replay", "--wal", text(&one), "--state", "--json"]);
    assert_eq!(stages(&told[0]), pairs(&[("b1", "completed")]));
}

#[test]
fn only_regular_files_are_read() {
    let env = TestEnv::new();
    let made = env.sh("mkfifo fifo");
    assert_eq!(made.code, 0);
    fs::create_dir(env.path("directory")).unwrap();
    for (file, code) in [("fifo", 2), ("directory", 2), ("/dev/zero", 2), ("none", 3)] {
        let output = env.run(&["replay", "--wal", file]);
        assert_eq!(output.code, code, "{file}");
        assert_one_error(&output);
    }
    // The user chose to name a link.
    let wal = fixture("runtimo-core-0.1.4/wal.jsonl");
    std::os::unix::fs::symlink(&wal, env.path("link")).unwrap();
    let output = env.ok(&["replay", "--wal", "link", "--json"]);
    assert!(output.stdout == fs::read(&wal).unwrap());
    for args in [
        &["replay", "--wal", "link", "latest"][..],
        &["replay", "--wal", "link", "--output"],
        &["replay", "--wal", "link", "--speed", "max"],
        &["replay", "--wal", "link", "--recover"],
        &["replay", "--as", "omne", "--json"],
        &["replay", "-o", "x"],
        &["replay", "--as", "spark"],
    ] {
        assert_eq!(env.run(args).code, 2, "{args:?}");
    }
}

/// Creates a run of three jobs with different ends, in several segments.
fn with_jobs() -> TestEnv {
    let env = TestEnv::new();
    let job = |id: &str, command: &[&str]| {
        let args = [&["run", "-q", "--run", "r", "--job", id], command].concat();
        env.run(&args).code
    };
    assert_eq!(job("good", &["--", "true"]), 0);
    env.ok(&["rotate", "r", "--no-compress"]);
    env.ok(&["emit", "--run", "r", "halfway"]);
    assert_eq!(
        job("bad", &["--rollback", "true", "--", "sh", "-c", "exit 3"]),
        3
    );
    env.ok(&["rotate", "r", "--compress"]);
    assert_eq!(
        job(
            "twice",
            &[
                "--retries",
                "1",
                "--retry-delay",
                "10ms",
                "--",
                "sh",
                "-c",
                "[ -e x ] || { touch x; exit 1; }"
            ]
        ),
        0
    );
    env.ok(&["run", "--run", "r", "--close"]);
    env
}

#[test]
fn as_omne_output_matches_original() {
    let env = with_jobs();
    let other = TestEnv::new();
    fs::create_dir_all(other.run_dir("r")).unwrap();
    let to = other.log_path("r");
    env.ok(&["replay", "r", "--as", "omne", "-o", text(&to)]);
    let output = env.ok(&["replay", "r", "--as", "omne"]);
    assert!(output.stdout == fs::read(&to).unwrap());
    let (ours, theirs) = (env.status("r"), other.status("r"));
    for key in ["state", "name", "opened_ts", "closed_ts"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    // Unlike the original, it has no clock besides its times.
    let ts = |key: &str| -> Timestamp { theirs[key].as_str().unwrap().parse().unwrap() };
    let duration = ts("closed_ts").duration_since(ts("opened_ts"));
    assert_eq!(
        theirs["duration_ms"].as_i64().unwrap(),
        i64::try_from(duration.as_millis()).unwrap()
    );
    assert_eq!(
        stages(&theirs),
        pairs(&[
            ("good", "completed"),
            ("bad", "failed"),
            ("twice", "completed")
        ])
    );
    let ids: Vec<_> = output
        .stdout()
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[test]
fn as_runtimo_output_matches_original() {
    let env = with_jobs();
    env.ok(&["replay", "r", "--as", "runtimo", "-o", "r.wal"]);
    let told = env.json_lines(&["replay", "--wal", "r.wal", "--state", "--json"]);
    let ours = env.status("r");
    assert_eq!(stages(&told[0]), stages(&ours));
    for (theirs, ours) in told[0]["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .zip(ours["jobs"].as_array().unwrap())
    {
        assert_eq!(theirs["command"], ours["command"]);
        assert_eq!(theirs["exit_code"], ours["exit_code"]);
    }
    // Write the log again from the exported one.
    let again = env.ok(&["replay", "--wal", "r.wal", "--as", "runtimo"]);
    assert!(again.stdout == fs::read(env.path("r.wal")).unwrap());
    let seqs: Vec<_> = again
        .stdout()
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let line: Value = serde_json::from_str(line).unwrap();
            (at as u64, line["seq"].as_u64().unwrap())
        })
        .collect();
    assert!(seqs.iter().all(|(at, seq)| at == seq), "{seqs:?}");
}

#[test]
fn pruned_events_come_from_checkpoint() {
    let env = with_jobs();
    let whole = env.ok(&["replay", "r", "--as", "omne"]).stdout();
    for name in fs::read_dir(env.run_dir("r")).unwrap() {
        let path = name.unwrap().path();
        if text(&path).contains("/events-00000000000000000000.") {
            fs::remove_file(path).unwrap();
        }
    }
    let rest = env.ok(&["replay", "r", "--as", "omne"]).stdout();
    // Events from the checkpoint do not have the ids of the original events.
    let without_ids = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                line.as_object_mut().unwrap().remove("id");
                line
            })
            .collect()
    };
    assert_eq!(without_ids(&rest), without_ids(&whole));
}

#[test]
fn input_log_is_not_overwritten() {
    let env = with_jobs();
    let before = fs::read(env.log_path("r")).unwrap();
    std::os::unix::fs::symlink(env.log_path("r"), env.path("link")).unwrap();
    for to in [
        ".omne/var/runs/r/events.jsonl",
        ".omne/var/runs/r/new",
        "link",
    ] {
        let output = env.run(&["replay", "r", "--as", "omne", "-o", to]);
        assert_eq!(output.code, 2, "{to}");
        assert_one_error(&output);
    }
    assert!(fs::read(env.log_path("r")).unwrap() == before);
    let missing = env.run(&["replay", "r", "--as", "omne", "-o", "none/x"]);
    assert_snapshot!(snapshot(&env, &missing), @"
    exit 7
    -- stderr
    error: cannot write `none/x`: No such file or directory (os error 2)
    ");
    let full = env.run(&["replay", "r", "--as", "omne", "-o", "/dev/full"]);
    assert_eq!(full.code, 7, "{}", full.stderr());
    let head = env.sh("$RUNLOG replay r --as runtimo | head -n 1");
    assert_eq!((head.code, &*head.stderr()), (0, ""));
}
