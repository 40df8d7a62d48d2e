//! Rotation: the active segment is sealed, and a new one starts with a checkpoint.
//!
//! Under the locks, the tail is recovered and synced, `log_rotated` is written to a new file and
//! synced, the active segment gets its sealed name, and the new file gets the name of the active
//! one. A crash in between leaves the sealed segment without an active one, which readers handle
//! and the next writer completes ([`super::recover_tail`]).
//!
//! Slow work happens before the locks are taken: the state is folded, and the lines are scanned
//! and synced, so that only later lines remain.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use super::batch::Close;
use super::checkpoint::{checkpoint, loss_record};
use super::end_of_log::newest_sealed;
use super::handle::RunHandle;
use super::locked::ExclusiveRun;
use super::rotation_policy::{NotRotated, Rotation, RotationPlan, RotationThreshold};
use super::tail::Tail;
use super::writer_state::WriterState;
use crate::log::error::{RotateError, StorageError, SyncError};
use crate::log::format::event_type::SpaceClaim;
use crate::log::format::payload::{RepairAction, Sealed};
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::log::segment::preallocate;
use crate::log::segment::preallocate::Preallocation;
use crate::log::segment::scan_stats::ScanStats;
use crate::log::segment::segment_file;
use crate::volume::{Dir, FileKey, IoContext, VolumeError, copy_access, layout, wall_clock};

/// The number of new bytes that may remain to be read under the locks.
const SCAN_UNLOCKED_MIN: u64 = 1 << 20;
/// The maximum number of scans before the locks are taken regardless.
const MAX_SCANS: u32 = 8;

/// The result of scanning a segment without the locks.
#[derive(Debug)]
pub(crate) struct Scanned {
    key: FileKey,
    stats: ScanStats,
}

/// Returns what `rotate` would do with the run in `dir`.
///
/// # Errors
/// The active segment cannot be read.
pub fn plan_rotation(
    dir: &Dir,
    threshold: RotationThreshold,
) -> Result<RotationPlan, StorageError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return Ok(RotationPlan::Skip(NotRotated::Fresh));
    };
    let path = dir.path().join(layout::ACTIVE);
    let len = file.metadata().at("stat", &path)?.len();
    let mut stats = ScanStats::default();
    stats.advance(&Arc::new(file), len, &path)?;
    Ok(match threshold.check(&stats, wall_clock()) {
        Ok(()) => RotationPlan::Seal { bytes: stats.end },
        Err(why) => RotationPlan::Skip(why),
    })
}

/// Scans the active segment, folds the run and, if a rotation is due, syncs the segment,
/// repeatedly until little remains to be done under the locks.
///
/// # Errors
/// The segment cannot be read or synced.
pub(crate) fn scan_unlocked(
    handle: &RunHandle,
    writer: &mut WriterState,
    threshold: RotationThreshold,
) -> Result<Option<Scanned>, RotateError> {
    let Some(segment) = handle.open_active(writer.segment())? else {
        return Ok(None);
    };
    writer.set_segment(&segment);
    writer.fold_unlocked(handle)?;
    let path = handle.active_path();
    let mut stats = ScanStats::default();
    let mut synced = false;
    for _ in 0..MAX_SCANS {
        writer.refresh(handle, &segment, segment.len(path)?, u64::MAX)?;
        let unread = writer.len().saturating_sub(stats.end);
        stats.advance(segment.file(), writer.len(), path)?;
        let is_due = threshold.check(&stats, wall_clock()).is_ok();
        if is_due && (unread >= SCAN_UNLOCKED_MIN || !synced) {
            segment.sync(path, File::sync_data)?;
            synced = true;
        } else if unread < SCAN_UNLOCKED_MIN {
            break;
        }
    }
    let key = segment.key();
    Ok(Some(Scanned { key, stats }))
}

/// Seals the active segment if it has reached a threshold.
///
/// # Errors
/// See [`RotateError`].
pub(crate) fn rotate(
    run: &mut ExclusiveRun<'_>,
    scanned: Option<Scanned>,
    threshold: RotationThreshold,
) -> Result<Rotation, RotateError> {
    // Little was appended since the scan.
    run.refresh_tail(u64::MAX)?;
    if run.writer().tail().is_some_and(|tail| tail.foreign) {
        return Ok(Rotation::Skipped(NotRotated::Foreign));
    }
    run.recover_tail()?;
    let segment = Arc::clone(run.segment());
    let path = run.handle().active_path();
    let len = run.writer().len();
    let mut stats = match scanned {
        Some(scanned) if scanned.key == segment.key() && scanned.stats.end <= len => scanned.stats,
        _ => ScanStats::default(),
    };
    stats.advance(segment.file(), len, path)?;
    if let Err(why) = threshold.check(&stats, wall_clock()) {
        return Ok(Rotation::Skipped(why));
    }
    let sealed = describe_sealed(run, &stats)?;
    segment.sync(path, File::sync_all)?;
    install_checkpoint(run, &sealed)?;
    // Only now: a rotation that fails must leave the log its space.
    preallocate::release(segment.file(), len);
    Ok(Rotation::Sealed(sealed))
}

