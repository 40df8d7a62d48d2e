//! Measuring and removing directory trees, without following links or leaving the file system.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::error::IoContext;
use super::{Dir, VolumeError};

/// The maximum depth of nested directories. Runs have two levels.
const MAX_DEPTH: usize = 32;
/// The number of bytes of directory entries to read at a time.
const READ_BYTES: usize = 16 << 10;
/// The maximum number of attempts to empty a directory in which other processes create files.
const MAX_PASSES: usize = 8;

/// The size of a directory tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The number of bytes on disk that removing it frees, as `du` counts them.
    pub bytes: u64,
    /// The total length of its files in bytes.
    pub content: u64,
    /// When any file or directory in it was last modified.
    pub touched: Timestamp,
}

impl Usage {
    fn add(&mut self, stat: &Stat) {
        self.bytes += disk_bytes(stat);
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            self.content += u64::try_from(stat.st_size).unwrap_or(0);
        }
        self.touched = self.touched.max(modified_at(stat));
    }
}

/// Returns the number of bytes on disk that removing a file frees, as `du` counts them.
pub(crate) fn disk_bytes(stat: &Stat) -> u64 {
    // `st_blocks` counts units of 512 bytes, whatever the file system's block size is.
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

fn modified_at(stat: &Stat) -> Timestamp {
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Timestamp::new(stat.st_mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Dir {
    /// Measures this directory tree.
    ///
    /// # Errors
    /// A directory in it cannot be read, or is on another file system.
    pub(crate) fn usage(&self) -> Result<Usage, VolumeError> {
        let stat = rustix::fs::fstat(self).at("stat", self.path())?;
        let mut usage = Usage {
            bytes: 0,
            content: 0,
            touched: Timestamp::MIN,
        };
        usage.add(&stat);
        let here = reopen(self)?;
        let walk = Walk {
            dev: stat.st_dev,
            depth: 0,
        };
        walk.measure(&here, self.path(), &mut usage)?;
        Ok(usage)
    }

    /// Removes the entry `name` of this directory with all of its contents. A missing entry is
    /// not an error.
    ///
    /// If the entry is a directory, its file `last` is removed last.
    ///
    /// # Errors
    /// Part of it cannot be removed. Everything else is removed.
    pub(crate) fn remove_tree(&self, name: &str, last: &str) -> Result<(), VolumeError> {
        let stat = rustix::fs::fstat(self).at("stat", self.path())?;
        let walk = Walk {
            dev: stat.st_dev,
            depth: 0,
        };
        let name = std::ffi::CString::new(name)
            .map_err(|_| Errno::INVAL)
            .at("remove", self.path())?;
        walk.remove(self.as_fd(), &name, self.path(), last.as_bytes())
    }
}

/// Opens the directory again, so that its entries are read from the start.
fn reopen(dir: &Dir) -> Result<OwnedFd, VolumeError> {
    open_subdir(dir.as_fd(), c".").at("open", dir.path())
}

fn open_subdir(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn child_path(path: &Path, name: &CStr) -> PathBuf {
    path.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// A walk through a directory tree.
#[derive(Clone, Copy)]
struct Walk {
    /// The device that the walk stays on.
    dev: u64,
    depth: usize,
}

impl Walk {
    fn measure(self, fd: &OwnedFd, path: &Path, usage: &mut Usage) -> Result<(), VolumeError> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut names = RawDir::new(fd, &mut space);
        while let Some(entry) = names.next() {
            let entry = entry.at("list", path)?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            let stat = match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e).at("stat", child_path(path, name)),
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let path = child_path(path, name);
                match open_subdir(fd.as_fd(), name) {
                    Ok(sub) => self
                        .descend(stat.st_dev, &path)?
                        .measure(&sub, &path, usage)?,
                    Err(Errno::NOENT) => continue,
                    Err(e) => return Err(e).at("open", path),
                }
            }
            usage.add(&stat);
        }
        Ok(())
    }

    fn descend(self, dev: u64, path: &Path) -> Result<Self, VolumeError> {
        let refused = |what| {
            Err(VolumeError::NotEntered {
                path: path.to_owned(),
                what,
            })
        };
        if dev != self.dev {
            return refused("on another file system");
        }
        if self.depth == MAX_DEPTH {
            return refused("nested too deeply");
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn remove(
        self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        above: &Path,
        last: &[u8],
    ) -> Result<(), VolumeError> {
        let path = || child_path(above, name);
        let fd = match open_subdir(parent, name) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => return unlink(parent, name, above),
            Err(e) => return Err(e).at("open", path()),
        };
        let stat = rustix::fs::fstat(&fd).at("stat", path())?;
        let walk = self.descend(stat.st_dev, &path())?;
        for _ in 0..MAX_PASSES {
            walk.remove_contents(&fd, &path(), last)?;
            if let Ok(last) = std::ffi::CString::new(last) {
                unlink(fd.as_fd(), &last, &path())?;
            }
            match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // Another process created a file in the meantime.
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).at("list", path())?;
                }
                Err(e) => return Err(e).at("remove", path()),
            }
        }
        Err(Errno::NOTEMPTY).at("remove", path())
    }

    /// Removes the contents of a directory, except `last`. Continues after an entry that cannot
    /// be removed, and returns the first error.
    fn remove_contents(self, fd: &OwnedFd, path: &Path, last: &[u8]) -> Result<(), VolumeError> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut names = RawDir::new(fd, &mut space);
        let mut removed = Ok(());
        while let Some(entry) = names.next() {
            let entry = entry.at("list", path)?;
            let name = entry.file_name();
            if is_dots(name) || name.to_bytes() == last {
                continue;
            }
            let result = match entry.file_type() {
                FileType::Directory | FileType::Unknown => self.remove(fd.as_fd(), name, path, b""),
                _ => unlink(fd.as_fd(), name, path),
            };
            removed = removed.and(result);
        }
        removed
    }
}

