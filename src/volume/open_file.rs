//! What kinds of files runlog opens.

use std::path::PathBuf;

use rustix::fs::{FileType, OFlags, Stat};

use super::VolumeError;

/// Flags for opening files. With `NONBLOCK`, opening a FIFO returns instead of waiting
/// for a writer.
pub(super) const FILE_FLAGS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// The description in [`VolumeError::UnsafeFile`] of a file with a second name, as after
/// `cp -al`.
pub(crate) const SEVERAL_LINKS: &str = "a file with several links";

pub(super) fn unsafe_file(path: PathBuf, what: &'static str) -> VolumeError {
    VolumeError::UnsafeFile { path, what }
}

pub(super) fn not_regular(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Symlink => Some("a symbolic link"),
        FileType::Fifo => Some("a FIFO"),
        _ => Some("a device or socket"),
    }
}
