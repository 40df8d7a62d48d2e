//! Rotation: the active segment is sealed, and a new one begins with a checkpoint.
//!
//! Under the locks: the tail is settled and synced; `log_rotated` is written to a new
//! file and synced; the active segment gets its sealed name, and the new file the name
//! of the active one. A crash in between leaves the sealed segment without an active
//! one, which readers read and the next writer goes on from ([`crate::log::write::recover_tail`]).
//!
//! All that takes long is done before the locks: the state is folded, the lines are looked
//! at and synced, so that only what came since is left to be done under them.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::append::Close;
use super::run_log::{ActiveSegment, RunLog, WriterState};
use super::tail::{Tail, TailMode};
use crate::log::error::{DraftError, RotateError, StorageError, SyncError};
use crate::log::format::event_type::EventType;
use crate::log::format::payload::Sealed;
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::log::lock::file_lock::LockDeadline;
use crate::log::read::reader;
use crate::log::segment::scan_stats::ScanStats;
use crate::log::segment::segment_set;
use crate::log::state::run_state::RunState;
use crate::log::write::draft::Draft;
use crate::volume::{Dir, FileKey, IoContext, RunId, layout};

/// News of fewer bytes are left to be read under the locks.
const SCAN_UNLOCKED_MIN: u64 = 1 << 20;
/// So often news are read before the locks are taken all the same.
const MAX_SCANS: u32 = 8;

/// When a log begins a new segment: once one of them is reached; at once where there
/// is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotationThreshold {
    /// Length of the active segment, in bytes.
    pub max_size: Option<u64>,
    /// Age of its first event.
    pub max_age: Option<Duration>,
}

/// Why a log is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRotated {
    /// Its other writer would go on in the sealed file.
    #[error("it holds lines of another program, which may still write to it")]
    Foreign,
    /// Nothing, or nothing but the checkpoint.
    #[error("nothing was written since the last rotation")]
    Fresh,
    /// No threshold is reached.
    #[error("no threshold is reached")]
    NotDue,
}

/// The outcome of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The active segment was sealed.
    Sealed(Sealed),
    /// The log is unchanged.
    Skipped(NotRotated),
}

impl Rotation {
    /// Converts the outcome to a `Result`.
    ///
    /// # Errors
    /// The reason why nothing was rotated.
    pub fn into_result(self) -> Result<Sealed, NotRotated> {
        match self {
            Self::Sealed(sealed) => Ok(sealed),
            Self::Skipped(why) => Err(why),
        }
    }
}

/// What a rotation would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationPlan {
    /// It would seal the active segment.
    Seal {
        /// The length of the segment, in bytes.
        bytes: u64,
    },
    /// It would leave the log unchanged.
    Skip(NotRotated),
}

#[derive(Serialize)]
struct Rotated<'a> {
    sealed: &'a Sealed,
    state: &'a RunState,
}

/// The first event of the segment behind `sealed`. `state` is that of the run with all
/// that was sealed.
pub(crate) fn checkpoint(
    run: &RunId,
    sealed: &Sealed,
    state: &RunState,
) -> Result<Draft, DraftError> {
    let draft = |state: &RunState| {
        let rotated = Rotated { sealed, state };
        Draft::new_unchecked(EventType::LogRotated, run, None, &rotated)
    };
    match draft(state) {
        // The sealed segments still tell what a checkpoint of that size leaves out.
        Err(DraftError::TooLong { .. }) => draft(&state.truncated()?),
        made => made,
    }
}

impl RotationThreshold {
    /// Whether a segment is due that was surveyed so.
    fn verdict(self, survey: &ScanStats, now: Timestamp) -> Result<(), NotRotated> {
        if survey.foreign {
            return Err(NotRotated::Foreign);
        }
        if survey.is_fresh() {
            return Err(NotRotated::Fresh);
        }
        // A checkpoint of the size of the threshold must not be followed by another at
        // every event.
        let large = |max: u64| survey.end >= max.max(2 * survey.checkpoint_bytes);
        let old = |max: Duration| {
            let age = survey.first_ts.map(|ts| now.duration_since(ts));
            let max = i128::try_from(max.as_nanos()).unwrap_or(i128::MAX);
            age.is_some_and(|age| age.as_nanos() >= max)
        };
        let any = self.max_size.is_some() || self.max_age.is_some();
        if any && !self.max_size.is_some_and(large) && !self.max_age.is_some_and(old) {
            return Err(NotRotated::NotDue);
        }
        Ok(())
    }
}

