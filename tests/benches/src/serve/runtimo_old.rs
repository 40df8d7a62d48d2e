//! runtimo-core 0.1.4 as a server: `runtimo-old FILE`.

#[path = "mod.rs"]
mod serve;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use runtimo_core_0_1::processes::ProcessSnapshot;
use runtimo_core_0_1::telemetry::Telemetry;
use runtimo_core_0_1::{WalEvent, WalEventType, WalReader, WalWriter};
use serde_json::json;
use serve::{Done, Server, serve};

fn main() -> Done {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("usage: runtimo-old FILE")?;
    let path = PathBuf::from(path);
    serve(&mut Old { path, writer: None })
}

struct Old {
    path: PathBuf,
    writer: Option<WalWriter>,
}

impl Server for Old {
    fn does(&mut self, verb: &str, n: u64) -> Done<u64> {
        match verb {
            "append" => {
                let writer = match &mut self.writer {
                    Some(writer) => writer,
                    none => none.insert(WalWriter::create(&self.path)?),
                };
                for _ in 0..n {
                    writer.append(event(writer.seq()))?;
                }
                Ok(n)
            }
            // The writer of runtimo would take hours, because each append rewrites the whole
            // file.
            "fill" => {
                let mut file = BufWriter::new(File::create(&self.path)?);
                for seq in 0..n {
                    writeln!(file, "{}", serde_json::to_string(&event(seq))?)?;
                }
                file.flush()?;
                Ok(n)
            }
            "load" => Ok(WalReader::load(&self.path)?.events().len() as u64),
            "tail" => Ok(WalReader::tail(&self.path, n as usize)?.events().len() as u64),
            "telemetry" => Ok(u64::from(Telemetry::capture().timestamp > 0)),
            "processes" => {
                ProcessSnapshot::clear_cache();
                Ok(ProcessSnapshot::capture().processes.len() as u64)
            }
            _ => Err("unknown verb".into()),
        }
    }
}

/// Returns an event of 388 bytes with its ` `, without the digits of its number.
fn event(seq: u64) -> WalEvent {
    WalEvent {
        seq,
        ts: 1_795_330_000,
        event_type: WalEventType::JobCompleted,
        job_id: "4f1c9e0b7a2d4f1c9e0b7a2d".to_owned(),
        capability: Some("ShellExec".to_owned()),
        output: Some(json!({"status": "ok", "exit_code": 0, "content": "x".repeat(206)})),
        error: None,
        telemetry_before: None,
        telemetry_after: None,
        process_before: None,
        process_after: None,
    }
}
