//! The allocator of ULIDs, which stores the last one in `.omne/var/.ulid-last`.
//!
//! ULIDs only increase within a volume, across processes and regardless of the clock. The file
//! format and the lock are those of omne-cli 0.2 (`src/ulid.rs`): 26 characters at offset 0, and
//! `flock` on the file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use ulid::Ulid;

use crate::log::error::StorageError;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::volume::{IoContext, Volume, layout};

/// Allocates a ULID that is greater than all that were allocated on this volume before.
///
/// If the file is truncated or malformed, the clock is used instead, so that a torn write of
/// another program does not block every later run.
///
/// # Errors
/// Another process held the lock for 5 s, or the file cannot be read or written.
pub fn allocate_ulid(volume: &Volume) -> Result<Ulid, StorageError> {
    let path = volume.path().join(layout::ULID_LAST);
    let [_, var, _] = volume.make_runs()?;
    let file = var.write(layout::ULID_LAST_NAME)?;
    let _guard = file_lock::exclusive(&file, &path, LOCK_TIMEOUT)?;

    let mut text = [0; 64];
    let len = read_start(&file, &mut text).at("read", &path)?;
    let next = next_after(parse_last(text.get(..len).unwrap_or_default()));
    file.write_all_at(next.to_string().as_bytes(), 0)
        .at("write", &path)?;
    if len > ulid::ULID_LEN {
        // Bytes after the ULID came from a torn or foreign write.
        file.set_len(ulid::ULID_LEN as u64).at("truncate", &path)?;
    }
    Ok(next)
}

fn read_start(file: &File, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, len as u64)? {
            0 => break,
            n => len += n,
        }
    }
    Ok(len)
}

fn parse_last(text: &[u8]) -> Option<Ulid> {
    // Writers put the ULID at offset 0. Bytes after it came from a torn write.
    let ulid = text.get(..ulid::ULID_LEN).unwrap_or(text);
    std::str::from_utf8(ulid).ok()?.trim().parse().ok()
}

fn next_after(last: Option<Ulid>) -> Ulid {
    let now = fresh_ulid();
    match last {
        // A value from the far future (the clock was wrong) still counts: increasing ids matter
        // more than ids that show the time.
        Some(last) if now <= last => last.increment().unwrap_or(now),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn volume() -> (tempfile::TempDir, Volume) {
        let tmp = tempfile::tempdir().unwrap();
        let volume = Volume::create(tmp.path()).unwrap();
        (tmp, volume)
    }

    #[test]
    fn ulids_only_increase() {
        let (_tmp, volume) = volume();
        let mut last = allocate_ulid(&volume).unwrap();
        for _ in 0..100 {
            let next = allocate_ulid(&volume).unwrap();
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn ulids_increase_when_clock_is_behind() {
        let (tmp, volume) = volume();
        allocate_ulid(&volume).unwrap();
        let future = Ulid::from_parts(u64::from(u32::MAX) << 12, 7);
        std::fs::write(tmp.path().join(layout::ULID_LAST), future.to_string()).unwrap();
        assert_eq!(allocate_ulid(&volume).unwrap(), future.increment().unwrap());
    }

    #[test]
    fn group_of_shared_volume_may_allocate() {
        let (tmp, volume) = volume();
        let var = tmp.path().join(layout::VAR);
        std::fs::create_dir(&var).unwrap();
        std::fs::set_permissions(&var, Permissions::from_mode(0o2775)).unwrap();
        allocate_ulid(&volume).unwrap();
        for (path, bits) in [(layout::ULID_LAST, 0o060), (layout::RUNS, 0o2070)] {
            let mode = std::fs::metadata(tmp.path().join(path)).unwrap().mode();
            assert_eq!(mode & bits, bits, "{path}: {mode:o}");
        }
    }

    #[test]
    fn malformed_file_falls_back_to_clock() {
        let (tmp, volume) = volume();
        allocate_ulid(&volume).unwrap();
        let path = tmp.path().join(layout::ULID_LAST);
        for text in [
            "",
            "01K",
            "not a ulid at all, and far too long for one",
            "\0\0\0",
            "\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let next = allocate_ulid(&volume).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), next.to_string());
        }
    }
}
