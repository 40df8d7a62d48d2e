//! runlog's own log, as a library.

use std::path::Path;

use runlog::log::payload::{Note, RunOpened};
use runlog::log::{
    AppendError, Batch, Close, Draft, Durability, EventType, Fold, JobScope, Reader, RunLog,
    StorageError, compress_sealed, read_summary,
};
use runlog::telemetry::Sampler;
use runlog::volume::{RunId, Volume};
use serde_json::value::RawValue;

use super::EVENT;
use crate::serve::{Done, Server};

/// The number of events in a batch.
const BATCH: u64 = 16;

/// A run that is open for appending and reading.
pub struct Ours {
    log: RunLog,
    notes: Notes,
    sampler: Sampler,
}

impl Ours {
    /// Opens an existing run, or creates it.
    pub fn open(root: &str, run: &str) -> Done<Self> {
        let volume = Volume::create(Path::new(root))?;
        let run: RunId = run.parse()?;
        let log = RunLog::open_or_create(&volume, &run, None)?;
        let notes = notes(&run)?;
        let sampler = Sampler::new(Path::new(root), |_| None);
        Ok(Self {
            log,
            notes,
            sampler,
        })
    }

    /// Appends batches of `events` events each.
    fn batches(&self, n: u64, events: u64, durability: Durability) -> Done<u64> {
        for _ in 0..n {
            let drafts: Done<Vec<Draft>> = (0..events).map(|_| self.notes.draft()).collect();
            self.log.append(&drafts?, durability)?;
        }
        Ok(n * events)
    }
}

impl Server for Ours {
    fn does(&mut self, verb: &str, n: u64) -> Done<u64> {
        match verb {
            "append" => self.batches(n, 1, Durability::Process),
            "durable" => self.batches(n, 1, Durability::Power),
            "batch" => self.batches(n / BATCH, BATCH, Durability::Process),
            // Returns whether the locks were acquired in time.
            "try" => match self.log.append(&[self.notes.draft()?], Durability::Process) {
                Ok(_) => Ok(1),
                Err(AppendError::NotWritten(StorageError::LockTimeout { .. })) => Ok(0),
                Err(e) => Err(e.into()),
            },
            // The same as `runlog::log::fold`, but counted.
            "fold" => {
                let mut reader = Reader::open(self.log.dir())?;
                let mut fold = Fold::default();
                while let Some(item) = reader.next_item()? {
                    fold.apply(&item);
                }
                std::hint::black_box(fold.state);
                Ok(reader.next_seq())
            }
            "read" => {
                let mut reader = Reader::open(self.log.dir())?;
                while reader.next_item()?.is_some() {}
                Ok(reader.next_seq())
            }
            "summary" => Ok(read_summary(self.log.dir(), JobScope::Summarized)?.events),
            "compress" => Ok(compress_sealed(self.log.dir())?.len() as u64),
            "host" => {
                for _ in 0..n {
                    std::hint::black_box(self.sampler.host());
                }
                Ok(n)
            }
            "processes" => {
                for _ in 0..n {
                    let snapshot = self.sampler.processes(None).ok_or("no processes")?;
                    std::hint::black_box(snapshot);
                }
                Ok(n)
            }
            _ => Err("unknown verb".into()),
        }
    }
}

/// A generator of a run's events.
pub struct Notes {
    run: RunId,
    data: Box<RawValue>,
}

/// Returns a generator of notes whose lines are [`EVENT`] bytes long, including `\n`, as long as
/// their numbers have five digits.
pub fn notes(run: &RunId) -> Done<Notes> {
    let data = |pad: usize| {
        let text = "x".repeat(pad);
        format!(r#"{{"step":"compile","number":42,"status":"ok","text":"{text}"}}"#)
    };
    let (id, ts) = ("i".repeat(26), "t".repeat(27));
    let bare = format!(
        r#"{{"v":1,"seq":10000,"id":"{id}","ts":"{ts}","type":"note","run_id":"{run}","name":"bench","data":{},"crc":"01234567"}}"#,
        data(0)
    );
    let pad = EVENT.checked_sub(bare.len() + 1).ok_or("too long a name")?;
    let data = RawValue::from_string(data(pad))?;
    Ok(Notes {
        run: run.clone(),
        data,
    })
}

impl Notes {
    /// Returns the next event.
    ///
    /// # Errors
    /// None, because the data is valid JSON.
    pub fn draft(&self) -> Done<Draft> {
        let note = Note {
            name: "bench".into(),
            data: Some(&self.data),
        };
        Ok(Draft::new(&self.run, None, &note)?)
    }
}

/// Writes a run with a total of `events` events to a volume, and closes it if `closed` is set.
pub fn write_run(volume: &Volume, run: &RunId, events: u64, closed: bool) -> Done {
    let log = RunLog::open_or_create(volume, run, None)?;
    let notes = notes(run)?;
    let opened = RunOpened {
        name: "bench".to_owned(),
        ..RunOpened::default()
    };
    let opened = Draft::new(run, None, &opened)?;
    log.append(&[opened], Durability::Process)?;
    let events = events.saturating_sub(1 + u64::from(closed));
    for begin in (0..events).step_by(512) {
        let batch = begin..events.min(begin + 512);
        let drafts: Done<Vec<Draft>> = batch.map(|_| notes.draft()).collect();
        log.append(&drafts?, Durability::Process)?;
    }
    if closed {
        let budget = EventType::RunClosed.lock_budget();
        log.append_with(Durability::Process, budget, |_| Ok(Batch::only(Close::Now)))?;
    }
    Ok(())
}
