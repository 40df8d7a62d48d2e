//! Work that does not grow with the existing data: memory for an index, reads for a cursor,
//! folds for a rotation that is not due, and system calls under the locks.

use std::fmt::Write as _;
use std::fs;

use runlog::log::payload::{JobSubmitted, JobValidated};
use runlog::log::{Draft, Durability, RunLog};
use runlog::volume::{JobId, Volume};

use crate::support::crash::has_strace;
use crate::support::env::{TestEnv, finish};

/// Returns the trace of `runlog` with these arguments and a pipe as stdout.
fn traced(env: &TestEnv, calls: &str, args: &[&str]) -> Vec<String> {
    let mut command = env.program("strace");
    command.args(["-f", "-q", "-y", "-s", "16", "-o"]);
    command.arg(env.trace_path()).args(["-e", calls]);
    let output = finish(command.arg(env!("CARGO_BIN_EXE_runlog")).args(args));
    assert_eq!(output.code, 0, "{args:?}: {}", output.stderr());
    let trace = fs::read(env.trace_path()).unwrap();
    let trace = String::from_utf8_lossy(&trace);
    trace.lines().map(str::to_owned).collect()
}

fn numbers(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "{n}").unwrap();
        text
    })
}

/// Returns how many times the log is read while its active segment is locked.
fn reads_under_lock(trace: &[String]) -> usize {
    let mut held = false;
    let mut reads = 0;
    for line in trace.iter().filter(|line| line.contains("/events.jsonl>")) {
        if line.contains("flock(") {
            held = line.contains("LOCK_EX") && line.contains("= 0");
        } else if held {
            reads += 1;
        }
    }
    reads
}

#[test]
fn cursor_of_each_line_rereads_no_line() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "x"]);
    env.run_with(
        &["emit", "--run", "r", "--lines", "--no-sync"],
        numbers(500).as_bytes(),
    );
    if !has_strace(&env) {
        return;
    }
    let args = ["tail", "r", "--json", "--cursor-file", "c"];
    let reads = traced(&env, "trace=pread64", &args);
    let of_log = reads.iter().filter(|line| line.contains("/events.jsonl>"));
    let count = of_log.count();
    assert!((1..50).contains(&count), "{count} reads for 502 lines");
}

#[test]
fn output_stream_does_not_hold_index_in_memory() {
    const RECORDS: usize = 500_000;
    let env = TestEnv::new();
    env.ok(&[
        "run", "-q", "--run", "r", "--job", "j", "--close", "--", "echo", "x",
    ]);
    let jobs = env.run_dir("r").join("jobs");
    let mut index = String::with_capacity(RECORDS * 80);
    for end in 1..=RECORDS {
        let ts = "2026-11-22T03:50:12.345678Z";
        writeln!(index, r#"{{"end":{end},"stream":"stderr","ts":"{ts}"}}"#).unwrap();
    }
    fs::write(jobs.join("j.out.idx"), index).unwrap();
    fs::write(jobs.join("j.out"), "x".repeat(RECORDS)).unwrap();
    let script = "ulimit -v 70000; exec \"$RUNLOG\" tail r --output --stream stderr | wc -c";
    let output = env.sh(script);
    assert_eq!(
        output.stdout().trim(),
        RECORDS.to_string(),
        "{}",
        output.stderr()
    );
}

#[test]
fn rotation_that_is_not_due_folds_nothing() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "x"]);
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(".omne/lib/cfg/runlog.toml", "[rotate]\nmax_size = \"1K\"\n");
    for n in 0..20 {
        let job = format!("j{n}");
        env.ok(&[
            "run",
            "-q",
            "--run",
            "r",
            "--job",
            &job,
            "--no-capture",
            "--",
            "true",
        ]);
    }
    if !has_strace(&env) {
        return;
    }
    env.ok(&["rotate", "r", "--force"]);
    let first = fs::metadata(env.log_path("r")).unwrap().len();
    assert!(
        first > 4096,
        "the checkpoint is longer than the limit: {first}"
    );
    // A fold opens the sealed segments too.
    let args = ["emit", "--no-sync", "--run", "r", "x"];
    let trace = traced(&env, "trace=openat", &args);
    let opened = trace.iter().filter(|line| line.contains("\"events-"));
    assert_eq!(opened.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn job_start_reads_little_under_lock() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "x"]);
    if !has_strace(&env) {
        return;
    }
    let args = ["emit", "--run", "r", "--lines", "--no-sync"];
    env.run_with(&args, numbers(30_000).as_bytes());
    let args = [
        "run",
        "-q",
        "--run",
        "r",
        "--job",
        "a",
        "--no-capture",
        "--",
        "true",
    ];
    let trace = traced(&env, "trace=flock,pread64", &args);
    assert!(trace.iter().any(|line| line.contains("LOCK_EX")));
    assert_eq!(reads_under_lock(&trace), 0);
}