/// Tells, without the locks, what [`RunLog::rotate`] would do with the run in `dir`:
/// the length in bytes of what it would seal.
///
/// # Errors
/// The active segment cannot be read.
pub fn plan_rotation(dir: &Dir, due: RotationThreshold) -> Result<RotationPlan, StorageError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return Ok(RotationPlan::Skip(NotRotated::Fresh));
    };
    let path = dir.path().join(layout::ACTIVE);
    let len = file.metadata().at("look at", &path)?.len();
    let mut survey = ScanStats::default();
    survey.advance(&Arc::new(file), len, &path)?;
    Ok(match due.verdict(&survey, Timestamp::now()) {
        Ok(()) => RotationPlan::Seal { bytes: survey.end },
        Err(why) => RotationPlan::Skip(why),
    })
}

#[doc(hidden)]
impl RunLog {
    /// Seals the active segment if it is due. `budget` is how long the locks are waited
    /// for.
    ///
    /// # Errors
    /// The log was not rotated, but for [`RotateError::NotDurable`] (it was, and a power
    /// loss may undo it); what was appended stands in any case.
    pub fn rotate(
        &self,
        due: RotationThreshold,
        budget: Duration,
    ) -> Result<Rotation, RotateError> {
        let mut inner = self.lock_writer(LockDeadline::new(budget))?;
        let surveyed = self.scan_before_lock(&mut inner, due)?;
        // What was read before does not count as waiting.
        let wait = LockDeadline::new(budget);
        let _lock = file_lock::exclusive(&self.lock, &self.paths.lock, wait)?;
        self.check_not_replaced()?;
        let segment = self.active(&mut inner)?;
        let _segment_lock = file_lock::exclusive(&segment.file, &self.paths.active, wait)?;
        let rotated = self.rotate_locked(&mut inner, &segment, surveyed, due);
        if rotated.is_err() {
            inner.invalidate();
            inner.segment = None;
        }
        rotated
    }

    /// Looks over the lines of the active segment, folds the run and, if it is due, syncs
    /// the segment, as far as it goes now, until little is left for the time of the locks.
    fn scan_before_lock(
        &self,
        inner: &mut WriterState,
        due: RotationThreshold,
    ) -> Result<Option<(FileKey, ScanStats)>, RotateError> {
        if self.dir.stat(layout::ACTIVE)?.is_none() {
            return Ok(None);
        }
        let segment = self.active(inner)?;
        let mut survey = ScanStats::default();
        self.fold_before_lock(inner, &segment)?;
        let mut synced = false;
        for _ in 0..MAX_SCANS {
            self.refresh_tail(inner, &segment, self.segment_len(&segment)?)?;
            let news = inner.len.saturating_sub(survey.end);
            survey.advance(&segment.file, inner.len, &self.paths.active)?;
            if (news >= SCAN_UNLOCKED_MIN || !synced)
                && due.verdict(&survey, Timestamp::now()).is_ok()
            {
                segment.sync(&self.paths.active, File::sync_data)?;
                synced = true;
            } else if news < SCAN_UNLOCKED_MIN {
                break;
            }
        }
        Ok(Some((segment.key, survey)))
    }

    /// Folds the run as far as it goes now, unless its state is known.
    fn fold_before_lock(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
    ) -> Result<(), StorageError> {
        if inner.state.is_some() && inner.tail.is_some() {
            return Ok(());
        }
        let (state, Some((key, end))) = reader::fold_to_end(&self.dir)? else {
            return Ok(());
        };
        if key == segment.key {
            let path = self.active_path();
            let before = || self.sealed_tail();
            let tail = Tail::find(&segment.file, end, &path, TailMode::Open, before)?;
            inner.tail = Some(tail);
            inner.state = Some(state);
            inner.len = end;
        }
        Ok(())
    }