fn unlink(at: BorrowedFd<'_>, name: &CStr, above: &Path) -> Result<(), VolumeError> {
    if name.is_empty() {
        return Ok(());
    }
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e).at("remove", child_path(above, name)),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn tree_is_removed_without_following_links() {
        let tmp = tempfile::tempdir().unwrap();
        let outside = tmp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        let tree = tmp.path().join("in/tree");
        fs::create_dir_all(tree.join("sub/deep")).unwrap();
        fs::write(tree.join("last"), "x").unwrap();
        fs::write(tree.join("sub").join(OsStr::from_bytes(b"\xff\n")), "x").unwrap();
        symlink(&outside, tree.join("sub/link")).unwrap();
        symlink("nowhere", tree.join("sub/deep/broken")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("fifo"), Mode::RWXU).unwrap();
        for n in 0..1_000 {
            fs::write(tree.join(format!("sub/{n}")), "x").unwrap();
        }
        let dir = Dir::open(&tmp.path().join("in")).unwrap();
        let used = dir.open_dir("tree").unwrap().usage().unwrap();
        assert!(used.bytes >= 1_000 * 512, "{used:?}");
        assert_eq!(used.content, 1_002);
        assert!(used.touched <= Timestamp::now());
        dir.remove_tree("tree", "last").unwrap();
        assert!(dir.names().unwrap().is_empty());
        assert!(outside.join("kept").exists());
        dir.remove_tree("tree", "last").unwrap();
        // A link in place of the directory is removed, not followed.
        symlink(&outside, tmp.path().join("in/tree")).unwrap();
        dir.remove_tree("tree", "last").unwrap();
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn deeply_nested_tree_is_not_entered() {
        let tmp = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(MAX_DEPTH + 2);
        fs::create_dir_all(tmp.path().join("tree").join(deep)).unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let error = dir
            .open_dir("tree")
            .unwrap()
            .usage()
            .unwrap_err()
            .to_string();
        assert!(error.contains("is nested too deeply"), "{error}");
        assert!(dir.remove_tree("tree", "").is_err());
    }
}
