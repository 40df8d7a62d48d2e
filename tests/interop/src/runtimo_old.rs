//! runtimo-core 0.1.4, used like its own users do. Both versions define the same symbols for C,
//! so no program can link both.
//!
//! `runtimo-old make DIR` writes the logs in `fixtures/parents/`; DIR must not exist.
//! `runtimo-old read FILE` prints the events that its reader finds, one per line.

mod damage;

use std::fs;
use std::path::{Path, PathBuf};

use damage::{Done, GARBAGE, put, torn};
use runtimo::{WalEvent, WalEventType, WalReader, WalWriter};
use runtimo_core_0_1 as runtimo;
use serde_json::json;

/// The time of the first event, in seconds.
const BEGIN: u64 = 1_715_800_000;

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
        _ => Err("usage: runtimo-old make DIR | read FILE".into()),
    }
}

/// Writes all logs. 0.1.4 writes two events for a job, and one for a job that never ended.
fn make_all(dir: &Path) -> Done {
    let whole = dir.join("wal.jsonl");
    job(&whole, "4f1c9e0b7a2d", "FileRead", 0, Some(Ok(2)))?;
    job(&whole, "9a07d3e65b18", "ShellExec", 3, Some(Err(4)))?;
    job(&whole, "c2b8417f60ea", "GitExec", 8, None)?;

    let next = WalEvent {
        seq: 5,
        ..event(9, WalEventType::JobStarted, "d3a1", "FileRead")
    };
    let next = serde_json::to_string(&next)?;
    let torn_tail = dir.join("torn-tail.jsonl");
    fs::copy(&whole, &torn_tail)?;
    put(&torn_tail, torn(&next))?;

    let glued = dir.join("glued-line.jsonl");
    fs::copy(&torn_tail, &glued)?;
    job(&glued, "e4b2", "FileRead", 10, Some(Ok(1)))?;

    let garbage = dir.join("garbage-line.jsonl");
    fs::copy(&whole, &garbage)?;
    put(&garbage, GARBAGE)?;
    job(&garbage, "e4b2", "FileRead", 10, Some(Ok(1)))?;

    // runtimo's rotation replaces the extension: `wal.jsonl` becomes `wal.wal.1`.
    let rotated = dir.join("rotated");
    fs::create_dir(&rotated)?;
    let wal = rotated.join("wal.jsonl");
    for (number, id) in ["a1", "a2", "a3"].into_iter().enumerate() {
        job(&wal, id, "FileRead", number as u64 * 10, Some(Ok(2)))?;
        if number < 2 {
            WalWriter::rotate(&wal, 0, 5)?;
        }
    }
    Ok(())
}

fn event(second: u64, event_type: WalEventType, job: &str, capability: &str) -> WalEvent {
    WalEvent {
        seq: 0,
        ts: BEGIN + second,
        event_type,
        job_id: job.to_owned(),
        capability: Some(capability.to_owned()),
        output: None,
        error: None,
        telemetry_before: None,
        telemetry_after: None,
        process_before: None,
        process_after: None,
    }
}

/// Writes a job that starts at `second` and completes or fails after some seconds.
fn job(
    wal: &Path,
    job: &str,
    capability: &str,
    second: u64,
    ends: Option<Result<u64, u64>>,
) -> Done {
    use WalEventType::{JobCompleted, JobFailed, JobStarted};
    let mut writer = WalWriter::create(wal)?;
    let started = event(second, JobStarted, job, capability);
    writer.append(WalEvent {
        seq: writer.seq(),
        process_before: Some(runtimo::processes::ProcessSummary {
            total_processes: 42,
            total_cpu_percent: 3.5,
            total_mem_percent: 12.25,
            top_cpu_consumer: Some("cargo".to_owned()),
            top_mem_consumer: Some("rust-analyzer".to_owned()),
            zombie_count: 0,
        }),
        ..started
    })?;
    let end = match ends {
        None => return Ok(()),
        Some(Ok(after)) => WalEvent {
            output: Some(json!({"content": "zwei Zeilen\n\"ü\"", "size": 12})),
            ..event(second + after, JobCompleted, job, capability)
        },
        Some(Err(after)) => WalEvent {
            error: Some("Execution failed: command timed out".to_owned()),
            ..event(second + after, JobFailed, job, capability)
        },
    };
    let seq = writer.seq();
    Ok(writer.append(WalEvent { seq, ..end })?)
}