#[test]
fn pruning_syncs_without_lock() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "x"]);
    for _ in 0..12 {
        env.ok(&["rotate", "r", "--force", "--no-compress"]);
        env.ok(&["emit", "--no-sync", "--run", "r", "x"]);
    }
    if !has_strace(&env) {
        return;
    }
    let calls = "trace=flock,fsync,fdatasync,unlinkat";
    let trace = traced(
        &env,
        calls,
        &[
            "rotate",
            "r",
            "--max-size",
            "1G",
            "--keep",
            "2",
            "--no-compress",
        ],
    );
    let mut held = false;
    let (mut removed, mut syncs) = (0, 0);
    for line in &trace {
        if line.contains("flock(") && line.contains("/runs/r/lock>") {
            held = line.contains("LOCK_EX");
        }
        removed += usize::from(line.contains("unlinkat(") && line.contains("= 0"));
        syncs += usize::from(held && line.contains("sync("));
    }
    assert!(removed >= 10, "{removed} segments were removed");
    assert_eq!(syncs, 0, "under the lock of the run");
}

#[test]
fn page_lists_the_first_damaged_places() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "x"]);
    let mut log = fs::read(env.log_path("r")).unwrap();
    log.extend(b"\n".repeat(5_000));
    fs::write(env.log_path("r"), log).unwrap();
    let output = env.run(&["replay", "r", "--export", "html", "-o", "page.html"]);
    assert_eq!(output.code, 5);
    let page = fs::read_to_string(env.path("page.html")).unwrap();
    assert!(page.contains("4000 more damaged places"));
    assert_eq!(
        page.matches("it is blank").count(),
        2_000,
        "in the list and as events"
    );
}

#[test]
fn warnings_about_damage_are_limited() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "x"]);
    let mut log = fs::read(env.log_path("r")).unwrap();
    log.extend(b"\n".repeat(5_000));
    fs::write(env.log_path("r"), log).unwrap();
    for args in [
        &["status", "r"][..],
        &["tail", "r", "-n", "+1"],
        &["tail", "--all", "--cursor-file", "cursors"],
        &["replay", "r", "--json"],
        &["replay", "r", "--output"],
        &["replay", "r", "--export", "junit"],
        &["replay", "r", "--export", "html", "-o", "page.html"],
    ] {
        let output = env.run(args);
        let stderr = output.stderr();
        assert_eq!(stderr.matches("it is blank").count(), 1_000, "{args:?}");
        assert!(
            stderr.contains("warning: 4000 more damaged places"),
            "{args:?}"
        );
    }
}

/// Adds jobs to the open run `r` whose supervisor, which was that of its job `a`, has died.
fn lose_jobs(env: &TestEnv, jobs: usize) {
    env.ok(&["run", "-q", "--run", "r", "--job", "a", "--", "true"]);
    let log = fs::read_to_string(env.log_path("r")).unwrap();
    let submitted = log.lines().find(|line| line.contains("job_submitted"));
    let submitted: JobSubmitted = serde_json::from_str(submitted.unwrap()).unwrap();
    assert!(submitted.supervisor.is_some());
    let validated = JobValidated::default();
    let run = "r".parse().unwrap();
    let mut drafts = Vec::new();
    for n in 0..jobs {
        let job: JobId = format!("lost{n}").parse().unwrap();
        drafts.push(Draft::new(&run, Some(&job), &submitted).unwrap());
        drafts.push(Draft::new(&run, Some(&job), &validated).unwrap());
        fs::write(env.run_dir("r").join(format!("jobs/{job}.out")), "").unwrap();
    }
    let log = RunLog::open(&Volume::open(env.root()).unwrap(), &run).unwrap();
    log.append(&drafts, Durability::Process).unwrap();
    assert_eq!(env.status("r")["state"], "lost");
}

#[test]
fn processes_are_listed_once_for_all_lost_jobs() {
    let env = TestEnv::new();
    lose_jobs(&env, 20);
    if !has_strace(&env) {
        return;
    }
    for args in [
        &["replay", "--recover", "--dry-run", "r"][..],
        &["gc", "--max-age", "999d", "--dry-run"],
        &["replay", "--recover", "r"],
    ] {
        let trace = traced(&env, "trace=openat,open", args);
        let is_list = |line: &&String| line.contains("\"/proc\"") || line.contains("\"/proc/\"");
        let lists = trace.iter().filter(is_list).count();
        // `status` of each look at the run, the scan, and the snapshots of the host.
        assert!((1..=8).contains(&lists), "{args:?}: {lists}");
    }
}

#[test]
fn recovery_needs_no_descriptor_for_each_lost_job() {
    let env = TestEnv::new();
    lose_jobs(&env, 400);
    let output = env.sh("ulimit -n 320; exec \"$RUNLOG\" replay --recover r --json");
    assert_eq!(output.code, 0, "{}{}", output.stdout(), output.stderr());
    let status = env.status("r");
    assert_eq!(status["state"], "failed");
    env.ok(&["replay", "r", "--verify"]);
}
