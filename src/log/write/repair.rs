//! Repair of a segment that does not end in `\n`.
//!
//! The fragment is never discarded: it is copied to `quarantine/`, synced, and only then cut. If
//! it cannot be copied, `\n` is appended and it remains as one damaged line. Either way, every
//! other record of the file is valid JSON Lines again.

use std::fs::File;
use std::io;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::log::error::StorageError;
use crate::log::format::classify::{LineClass, classify};
use crate::log::format::envelope::DamageReason;
use crate::log::format::limits::MAX_READ_LINE_BYTES;
use crate::log::format::payload::{LogRepaired, RepairAction};
use crate::log::segment::line_reader::read_span;
use crate::volume::{Dir, IoContext, VolumeError, layout};

/// The repair of a fragment.
pub(crate) enum TailRepair {
    /// The fragment lacked only its `\n` and is now a whole line.
    Completed,
    /// The fragment was damaged, and the log must record the repair.
    Repaired(LogRepaired<'static>),
}

/// Repairs a fragment at the end of the active segment, under the locks.
///
/// # Errors
/// The segment cannot be read or changed, or a newer version wrote to it.
pub(crate) fn repair_torn_tail(
    dir: &Dir,
    segment: &File,
    first_seq: u64,
    Range {
        start: from,
        end: to,
    }: Range<u64>,
) -> Result<TailRepair, StorageError> {
    let path = dir.path().join(layout::ACTIVE);
    if to - from <= MAX_READ_LINE_BYTES as u64 {
        let fragment = read_span(segment, from, to).at("read", &path)?;
        match classify(&fragment) {
            LineClass::Ours(_) | LineClass::Foreign(_) => {
                terminate_line(segment, &path)?;
                return Ok(TailRepair::Completed);
            }
            LineClass::Damage(DamageReason::Version) => {
                return Err(StorageError::NewerFormat { path });
            }
            LineClass::Damage(_) => {}
        }
    }
    let mut repaired = LogRepaired {
        file: layout::ACTIVE.into(),
        offset: from,
        bytes: to - from,
        action: RepairAction::Cut,
        quarantine: None,
        lost_first_seq: None,
        lost_last_seq: None,
    };
    if let Ok(name) = copy_to_quarantine(dir, segment, first_seq, from, to) {
        segment.set_len(from).at("cut", &path)?;
        repaired.quarantine = Some(format!("{}/{name}", layout::QUARANTINE));
    } else {
        terminate_line(segment, &path)?;
        repaired.action = RepairAction::Ended;
    }
    Ok(TailRepair::Repaired(repaired))
}

fn terminate_line(mut segment: &File, path: &Path) -> Result<(), VolumeError> {
    segment.write_all(b"\n").at("write to", path)
}

/// Copies the fragment to a new file in the quarantine, and syncs the file and its name.
fn copy_to_quarantine(
    dir: &Dir,
    segment: &File,
    first_seq: u64,
    from: u64,
    to: u64,
) -> Result<String, VolumeError> {
    let quarantine = dir.ensure_dir(layout::QUARANTINE)?.dir;
    for n in 0.. {
        let name = layout::quarantine_name(first_seq, from, n);
        let file = match quarantine.create_new(&name) {
            Err(e) if e.io_kind() == Some(io::ErrorKind::AlreadyExists) => continue,
            file => file?,
        };
        let path = quarantine.path().join(&name);
        let kept = copy(segment, &file, from, to)
            .and_then(|()| file.sync_all())
            .at("keep a copy in", &path);
        return match kept
            .and_then(|()| quarantine.sync())
            .and_then(|()| dir.sync())
        {
            Ok(()) => Ok(name),
            Err(e) => {
                // An incomplete copy would look complete.
                drop(quarantine.remove_file(&name));
                Err(e)
            }
        };
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists)).at("keep a copy in", quarantine.path())
}

fn copy(from_file: &File, mut to_file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut buf = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let len = buf.len().min((to - at) as usize);
        let part = buf.get_mut(..len).unwrap_or_default();
        from_file.read_exact_at(part, at)?;
        to_file.write_all(part)?;
        at += len as u64;
    }
    Ok(())
}
