//! Whether a run's files are what the format promises: checksums, numbers, ids, times,
//! the order of stages, the chain of segments, the checkpoints, and the captured output.
//!
//! Everything is read once, forwards, without a lock, and no more is held than a line and
//! the state of the run.

pub(crate) mod chain;
pub(crate) mod checkpoint;
pub(crate) mod fault;
pub(crate) mod fields;
pub(crate) mod order;
pub(crate) mod outputs;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;

use ulid::Ulid;

use super::error::StorageError;
use crate::log::format::envelope::{DamageReason, Envelope, is_json_object};
use crate::log::format::event_type::EventType;
use crate::log::interop::runtimo_wal::RuntimoWal;
use crate::log::lock::file_lock;
use crate::log::read::reader::{Damage, Item, LinePosition, Reader};
use crate::log::segment::segment_set::{Segment, open_segments};
use crate::log::state::run_state::RunState;
use crate::log::verify::chain::Chain;
use crate::log::verify::fields::fields_of;
use crate::volume::{Dir, FileKey, layout, parse_ts};

pub(crate) use crate::log::verify::fault::{Fault, FaultKind};

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Sound events of ours.
    pub events: u64,
    /// Lines of other programs, which have no checksum and no number.
    pub foreign: u64,
    /// Files of the log.
    pub segments: usize,
    /// Jobs.
    pub jobs: usize,
    /// What was told as a fault.
    pub faults: u64,
    /// The number of the first event that is there.
    pub first_seq: Option<u64>,
    /// Somebody is writing the last line.
    pub in_flight: bool,
    /// There is an active segment.
    pub has_active: bool,
}

/// Checks the run in `dir`; each fault goes to `each` as it is found, in the order of the
/// log.
///
/// # Errors
/// A file cannot be read, or what `each` ended with.
pub fn verify<E: From<StorageError>>(
    dir: &Dir,
    each: impl FnMut(Fault) -> Result<(), E>,
) -> Result<VerifyReport, E> {
    read_all(open_segments(dir)?, each, |check, active, end, tell| {
        check.end(dir, active, end, tell)
    })
}

/// The same for a log of runtimo.
///
/// # Errors
/// As [`verify`].
pub fn verify_wal<E: From<StorageError>>(
    wal: &RuntimoWal,
    each: impl FnMut(Fault) -> Result<(), E>,
) -> Result<VerifyReport, E> {
    read_all(wal.segments()?, each, |check, active, end, tell| {
        check.verified.jobs = check.state.jobs_total;
        let Some((active, end)) = unfinished_line(active, end) else {
            return Ok(false);
        };
        // Its writers hold this lock, if any, while they write.
        let is_held = file_lock::try_shared(&active.file, &active.path)?.is_none();
        if !is_held {
            tell(check.torn_tail(active, end, "its program never mends it"));
        }
        Ok(is_held)
    })
}

/// Reads what there is; `last` tells what can be told only then, and whether the last line
/// is in flight.
fn read_all<E: From<StorageError>>(
    segments: Vec<Segment>,
    mut each: impl FnMut(Fault) -> Result<(), E>,
    last: impl FnOnce(
        &mut Verifier,
        Option<&Segment>,
        Option<u64>,
        &mut dyn FnMut(Fault),
    ) -> Result<bool, StorageError>,
) -> Result<VerifyReport, E> {
    let stopped = Cell::new(None);
    let mut faults = 0;
    let mut tell = |fault: Fault| {
        faults += 1;
        match stopped.take() {
            None => stopped.set(each(fault).err()),
            earlier => stopped.set(earlier),
        }
    };
    let active = segments.iter().find(|s| s.first_seq.is_none()).cloned();
    let mut check = Verifier::new(&segments);
    let mut reader = Reader::from_segments(segments);
    while let Some((place, item)) = reader.next_with_position()? {
        check.item(&place, &item, &mut tell);
        if let Some(e) = stopped.take() {
            return Err(e);
        }
    }
    let end = reader.end_of_active();
    let in_flight = last(&mut check, active.as_ref(), end, &mut tell)?;
    let verified = VerifyReport {
        faults,
        in_flight,
        ..check.verified
    };
    match stopped.take() {
        Some(e) => Err(e),
        None => Ok(verified),
    }
}

/// The active segment and where its last whole line ends, if there is more behind.
fn unfinished_line(active: Option<&Segment>, end: Option<u64>) -> Option<(&Segment, u64)> {
    let (active, end) = (active?, end?);
    (end < active.len).then_some((active, end))
}

