//! A full disk, and a limit on the size of files.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use runlog::log::payload::{JobFailed, JobSubmitted, RunOpened};
use runlog::log::{
    AppendError, Batch, Close, Draft, Durability, EventType, RotateError, Rotation,
    RotationThreshold, RunLog, StorageError,
};
use serde_json::json;

use super::support::{failed, given_dir, log, note, read_sound, run_ignored_test};

/// A command that mounts a small disk at `$1` and runs the other arguments.
const SMALL_DISK: &str = r#"mount -t tmpfs -o size=1m none "$1" && shift && exec "$@""#;
/// A command that limits files to 8 KiB and runs the other arguments.
const SMALL_FILES: &str = r#"trap "" XFSZ; ulimit -f "$(( 8192 / $1 ))"; shift; exec "$@""#;

fn numbered(log: &RunLog, n: usize) -> Draft {
    note(log, &json!({"n": n, "x": "y".repeat(640)}))
}

/// Fills the disk.
fn fill(dir: &Path) {
    let mut filler = File::create(dir.join("filler")).unwrap();
    for size in [4096, 1] {
        while filler.write(&vec![b'x'; size]).is_ok() {}
    }
}

fn is_full(e: &AppendError) -> bool {
    matches!(e, AppendError::NotWritten(StorageError::NoSpace { .. }))
}

/// Runs an ignored test of this program on a disk of 1 MiB, if one can be mounted here.
fn run_on_small_disk(test: &str) {
    let can = |c: &mut Command| c.output().is_ok_and(|out| out.status.success());
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().to_str().unwrap();
    let wrapper = ["unshare", "-Urm", "sh", "-c", SMALL_DISK, "sh", dir];
    if !can(Command::new(wrapper[0]).args(&wrapper[1..]).arg("true")) {
        #[expect(clippy::print_stderr, reason = "skipped tests must be reported")]
        {
            eprintln!("skipped: no tmpfs can be mounted in a namespace here");
        }
        return;
    }
    run_ignored_test(&wrapper, test, tmp.path());
}

/// Returns the end of a job, or of an attempt that will be retried, with its usual length.
fn ended(log: &RunLog, job: &str, retry_in_ms: Option<u64>) -> Draft {
    let job = job.parse().unwrap();
    let padding = "y".repeat(3_200);
    let error = json!({"kind": "exit", "message": padding});
    let data = match retry_in_ms {
        Some(ms) => json!({"error": error, "retry_in_ms": ms}),
        None => json!({"error": error}),
    };
    Draft::new(log.run_id(), Some(&job), &JobFailed(&data)).unwrap()
}

fn submitted(log: &RunLog, job: &str) -> Draft {
    let event = JobSubmitted {
        argv: vec!["x".repeat(1_500)],
        ..JobSubmitted::default()
    };
    Draft::new(log.run_id(), Some(&job.parse().unwrap()), &event).unwrap()
}

/// Opens a run with its first event.
fn opened(dir: &Path) -> RunLog {
    let run = log(dir);
    let event = RunOpened {
        name: "r".to_owned(),
        ..RunOpened::default()
    };
    let opened = Draft::new(run.run_id(), None, &event).unwrap();
    run.append(&[opened], Durability::Process).unwrap();
    run
}

/// Closes the run, whose jobs must have ended.
fn close(log: &RunLog) {
    let closed = log.append_with(
        Durability::Power,
        EventType::RunClosed.lock_budget(),
        |_| Ok(Batch::only(Close::Now)),
    );
    assert!(closed.unwrap().closed);
    read_sound(log);
}

#[test]
fn run_ends_consistently_on_full_disk() {
    run_on_small_disk("limits::child_on_full_disk");
}

