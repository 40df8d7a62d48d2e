//! Opening and creating regular files in a directory for writing, without following links.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::IoContext;
use super::open_file::{FILE_FLAGS, SEVERAL_LINKS, not_regular, unsafe_file};
use super::{Dir, VolumeError};

impl Dir {
    /// Opens a file for appending and reading, and creates it if it does not exist.
    ///
    /// # Errors
    /// The name is not a regular file with exactly one link, or cannot be written.
    pub(crate) fn append(&self, name: &str) -> Result<File, VolumeError> {
        self.open_to_write(name, OFlags::CREATE | OFlags::RDWR | OFlags::APPEND)
    }

    /// Opens an existing file for appending and reading.
    ///
    /// # Errors
    /// The name does not exist, is not a regular file with exactly one link, or cannot be
    /// written.
    pub(crate) fn append_existing(&self, name: &str) -> Result<File, VolumeError> {
        self.open_to_write(name, OFlags::RDWR | OFlags::APPEND)
    }

    /// Opens a file for reading and writing at any offset, and creates it if it does not
    /// exist.
    ///
    /// # Errors
    /// The name is not a regular file with exactly one link, or cannot be written.
    pub(crate) fn write(&self, name: &str) -> Result<File, VolumeError> {
        self.open_to_write(name, OFlags::CREATE | OFlags::RDWR)
    }

    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// The file exists (kind `AlreadyExists`), or cannot be created.
    pub(crate) fn create_new(&self, name: &str) -> Result<File, VolumeError> {
        self.open_to_write(
            name,
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::APPEND,
        )
    }

    fn open_to_write(&self, name: &str, flags: OFlags) -> Result<File, VolumeError> {
        let path = || self.path().join(name);
        let file = match self.open_or_create(name, flags | FILE_FLAGS) {
            Ok(fd) => File::from(fd),
            Err(Errno::LOOP) => return Err(unsafe_file(path(), "a symbolic link")),
            Err(Errno::NXIO) => return Err(unsafe_file(path(), "a FIFO or a device")),
            Err(Errno::ISDIR) => return Err(unsafe_file(path(), "a directory")),
            Err(e) => return Err(e).at("open", path()),
        };
        let stat = rustix::fs::fstat(&file).at("stat", path())?;
        match not_regular(&stat) {
            Some(what) => Err(unsafe_file(path(), what)),
            None if stat.st_nlink > 1 => Err(unsafe_file(path(), SEVERAL_LINKS)),
            None => Ok(file),
        }
    }

    fn open_or_create(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mode = self.create_mode();
        let open = |flags| rustix::fs::openat(self, name, flags, mode.file());
        if !flags.contains(OFlags::CREATE) || !mode.is_shared() && self.is_owned_by_creator() {
            return open(flags);
        }
        // Set the owner and the permissions only if this call created the file.
        loop {
            match open(flags | OFlags::EXCL) {
                Ok(fd) => {
                    self.give_to_owner(&fd);
                    mode.apply_to_file(&fd)?;
                    return Ok(fd);
                }
                Err(Errno::EXIST) if !flags.contains(OFlags::EXCL) => {}
                Err(e) => return Err(e),
            }
            match open(flags.difference(OFlags::CREATE)) {
                Err(Errno::NOENT) => {}
                opened => return opened,
            }
        }
    }
}