/// What is known while the lines are read.
struct Verifier {
    verified: VerifyReport,
    state: RunState,
    chain: Chain,
    last_seq: Option<u64>,
    last_id: Option<Ulid>,
    run_id: Option<String>,
    /// No event is missing since the last checkpoint: the state must be that of the log.
    whole: bool,
    /// Numbers were missing before the next event.
    gap: bool,
    /// Stored bytes at the end of each rollback, where that was told.
    rolled_back: HashMap<String, Option<u64>>,
}

impl Verifier {
    fn new(segments: &[Segment]) -> Self {
        Self {
            verified: VerifyReport {
                events: 0,
                foreign: 0,
                segments: segments.len(),
                jobs: 0,
                faults: 0,
                first_seq: None,
                in_flight: false,
                has_active: segments.iter().any(|s| s.first_seq.is_none()),
            },
            state: RunState::default(),
            chain: Chain::new(segments),
            last_seq: None,
            last_id: None,
            run_id: None,
            whole: true,
            gap: false,
            rolled_back: HashMap::new(),
        }
    }

    fn item(&mut self, place: &LinePosition<'_>, item: &Item<'_>, tell: &mut dyn FnMut(Fault)) {
        match item {
            Item::Event(env, line) => self.event(place, env, line, tell),
            Item::Foreign(_, line) => {
                self.verified.foreign += 1;
                self.chain.foreign(place);
                self.state.apply_foreign(line);
            }
            Item::Damage(damage) if damage.reason == DamageReason::Gap => {
                self.gap = true;
                self.whole = false;
            }
            Item::Damage(damage) => {
                self.chain.damage(place);
                self.whole = false;
                tell(record_damage(damage));
            }
        }
    }

    fn event(
        &mut self,
        place: &LinePosition<'_>,
        env: &Envelope<'_>,
        line: &[u8],
        tell: &mut dyn FnMut(Fault),
    ) {
        let mut wrong = |file: Option<PathBuf>, kind, message| {
            let whole_file = file.is_some();
            tell(Fault {
                kind,
                file: file.unwrap_or_else(|| place.file.to_owned()),
                line: (!whole_file).then_some(place.line),
                offset: (!whole_file).then_some(place.offset),
                seq: (!whole_file).then_some(env.seq),
                message,
            });
        };
        self.verified.events += 1;
        self.verified.first_seq.get_or_insert(env.seq);
        if std::mem::take(&mut self.gap) {
            wrong(None, FaultKind::Gap, missing_events(self.last_seq, env.seq));
        }
        self.last_seq = Some(env.seq);

        match env.ulid() {
            None => wrong(None, FaultKind::Id, "its id is no ULID".to_owned()),
            Some(id) if self.last_id.is_some_and(|last| id <= last) => {
                let message = "its id is not above the one before".to_owned();
                wrong(None, FaultKind::Id, message);
            }
            id => self.last_id = id,
        }
        if !env.ts.ends_with('Z') || !env.ts.contains('T') || parse_ts(env.ts).is_none() {
            let message = format!("its time is malformed: {}", env.ts);
            wrong(None, FaultKind::Time, message);
        }

        let kind = EventType::parse(env.kind);
        let forged = !is_json_object(line);
        let fields = if forged { None } else { fields_of(kind, line) };
        let run_id = fields.as_ref().map(|f| f.run_id.clone());
        match (&self.run_id, run_id) {
            (_, None) => {}
            (None, id) => self.run_id = id,
            (Some(first), Some(id)) if *first != id => {
                let message = format!("it is an event of run {id} among those of {first}");
                wrong(None, FaultKind::Fields, message);
            }
            _ => {}
        }
        let sealed = fields.as_ref().and_then(|f| f.sealed.as_ref());
        self.chain
            .event(place, env, sealed, &mut |(file, kind, message)| {
                wrong(file, kind, message);
            });
        if forged {
            let message = "its checksum matches, but it is not one JSON object".to_owned();
            wrong(None, FaultKind::Forged, message);
            self.whole = false;
        }
        let Some(kind) = kind.filter(|_| !forged) else {
            // Readers trust the checksum, so the state here has to be theirs.
            self.state.apply(env, line);
            return;
        };
        let Some(fields) = fields else {
            let message = format!("its fields are not those of {}", kind.as_str());
            wrong(None, FaultKind::Fields, message);
            self.state.apply(env, line);
            return;
        };
        let first = self.verified.events == 1 && self.verified.foreign == 0;
        if first && env.seq > 0 && kind != EventType::LogRotated {
            self.whole = false;
        }
        let job = fields.job_id.as_deref();
        if let Some(order) = order::out_of_order(&self.state, kind, job, fields.attempt)
            && (self.whole || !order.missing)
        {
            wrong(None, FaultKind::StageOrder, order.message);
        }
        self.state.apply(env, line);
        if kind == EventType::JobRolledBack
            && let Some(job) = fields.job_id
        {
            let bytes = fields.output.map(|output| output.captured_bytes);
            self.rolled_back.insert(job, bytes);
        }
        if let Some(told) = fields.summary
            && self.whole
            && !checkpoint::matches_fold(told, &self.state)
        {
            let message = "its summary is not what the events before it tell".to_owned();
            wrong(None, FaultKind::Checkpoint, message);
        }
        if kind == EventType::LogRotated && !first {
            let agrees = fields
                .state
                .is_some_and(|told| checkpoint::matches_fold(told, &self.state));
            if self.whole && !agrees {
                let message = "its state is not what the events before it tell".to_owned();
                wrong(None, FaultKind::Checkpoint, message);
            }
            let mut told = RunState::default();
            told.apply(env, line);
            if !told.jobs_truncated {
                // From here on the log has a beginning again.
                if !std::mem::replace(&mut self.whole, true) {
                    self.state = told;
                }
            }
        }
    }

