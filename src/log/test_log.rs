//! Shared helpers of the log's tests: a run in a temporary volume, and ways to damage it.

use std::fs;
use std::path::PathBuf;

use crate::log::format::envelope::write_line;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, JobSubmitted, RunOpened};
use crate::log::*;
use crate::volume::{JobId, RunId, Volume, layout};

pub(crate) struct TestLog {
    _tmp: tempfile::TempDir,
    pub volume: Volume,
    pub run: RunId,
}

impl TestLog {
    pub(crate) fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let volume = Volume::create(tmp.path()).unwrap();
        let run = "r".parse().unwrap();
        Self {
            _tmp: tmp,
            volume,
            run,
        }
    }

    /// Creates a run with `run_opened` and `notes` notes.
    pub(crate) fn with_notes(notes: usize) -> Self {
        let it = Self::new();
        let log = it.log();
        let opened = RunOpened::default();
        let opened = Draft::new(&it.run, None, &opened).unwrap();
        log.append(&[opened], Durability::Process).unwrap();
        (0..notes).for_each(|n| it.add(&log, n));
        it
    }

    /// Opens a new writer, as another process would.
    pub(crate) fn log(&self) -> RunLog {
        RunLog::open_or_create(&self.volume, &self.run, None).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.volume.run_path(&self.run).join(name)
    }

    pub(crate) fn active(&self) -> PathBuf {
        self.path(layout::ACTIVE)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.active()).unwrap()
    }

    pub(crate) fn set(&self, bytes: &[u8]) {
        fs::write(self.active(), bytes).unwrap();
    }

    pub(crate) fn note(&self, n: usize) -> Draft {
        let data = serde_json::json!({"name": "n", "n": n});
        Draft::with_type(EventType::Note, &self.run, None, &data).unwrap()
    }

    pub(crate) fn add(&self, log: &RunLog, n: usize) {
        log.append(&[self.note(n)], Durability::Process).unwrap();
    }

    pub(crate) fn submitted(&self, job: &str) -> Draft {
        self.of_job(EventType::JobSubmitted, job, &JobSubmitted::default())
    }

    /// Returns `job_completed`, or `job_failed` if there is a message.
    pub(crate) fn ended(&self, job: &str, failure: Option<&str>) -> Draft {
        let kind = failure.map_or(EventType::JobCompleted, |_| EventType::JobFailed);
        let error = failure.map(|message| JobError {
            kind: ErrorKind::Exit,
            message: message.to_owned(),
        });
        let ended = JobEnded {
            error,
            ..JobEnded::default()
        };
        self.of_job(kind, job, &ended)
    }

    pub(crate) fn of_job(
        &self,
        kind: EventType,
        job: &str,
        payload: &impl serde::Serialize,
    ) -> Draft {
        let job: JobId = job.parse().unwrap();
        Draft::with_type(kind, &self.run, Some(&job), payload).unwrap()
    }

    /// Appends `drafts` and `close` with a new writer.
    pub(crate) fn close(&self, drafts: &[Draft], close: Close) -> Result<Appended, AppendError> {
        let budget = EventType::RunClosed.lock_budget();
        self.log().append_with(Durability::Process, budget, |_| {
            Ok(Batch {
                drafts: drafts.to_vec(),
                close,
            })
        })
    }

    /// Returns everything that a reader finds.
    pub(crate) fn read(&self) -> ReadBack {
        let dir = self.log().dir().try_clone().unwrap();
        let mut reader = Reader::open(&dir).unwrap();
        let mut found = ReadBack::default();
        while let Some(item) = reader.next_item().unwrap() {
            match item {
                Item::Event(env, line) => {
                    found.seqs.push(env.seq);
                    found.ids.push(env.id().to_owned());
                    found.kinds.push(env.kind.to_string());
                    found.lines.push(String::from_utf8(line.to_vec()).unwrap());
                }
                Item::Foreign(..) => found.foreign += 1,
                Item::Damage(damage) => found.damage.push(damage),
                Item::Dropped(gap) => found.dropped.push(gap),
            }
        }
        found
    }

    pub(crate) fn quarantined(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.path(layout::QUARANTINE)) else {
            return Vec::new();
        };
        entries
            .map(|e| fs::read(e.unwrap().path()).unwrap())
            .collect()
    }
}

#[derive(Debug, Default)]
pub(crate) struct ReadBack {
    pub seqs: Vec<u64>,
    pub ids: Vec<String>,
    pub kinds: Vec<String>,
    pub lines: Vec<String>,
    pub foreign: usize,
    pub damage: Vec<Damage>,
    pub dropped: Vec<Gap>,
}

impl ReadBack {
    /// Asserts that the numbers start at 0 without a gap, that the ids increase, and that there
    /// is no damage.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        assert_eq!(self.damage, []);
        assert!(
            self.seqs.iter().copied().eq(0..self.seqs.len() as u64),
            "{:?}",
            self.seqs
        );
        self.assert_rising();
    }

    #[track_caller]
    pub(crate) fn assert_rising(&self) {
        assert!(self.seqs.is_sorted_by(|a, b| a < b), "{:?}", self.seqs);
        assert!(self.ids.is_sorted_by(|a, b| a < b), "{:?}", self.ids);
    }

    pub(crate) fn reasons(&self) -> Vec<DamageReason> {
        self.damage.iter().map(|damage| damage.reason).collect()
    }

    pub(crate) fn last(&self) -> serde_json::Value {
        serde_json::from_str(self.lines.last().unwrap()).unwrap()
    }
}

/// Returns the offset of the end of each line.
pub(crate) fn line_ends(bytes: &[u8]) -> Vec<usize> {
    memchr::memchr_iter(b'\n', bytes).map(|at| at + 1).collect()
}

/// Returns the n-th line with its `\n`.
pub(crate) fn line(bytes: &[u8], n: usize) -> &[u8] {
    bytes.split_inclusive(|b| *b == b'\n').nth(n).unwrap()
}

/// The text between `ts` and `crc` of a note without data.
pub(crate) const PLAIN: &str = r#""type":"note","run_id":"r""#;

/// Returns a line with its `\n`. The ids increase with the numbers.
pub(crate) fn written(seq: u64, body: &str) -> Vec<u8> {
    let mut line = Vec::new();
    let id = Ulid::from_parts(1_800_000_000_000 + seq, 42);
    let ts = "2026-11-21T21:49:00.123456Z";
    write_line(&mut line, seq, id, ts, body.as_bytes());
    line
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}
