//! omne-cli's log, as a library.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use omne_cli::event_log::{Error, EventLog, read_run};
use omne_cli::events::{Event, GateMethod, GatePassed, PipeCompleted, PipeStarted};

use super::EVENT;
use crate::serve::{Done, Server};

pub struct Omne {
    root: PathBuf,
    run: String,
    log: EventLog,
    event: Event,
}

impl Omne {
    pub fn open(root: &str, run: &str) -> Done<Self> {
        let root = PathBuf::from(root);
        let log = EventLog::for_run(&root, run)?;
        let event = event(run)?;
        Ok(Self {
            root,
            run: run.to_owned(),
            log,
            event,
        })
    }
}

impl Server for Omne {
    fn does(&mut self, verb: &str, n: u64) -> Done<u64> {
        match verb {
            "append" => {
                for _ in 0..n {
                    self.log.append(&self.event)?;
                }
                Ok(n)
            }
            "try" => match self.log.append(&self.event) {
                Ok(()) => Ok(1),
                Err(Error::LockTimeout { .. }) => Ok(0),
                Err(e) => Err(e.into()),
            },
            "load" => Ok(read_run(&self.root, &self.run)?.len() as u64),
            _ => Err("unknown verb".into()),
        }
    }
}

const ID: &str = "01kp8a00000000000000000000";
const TS: &str = "2026-04-15T12:00:00Z";

/// Returns an event of [`EVENT`] bytes with its `\n`. The id and the time are given: omne
/// creates them before the append, and runlog during it.
fn event(run: &str) -> Done<Event> {
    let of = |pad: usize| {
        Event::GatePassed(GatePassed {
            id: ID.to_owned(),
            ts: TS.to_owned(),
            run_id: run.to_owned(),
            node_id: "compile".to_owned(),
            gate: "lint".to_owned(),
            method: GateMethod::Hook,
            stdout: Some("x".repeat(pad)),
        })
    };
    let bare = serde_json::to_string(&of(0))?.len() + 1;
    Ok(of(EVENT.checked_sub(bare).ok_or("too long a name")?))
}

/// Writes a finished run of `events` events, with the bytes that omne's own append writes.
pub fn write_run(root: &Path, run: &str, events: u64) -> Done {
    let path = EventLog::for_run(root, run)?.path().to_owned();
    let mut file = BufWriter::new(File::create(path)?);
    let (id, ts, run_id) = (ID.to_owned(), TS.to_owned(), run.to_owned());
    let begin = Event::PipeStarted(PipeStarted {
        id: id.clone(),
        ts: ts.clone(),
        run_id: run_id.clone(),
        pipe: "bench".to_owned(),
        inputs: Vec::new(),
        distro_version: String::new(),
    });
    let end = Event::PipeCompleted(PipeCompleted { id, ts, run_id });
    let line = serde_json::to_string(&event(run)?)?;
    writeln!(file, "{}", serde_json::to_string(&begin)?)?;
    for _ in 2..events {
        writeln!(file, "{line}")?;
    }
    writeln!(file, "{}", serde_json::to_string(&end)?)?;
    Ok(file.flush()?)
}