    /// What can be told only when all was read; says whether the last line is in flight.
    fn end(
        &mut self,
        dir: &Dir,
        active: Option<&Segment>,
        end: Option<u64>,
        tell: &mut dyn FnMut(Fault),
    ) -> Result<bool, StorageError> {
        self.verified.jobs = self.state.jobs_total;
        self.chain.end(&mut |(file, kind, message)| {
            tell(Fault {
                kind,
                file: file.unwrap_or_else(|| dir.path().to_owned()),
                line: None,
                offset: None,
                seq: None,
                message,
            });
        });
        let mut in_flight = false;
        if let Some((active, end)) = unfinished_line(active, end) {
            in_flight = !is_torn(dir, active)?;
            if !in_flight {
                tell(self.torn_tail(active, end, "the next writer mends it"));
            }
        }
        outputs::check(dir, &self.state, &self.rolled_back, tell)?;
        if self.whole && !self.state.jobs_truncated && is_unchanged(dir, active)? {
            outputs::unknown(dir, &self.state, tell)?;
        }
        Ok(in_flight)
    }

    /// The end of a log behind its last whole line; `mended` tells what becomes of it.
    fn torn_tail(&self, active: &Segment, end: u64, mended: &str) -> Fault {
        Fault {
            kind: FaultKind::TornTail,
            file: active.path.clone(),
            line: Some(self.chain.lines_of_last() + 1),
            offset: Some(end),
            seq: None,
            message: format!(
                "torn tail: {} bytes without a newline; {mended}",
                active.len - end
            ),
        }
    }
}

fn record_damage(damage: &Damage) -> Fault {
    let kind = match damage.reason {
        DamageReason::Repeated => FaultKind::Repeated,
        _ => FaultKind::DamagedLine,
    };
    Fault {
        kind,
        file: damage.file.clone(),
        line: Some(damage.line),
        offset: Some(damage.offset),
        seq: None,
        message: format!("damaged line: {}", damage.reason),
    }
}

/// The numbers between the event before and this one.
fn missing_events(last: Option<u64>, next: u64) -> String {
    let first = last.map_or(0, |n| n + 1);
    match next.saturating_sub(first) {
        0 | 1 => format!("event {first} is missing before it"),
        _ => format!(
            "the events {first} to {} are missing before it",
            next.saturating_sub(1)
        ),
    }
}

/// Whether the last line of the active segment has no `\n` and nobody is writing it: told
/// under shared locks, which no writer holds against.
fn is_torn(dir: &Dir, active: &Segment) -> Result<bool, StorageError> {
    let lock_file = dir.read(layout::LOCK)?;
    let lock_path = dir.path().join(layout::LOCK);
    let _run = match &lock_file {
        None => None,
        Some(file) => match file_lock::try_shared(file, &lock_path)? {
            None => return Ok(false),
            guard => guard,
        },
    };
    let Some(_segment) = file_lock::try_shared(&active.file, &active.path)? else {
        return Ok(false);
    };
    is_unchanged(dir, Some(active))
}

/// Whether the active segment is the file that was read, of the same length.
fn is_unchanged(dir: &Dir, active: Option<&Segment>) -> Result<bool, StorageError> {
    let now = dir.stat(layout::ACTIVE)?;
    Ok(match (now, active) {
        (Some(stat), Some(read)) => {
            FileKey::from(&stat) == read.key && stat.st_size as u64 == read.len
        }
        (None, None) => true,
        _ => false,
    })
}