#[test]
fn rotation_keeps_space_for_end() {
    run_on_small_disk("limits::child_rotates_before_full_disk");
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child_rotates_before_full_disk() {
    let Some(dir) = given_dir() else { return };
    let run = opened(&dir);
    let rotate = || run.rotate(RotationThreshold::default(), Duration::ZERO);
    let job = submitted(&run, "a");
    run.append(&[job], Durability::Process).unwrap();
    assert!(matches!(rotate().unwrap(), Rotation::Sealed(_)));
    fill(&dir);
    run.append(&[ended(&run, "a", Some(1))], Durability::Process)
        .unwrap();
    // One that fails for lack of space gives nothing away.
    let refused = rotate().unwrap_err();
    assert!(
        matches!(refused, RotateError::Storage(StorageError::NoSpace { .. })),
        "{refused:?}"
    );
    fill(&dir);
    let fresh = log(&dir);
    fresh
        .append(&[ended(&fresh, "a", None)], Durability::Power)
        .unwrap();
    close(&fresh);
}

#[test]
fn failed_attempts_leave_space_for_end() {
    run_on_small_disk("limits::child_retries_on_full_disk");
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child_retries_on_full_disk() {
    let Some(dir) = given_dir() else { return };
    let run = opened(&dir);
    run.append(&[submitted(&run, "a")], Durability::Process)
        .unwrap();
    fill(&dir);
    let mut attempts = 0;
    let refused = loop {
        match run.append(&[ended(&run, "a", Some(1))], Durability::Process) {
            Ok(_) => attempts += 1,
            Err(e) => break e,
        }
    };
    assert!(is_full(&refused), "{refused:?}");
    assert!(attempts > 5);
    run.append(&[ended(&run, "a", None)], Durability::Power)
        .unwrap();
    close(&run);
}

#[test]
fn ends_of_all_live_jobs_fit_on_full_disk() {
    run_on_small_disk("limits::child_with_live_jobs_on_full_disk");
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child_with_live_jobs_on_full_disk() {
    let Some(dir) = given_dir() else { return };
    let run = opened(&dir);
    let mut jobs = Vec::new();
    let refused = loop {
        let job = format!("job{}", jobs.len());
        match log(&dir).append(&[submitted(&run, &job)], Durability::Process) {
            Ok(_) => jobs.push(job),
            Err(e) => break e,
        }
    };
    assert!(is_full(&refused), "{refused:?}");
    assert!(jobs.len() > 40);
    fill(&dir);
    for job in &jobs {
        let writer = log(&dir);
        writer
            .append(&[ended(&writer, job, None)], Durability::Power)
            .unwrap();
    }
    close(&run);
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child_on_full_disk() {
    let Some(dir) = given_dir() else { return };
    let run = log(&dir);
    let active = run.dir().path().join("events.jsonl");
    let mut stand = 0;
    let refused = loop {
        match run.append(&[numbered(&run, stand)], Durability::Process) {
            Ok(_) => stand += 1,
            Err(e) => break e,
        }
    };
    assert!(is_full(&refused), "{refused:?}");
    assert!(stand > 100);
    assert_eq!(read_sound(&run).len(), stand);

    // Another process fills the disk, and a writer dies in the middle of a line.
    fill(&dir);
    fs::OpenOptions::new()
        .append(true)
        .open(&active)
        .unwrap()
        .write_all(b"torn")
        .unwrap();
    for writer in [&run, &log(&dir)] {
        let refused = writer.append(&[numbered(writer, 0)], Durability::Process);
        assert!(refused.as_ref().is_err_and(is_full), "{refused:?}");
    }
    // The last event of a job fits, even for a new writer.
    let fresh = log(&dir);
    let ended = |log: &RunLog| failed(log, &json!({"job_id": "a"}));
    run.append(&[ended(&run)], Durability::Power).unwrap();
    let budget = EventType::RunClosed.lock_budget();
    let closed = fresh.append_with(Durability::Power, budget, |_| {
        let drafts = vec![ended(&fresh)];
        Ok(Batch {
            drafts,
            close: Close::Now,
        })
    });
    assert!(closed.unwrap().closed);
    let kinds = fs::read_to_string(&active).unwrap();
    assert!(kinds.ends_with('\n'));
    assert_eq!(
        kinds
            .lines()
            .filter(|line| line.contains("\"log_repaired\""))
            .count(),
        1
    );
    assert_eq!(
        kinds
            .lines()
            .filter(|line| line.contains("\"job_failed\""))
            .count(),
        2
    );
}

#[test]
fn short_write_keeps_whole_lines() {
    let tmp = tempfile::tempdir().unwrap();
    // dash counts blocks of 512 bytes, bash of 1024.
    let bash = Path::new("/bin/bash").exists();
    let (shell, unit) = if bash {
        ("/bin/bash", "1024")
    } else {
        ("sh", "512")
    };
    let wrapper = [shell, "-c", SMALL_FILES, "sh", unit];
    run_ignored_test(&wrapper, "limits::child_with_file_size_limit", tmp.path());
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child_with_file_size_limit() {
    let Some(dir) = given_dir() else { return };
    let run = log(&dir);
    let mut written = 0;
    let refused = loop {
        // An ordinary event is rejected much earlier: only these may use the last bytes.
        let end = |n| failed(&run, &json!({"n": n, "x": "y".repeat(640)}));
        let batch: Vec<Draft> = (0..5).map(|n| end(written + n)).collect();
        match run.append(&batch, Durability::Process) {
            Ok(_) => written += 5,
            Err(e) => break e,
        }
    };
    let AppendError::Partial {
        written: stand,
        total: of,
        ..
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert!(stand > 0 && stand < of, "{stand} of {of}");
    let numbers: Vec<_> = read_sound(&run).iter().map(|e| e["n"].as_u64()).collect();
    assert!(
        numbers
            .into_iter()
            .eq((0..written + stand).map(|n| Some(n as u64)))
    );
    let ordinary = run.append(&[numbered(&run, 0)], Durability::Process);
    assert!(ordinary.as_ref().is_err_and(is_full), "{ordinary:?}");
    let small = failed(&run, &json!({"n": 0}));
    run.append(&[small], Durability::Process).unwrap();
    assert_eq!(read_sound(&run).len(), written + stand + 1);
}
