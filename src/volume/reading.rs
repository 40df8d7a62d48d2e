//! Opening regular files below a directory for reading, without following links.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::IoContext;
use super::open_file::{FILE_FLAGS, not_regular, unsafe_file};
use super::{Dir, VolumeError};

impl Dir {
    /// Opens a regular file for reading. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// The name is a link, a FIFO, a directory or a device, or cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Option<File>, VolumeError> {
        Ok(self.read_sized(name)?.map(|(file, _)| file))
    }

    /// Opens a regular file for reading and returns it with its length in bytes, or `None`
    /// if it does not exist.
    ///
    /// # Errors
    /// The name is a link, a FIFO, a directory or a device, or cannot be read.
    pub(crate) fn read_sized(&self, name: &str) -> Result<Option<(File, u64)>, VolumeError> {
        let path = || self.path().join(name);
        let flags = OFlags::RDONLY | FILE_FLAGS;
        match rustix::fs::openat(self, name, flags, Mode::empty()) {
            Ok(fd) => require_regular(fd, path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(unsafe_file(path(), "a symbolic link")),
            Err(e) => Err(e).at("open", path()),
        }
    }

    /// Opens a regular file in the directory `sub` for reading, without following links.
    /// Returns `None` if either does not exist.
    ///
    /// # Errors
    /// One of the two is of the wrong type, or cannot be read.
    pub(crate) fn read_in(&self, sub: &str, name: &str) -> Result<Option<File>, VolumeError> {
        Ok(self.read_sized_in(sub, name)?.map(|(file, _)| file))
    }

    /// Opens a regular file in the directory `sub` for reading, without following links, and
    /// returns it with its length in bytes. Returns `None` if either does not exist.
    ///
    /// # Errors
    /// One of the two is of the wrong type, or cannot be read.
    pub(crate) fn read_sized_in(
        &self,
        sub: &str,
        name: &str,
    ) -> Result<Option<(File, u64)>, VolumeError> {
        let below = format!("{sub}/{name}");
        let flags = OFlags::RDONLY | FILE_FLAGS;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        match rustix::fs::openat2(self, &below, flags, Mode::empty(), resolve) {
            Ok(fd) => return require_regular(fd, || self.path().join(&below)).map(Some),
            Err(Errno::NOENT) => return Ok(None),
            // The kernel or a sandbox lacks `openat2`, or one of the two has the wrong type.
            // Opening one after the other shows which.
            Err(_) => {}
        }
        match self.open_dir(sub) {
            Ok(dir) => dir.read_sized(name),
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Returns the opened file with its length in bytes.
fn require_regular(fd: OwnedFd, path: impl Fn() -> PathBuf) -> Result<(File, u64), VolumeError> {
    let stat = rustix::fs::fstat(&fd).at("stat", path())?;
    match not_regular(&stat) {
        Some(what) => Err(unsafe_file(path(), what)),
        None => Ok((File::from(fd), stat.st_size as u64)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn reading_follows_no_link() {
        let tmp = tempfile::tempdir().unwrap();
        let path = |name: &str| tmp.path().join(name);
        fs::create_dir_all(path("run/sub")).unwrap();
        fs::write(path("run/log"), "text").unwrap();
        fs::write(path("file"), "text").unwrap();
        symlink(path("run"), path("linked")).unwrap();
        symlink("log", path("run/link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("run/fifo"), Mode::RWXU).unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let read = |sub: &str, name: &str| dir.read_sized_in(sub, name);
        assert_eq!(read("run", "log").unwrap().unwrap().1, 4);
        assert!(read("run", "none").unwrap().is_none());
        assert!(read("none", "log").unwrap().is_none());
        for (sub, name, expected) in [
            ("linked", "log", "linked` is not a directory"),
            ("file", "log", "file` is not a directory"),
            ("run", "link", "run/link` is a symbolic link"),
            ("run", "fifo", "run/fifo` is a FIFO"),
            ("run", "sub", "run/sub` is a directory"),
        ] {
            let error = read(sub, name).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