/// Describes the active segment as it will be after sealing.
fn describe_sealed(run: &mut ExclusiveRun<'_>, stats: &ScanStats) -> Result<Sealed, StorageError> {
    let first_seq = match (stats.first, newest_sealed(run.handle())?) {
        (Some(first), None) => first.saturating_sub(stats.damaged),
        (Some(first), Some(newest))
            if stats.damaged == 0 && newest.first_seq.is_some_and(|seq| seq < first) =>
        {
            first
        }
        // The start of the segment does not show it.
        (_, Some(newest)) => Tail::of_segment(&newest)?.sequence.next(),
        (None, None) => 0,
    };
    let len = run.writer().len();
    let last_seq = run.writer().tail().and_then(|tail| tail.sequence.last());
    Ok(Sealed {
        file: layout::sealed(first_seq),
        first_seq,
        last_seq,
        last_ts: segment_file::last_ts(run.segment().file(), len),
        bytes: len,
        crc32c: stats.checksum.to_hex().filter(|_| stats.end == len),
    })
}

/// Writes the checkpoint to a new file that replaces the active segment, which gets its sealed
/// name.
fn install_checkpoint(run: &mut ExclusiveRun<'_>, sealed: &Sealed) -> Result<(), RotateError> {
    let handle = run.handle();
    let mut state = run.state()?.clone();
    state.sealed_bytes += sealed.bytes;
    let mut drafts = vec![checkpoint(handle.run(), sealed, &state)?];
    if run.writer().is_uncertain() {
        drafts.push(loss_record(
            handle.run(),
            &sealed.file,
            RepairAction::Hidden,
        )?);
    }
    let batch = run.encode(&drafts, Close::No)?;

    let dir = handle.dir();
    let name = layout::temp_segment_name(layout::ACTIVE, &fresh_ulid());
    let path = dir.path().join(&name);
    let file = Arc::new(dir.create_new(&name)?);
    preallocate::disable_copy_on_write(&file);
    // Lock the new file before it gets its name, until this run is unlocked.
    let lock = file_lock::try_exclusive(Arc::clone(&file), &path)?;
    let len = batch.bytes.len() as u64;
    let is_closed = run.writer().is_closed();
    let live_jobs = run.writer().live_jobs();
    let mut reserve = Preallocation::default();
    let mut preallocate = || -> Result<(), StorageError> {
        if is_closed {
            return Ok(());
        }
        // The ends of live jobs must fit into the new segment too.
        let ensured = reserve.ensure(&file, 0, len, SpaceClaim::Ordinary, live_jobs);
        ensured.map_err(|source| {
            let path = handle.active_path().to_owned();
            StorageError::NoSpace { path, source }
        })
    };
    let installed = copy_access(run.segment().file(), &file)
        .at("copy the owner and mode of the active segment to", &path)
        .map_err(StorageError::from)
        .and_then(|()| preallocate())
        .and_then(|()| Ok(write_and_sync(&file, &batch.bytes).at("write", &path)?))
        .and_then(|()| Ok(install(dir, &name, &sealed.file)?));
    if installed.is_err() {
        drop(dir.remove_file(&name));
    }
    installed?;

    let segment = handle.adopt(file)?;
    run.writer().set_checkpointed(segment, len, reserve);
    let synced = dir.sync().map_err(SyncError::from_volume);
    drop(lock);
    Ok(synced?)
}

fn install(dir: &Dir, fresh: &str, sealed: &str) -> Result<(), VolumeError> {
    dir.rename_to(layout::ACTIVE, dir, sealed)?;
    // If a power loss keeps only one of the two renames, it must be the first.
    let installed = dir
        .sync()
        .and_then(|()| dir.rename_to(fresh, dir, layout::ACTIVE));
    if installed.is_err() {
        // If this fails too, the next writer continues from the sealed segment.
        drop(dir.rename_to(sealed, dir, layout::ACTIVE));
    }
    installed
}

fn write_and_sync(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}