    fn rotate_locked(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
        surveyed: Option<(FileKey, ScanStats)>,
        due: RotationThreshold,
    ) -> Result<Rotation, RotateError> {
        self.refresh_tail(inner, segment, self.segment_len(segment)?)?;
        let foreign = inner.tail.as_ref().is_some_and(|tail| tail.foreign);
        if foreign {
            return Ok(Rotation::Skipped(NotRotated::Foreign));
        }
        self.recover_tail(inner, segment)?;
        let mut survey = match surveyed {
            Some((key, survey)) if key == segment.key && survey.end <= inner.len => survey,
            _ => ScanStats::default(),
        };
        survey.advance(&segment.file, inner.len, &self.paths.active)?;
        if let Err(left) = due.verdict(&survey, Timestamp::now()) {
            return Ok(Rotation::Skipped(left));
        }
        let sealed = self.describe_sealed(inner, segment, &survey)?;
        inner.reserve.release(&segment.file, inner.len);
        segment.sync(&self.paths.active, File::sync_all)?;
        self.install_checkpoint(inner, &sealed)?;
        Ok(Rotation::Sealed(sealed))
    }

    /// What the active segment is once it is sealed.
    fn describe_sealed(
        &self,
        inner: &WriterState,
        segment: &ActiveSegment,
        survey: &ScanStats,
    ) -> Result<Sealed, StorageError> {
        let first_seq = match (survey.first, self.newest_sealed()?) {
            (Some(first), None) => first.saturating_sub(survey.damaged),
            (Some(first), Some(newest))
                if survey.damaged == 0 && newest.first_seq.is_some_and(|seq| seq < first) =>
            {
                first
            }
            // How it begins does not tell.
            (_, Some(newest)) => newest.tail()?.sequence.next(),
            (None, None) => 0,
        };
        let last_seq = inner.tail.as_ref().and_then(|tail| tail.sequence.last());
        Ok(Sealed {
            file: layout::sealed(first_seq),
            first_seq,
            last_seq,
            last_ts: segment_set::last_ts(&segment.file, inner.len),
            bytes: inner.len,
        })
    }

    /// Writes the checkpoint to a file of its own and puts it in the place of the active
    /// segment, which gets its sealed name.
    fn install_checkpoint(
        &self,
        inner: &mut WriterState,
        sealed: &Sealed,
    ) -> Result<(), RotateError> {
        self.state_or_fold(inner)?;
        let mut state = inner.state.clone().unwrap_or_default();
        state.sealed_bytes += sealed.bytes;
        let draft = checkpoint(&self.run, sealed, &state)?;
        let lines = self.encode_batch(inner, &[draft], Close::No)?;

        let fresh = layout::temp_segment_name(layout::ACTIVE, &fresh_ulid());
        let file = Arc::new(self.dir.create_new(&fresh)?);
        let path = self.dir.path().join(&fresh);
        // Tells others that somebody is at it.
        let _at_it = file_lock::try_exclusive(&file, &path)?;
        let moved = write_and_sync(&file, &lines.bytes)
            .at("write", &path)
            .map_err(StorageError::from)
            .and_then(|()| self.install(&fresh, &sealed.file));
        if moved.is_err() {
            drop(self.dir.remove_file(&fresh));
        }
        moved?;

        let stat = rustix::fs::fstat(&file).at("look at", &self.paths.active)?;
        let active = ActiveSegment::new(Arc::clone(&file), FileKey::from(&stat));
        inner.segment = Some(Arc::new(active));
        self.names.record_write();
        inner.len = lines.bytes.len() as u64;
        inner.reserve.invalidate();
        inner.rotate_at = None;
        let tail = inner.tail.get_or_insert_default();
        tail.end = inner.len;
        inner.next_seq = tail.sequence.next();
        Ok(self.dir.sync().map_err(SyncError::from_volume)?)
    }

    fn install(&self, fresh: &str, sealed: &str) -> Result<(), StorageError> {
        self.dir.rename_to(layout::ACTIVE, &self.dir, sealed)?;
        // Should a power loss keep only one of the two renames, it is this one.
        let moved = self
            .dir
            .sync()
            .and_then(|()| self.dir.rename_to(fresh, &self.dir, layout::ACTIVE));
        if moved.is_err() {
            // Where this fails too, the next writer goes on from the sealed segment.
            drop(self.dir.rename_to(sealed, &self.dir, layout::ACTIVE));
        }
        Ok(moved?)
    }
}

fn write_and_sync(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}
