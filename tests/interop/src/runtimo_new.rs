//! runtimo-core 0.10.3, used like its own users do. Both versions define the same symbols for C,
//! so no program can link both.
//!
//! `runtimo-new make DIR` writes the logs in `fixtures/parents/`; DIR must not exist.
//! `runtimo-new read FILE` prints the events that its reader finds, one per line.

mod damage;

use std::fs;
use std::path::{Path, PathBuf};

use damage::{Done, GARBAGE, put, torn};
use runtimo::{WalEvent, WalEventType, WalReader, WalWriter};
use runtimo_core_0_10 as runtimo;
use serde_json::json;

/// The time of the first event in seconds, which is later than the markers.
const BEGIN: u64 = 1_795_330_000;

fn main() -> Done {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match &args[..] {
        [make, dir] if make == Path::new("make") => {
            fs::create_dir(dir)?;
            make_all(dir)
        }
        [read, file] if read == Path::new("read") => {
            for event in WalReader::load(file)?.events() {
                println!("{}", serde_json::to_string(event)?);
            }
            Ok(())
        }
        _ => Err("usage: runtimo-new make DIR | read FILE".into()),
    }
}

/// Writes all logs. 0.10.3 marks each opening, and records the command after the end of its job.
fn make_all(dir: &Path) -> Done {
    let whole = dir.join("wal.jsonl");
    job(&whole, "4f1c9e0b7a2d", "ShellExec", 0, Some(Ok(2)))?;
    job(&whole, "9a07d3e65b18", "ShellExec", 3, Some(Err(4)))?;
    job(&whole, "c2b8417f60ea", "GitExec", 8, None)?;

    let next = event(9, WalEventType::JobStarted, "d3a1", "FileRead");
    let next = serde_json::to_string(&next)?;
    let torn_tail = dir.join("torn-tail.jsonl");
    fs::copy(&whole, &torn_tail)?;
    put(&torn_tail, torn(&next))?;

    // The line that is glued on here is the marker of the next writer.
    let glued = dir.join("glued-line.jsonl");
    fs::copy(&torn_tail, &glued)?;
    job(&glued, "e4b2", "ShellExec", 10, Some(Ok(1)))?;

    let garbage = dir.join("garbage-line.jsonl");
    fs::copy(&whole, &garbage)?;
    put(&garbage, GARBAGE)?;
    job(&garbage, "e4b2", "ShellExec", 10, Some(Ok(1)))?;

    let rotated = dir.join("rotated");
    fs::create_dir(&rotated)?;
    let wal = rotated.join("wal.jsonl");
    for (number, id) in ["b1", "b2", "b3"].into_iter().enumerate() {
        job(&wal, id, "ShellExec", number as u64 * 10, Some(Ok(2)))?;
        if number < 2 {
            WalWriter::rotate(&wal, 0, 5)?;
        }
    }
    Ok(())
}

fn event(second: u64, event_type: WalEventType, job: &str, capability: &str) -> WalEvent {
    WalEvent {
        ts: BEGIN + second,
        event_type,
        job_id: job.to_owned(),
        capability: Some(capability.to_owned()),
        ..Default::default()
    }
}

fn job(
    wal: &Path,
    job: &str,
    capability: &str,
    second: u64,
    ends: Option<Result<u64, u64>>,
) -> Done {
    use WalEventType::{
        BackupCreated, CommandExecuted, JobCompleted, JobFailed, JobStarted, SafetyEvaluated,
    };
    let mut writer = WalWriter::create(wal)?;
    let mut write = |event: WalEvent| -> Done {
        let seq = writer.seq();
        Ok(writer.append(WalEvent { seq, ..event })?)
    };
    write(WalEvent {
        mono_ns: Some(second * 1_000_000_000 + 7),
        ..event(second, JobStarted, job, capability)
    })?;
    write(WalEvent {
        oov_ratio: Some(12),
        detection_flags: Some(0),
        ..event(second, SafetyEvaluated, job, capability)
    })?;
    match ends {
        None => Ok(()),
        Some(Err(after)) => write(WalEvent {
            error: Some("Execution failed: command timed out".to_owned()),
            ..event(second + after, JobFailed, job, capability)
        }),
        Some(Ok(after)) => {
            write(WalEvent {
                output: Some(json!({"data": {"path": "/tmp/a", "backup_path": "/tmp/a.bak"}})),
                ..event(second + after, BackupCreated, job, capability)
            })?;
            write(WalEvent {
                output: Some(json!({"status": "ok", "data": {"exit_code": 0}})),
                ..event(second + after, JobCompleted, job, capability)
            })?;
            write(WalEvent {
                capability: None,
                cmd: Some("make all".to_owned()),
                cmd_stdout: Some("zwei Zeilen\n\"ü\"\n".to_owned()),
                cmd_stderr: Some(String::new()),
                cmd_exit_code: Some(0),
                ..event(second + after, CommandExecuted, job, capability)
            })
        }
    }
}
