//! Stamps on directories, which become invalid as soon as a name is added or removed.

use rustix::fs::XattrFlags;

use super::dir::Dir;

/// The extended attribute with the stamp.
const ATTRIBUTE: &str = "user.runlog.stamp";
/// The maximum length of a stamp in bytes.
const MAX_STAMP_BYTES: usize = 64;

/// The state of a directory's names: its inode and the time of the last change.
///
/// The clock of a file system may tick only every few milliseconds. Since Linux 6.13, however, a
/// change never has the same time as an earlier one whose time was read (`multigrain-ts.rst`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirStamp(String);

impl DirStamp {
    /// Returns the current state of a directory; `None` if it cannot be read.
    pub(crate) fn current(dir: &Dir) -> Option<Self> {
        let stat = rustix::fs::fstat(dir).ok()?;
        let (inode, secs, nanos) = (stat.st_ino, stat.st_mtime, stat.st_mtime_nsec);
        Some(Self(format!("{inode} {secs}.{nanos:09}")))
    }

    /// Returns the stamp on a directory, if it has one.
    pub(crate) fn stored(dir: &Dir) -> Option<Self> {
        let mut bytes = [0; MAX_STAMP_BYTES];
        let len = rustix::fs::fgetxattr(dir, ATTRIBUTE, &mut bytes).ok()?;
        let stamp = std::str::from_utf8(bytes.get(..len)?).ok()?;
        Some(Self(stamp.to_owned()))
    }

    /// Puts a stamp with its current state on a directory. Does nothing if the file system has
    /// no such attributes.
    pub(crate) fn store(dir: &Dir) {
        if let Some(Self(stamp)) = Self::current(dir) {
            let (bytes, flags) = (stamp.as_bytes(), XattrFlags::empty());
            rustix::fs::fsetxattr(dir, ATTRIBUTE, bytes, flags).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn stamp_becomes_invalid_with_each_change_of_names() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        assert_eq!(DirStamp::stored(&dir), None);
        DirStamp::store(&dir);
        if DirStamp::stored(&dir).is_none() {
            // This file system has no user attributes.
            return;
        }
        let file = tmp.path().join("file");
        fs::write(&file, "").unwrap();
        DirStamp::store(&dir);
        assert_eq!(DirStamp::stored(&dir), DirStamp::current(&dir));
        fs::remove_file(&file).unwrap();
        // Before Linux 6.13, the removal may have the same time as the creation.
        while DirStamp::stored(&dir) == DirStamp::current(&dir) {
            fs::write(&file, "").unwrap();
            fs::remove_file(&file).unwrap();
        }
    }
}
