//! A folder held open: files are opened relative to it, never through a
//! symbolic link, and a FIFO or device never hangs or fools us.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, StatxFlags};
use rustix::io::Errno;

use super::VolumeError;
use super::error::IoContext;

/// Which file a descriptor or a name stands for: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKey {
    dev: u64,
    ino: u64,
}

impl From<&Stat> for FileKey {
    fn from(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
        }
    }
}

/// What [`Dir::peek_meta`] tells of a name.
#[derive(Debug, Clone, Copy)]
pub struct FileMeta {
    /// Which file it stands for.
    pub key: FileKey,
    /// How many names that has.
    pub links: u32,
    /// Its length in bytes.
    pub len: u64,
}

/// An open folder and the path that messages show for it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    key: FileKey,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const DIR_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// `NONBLOCK`: the open of a FIFO returns instead of waiting for a writer.
pub(super) const FILE_FLAGS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// `f_type` of `statfs(2)`: NFS, SMB (three of them), FUSE, Ceph, 9p, AFS, GFS2, OCFS2,
/// Lustre.
const REMOTE_FS_MAGIC: [u64; 11] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x00c3_6400,
    0x0102_1997,
    0x5346_414f,
    0x0116_1970,
    0x7461_636f,
    0x0bd0_0bd0,
];

impl Dir {
    /// The path that messages show.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[doc(hidden)]
impl Dir {
    fn new(fd: OwnedFd, path: PathBuf) -> Result<Self, VolumeError> {
        let stat = rustix::fs::fstat(&fd).at("look at", &path)?;
        let key = FileKey::from(&stat);
        Ok(Self { fd, path, key })
    }

    /// Opens a folder by its path; links on the way are followed, since whoever
    /// names a folder may name it as he likes.
    ///
    /// # Errors
    /// The folder is missing, is no folder, or may not be read.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | DIR_FLAGS, Mode::empty());
        Self::new(map_not_directory(fd, path)?, path.to_owned())
    }

    /// Opens a folder below this one, component by component, through no link.
    ///
    /// # Errors
    /// A component is missing, is no folder, or may not be read.
    pub fn open_dir(&self, name: &str) -> Result<Self, VolumeError> {
        let mut path = self.path.clone();
        let mut fd: Option<OwnedFd> = None;
        for part in name.split('/') {
            path.push(part);
            let at = fd.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            let flags = OFlags::RDONLY | DIR_FLAGS | OFlags::NOFOLLOW;
            let next = rustix::fs::openat(at, part, flags, Mode::empty());
            fd = Some(map_not_directory(next, &path)?);
        }
        match fd {
            Some(fd) => Self::new(fd, path),
            None => Err(VolumeError::NotADirectory { path }),
        }
    }

    /// Like [`Dir::sub`], making the folder (one component) where it is missing;
    /// also tells whether it was made.
    ///
    /// # Errors
    /// As [`Dir::sub`], or the folder cannot be made.
    pub fn ensure_dir(&self, name: &str) -> Result<(Self, bool), VolumeError> {
        match self.open_dir(name) {
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => {}
            found => return Ok((found?, false)),
        }
        let made = match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(e).at("make the folder", self.path.join(name)),
        };
        let opened = self.open_dir(name);
        if opened.is_err() && made {
            self.remove_empty_dir(name);
        }
        Ok((opened?, made))
    }

    /// A second handle of the same folder.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn try_clone(&self) -> Result<Self, VolumeError> {
        let fd = self.fd.try_clone().at("hold open", &self.path)?;
        Ok(Self {
            fd,
            path: self.path.clone(),
            key: self.key,
        })
    }

    /// Whether the folder was removed since it was opened.
    pub fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Whether the folder is on a file system that other hosts may use too, as far as
    /// that can be told.
    pub fn is_remote(&self) -> bool {
        rustix::fs::fstatfs(&self.fd).is_ok_and(|fs| REMOTE_FS_MAGIC.contains(&(fs.f_type as u64)))
    }

    /// Which folder this is.
    pub fn key(&self) -> FileKey {
        self.key
    }

    /// Looks at a name below this folder without following a last link;
    /// `None` where there is nothing.
    ///
    /// # Errors
    /// The operating system refuses the look.
    pub fn stat(&self, name: &str) -> Result<Option<Stat>, VolumeError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e).at("look at", self.path.join(name)),
        }
    }

    /// The same for one who looks again and again at a file that he writes to, with no
    /// time in it: a file whose times were asked for gets a new one, and its inode
    /// written, with the next write (Linux 6.13, `multigrain-ts.rst`). `None` also where
    /// the look is refused.
    pub fn peek_meta(&self, name: &CStr) -> Option<FileMeta> {
        let what = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK | StatxFlags::SIZE;
        let found = rustix::fs::statx(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW, what).ok()?;
        let told = StatxFlags::from_bits_retain(found.stx_mask);
        told.contains(what).then(|| FileMeta {
            key: FileKey {
                dev: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                ino: found.stx_ino,
            },
            links: found.stx_nlink,
            len: found.stx_size,
        })
    }

    /// Opens a file to be written at its end and read, making it where it is
    /// missing unless `create` is false.
    ///
    /// # Errors
    /// The name is anything but a regular file with one link, or may not be written.
    pub fn append(&self, name: &str, create: bool) -> Result<File, VolumeError> {
        let flags = if create {
            OFlags::CREATE
        } else {
            OFlags::empty()
        };
        self.open_to_write(name, flags | OFlags::RDWR | OFlags::APPEND)
    }

    /// Opens a file to be written and read at any place, making it where missing.
    ///
    /// # Errors
    /// As [`Dir::append`].
    pub fn write(&self, name: &str) -> Result<File, VolumeError> {
        self.open_to_write(name, OFlags::CREATE | OFlags::RDWR)
    }

    /// Makes a file that must not be there yet.
    ///
    /// # Errors
    /// It is there (kind `AlreadyExists`), or cannot be made.
    pub fn create_new(&self, name: &str) -> Result<File, VolumeError> {
        self.open_to_write(
            name,
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::APPEND,
        )
    }

    fn open_to_write(&self, name: &str, flags: OFlags) -> Result<File, VolumeError> {
        let path = || self.path.join(name);
        let mode = Mode::from_raw_mode(0o666);
        let file = match rustix::fs::openat(&self.fd, name, flags | FILE_FLAGS, mode) {
            Ok(fd) => File::from(fd),
            Err(Errno::LOOP) => return Err(unsafe_file(path(), "a symbolic link")),
            Err(Errno::NXIO) => return Err(unsafe_file(path(), "a FIFO or a device")),
            Err(Errno::ISDIR) => return Err(unsafe_file(path(), "a folder")),
            Err(e) => return Err(e).at("open", path()),
        };
        let stat = rustix::fs::fstat(&file).at("look at", path())?;
        match not_regular(&stat) {
            Some(what) => Err(unsafe_file(path(), what)),
            None if stat.st_nlink > 1 => Err(unsafe_file(path(), "a file with several links")),
            None => Ok(file),
        }
    }

    /// The names in this folder that are UTF-8, without `.` and `..`; others are
    /// not ours.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, VolumeError> {
        let entries = rustix::fs::Dir::read_from(&self.fd).at("list", &self.path)?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.at("list", &self.path)?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes the names in this folder durable.
    ///
    /// # Errors
    /// The sync failed; then nothing is known about the names made since the last one.
    pub fn sync(&self) -> Result<(), VolumeError> {
        match rustix::fs::fsync(&self.fd) {
            // A file system that has no sync of folders keeps its names in order itself.
            Err(Errno::INVAL) => Ok(()),
            synced => synced.at("sync", &self.path),
        }
    }

    /// Renames what is in this folder to a name in `to`, which may be this folder too;
    /// never over something that is there.
    ///
    /// # Errors
    /// The new name is taken (kind `AlreadyExists`), or the operating system refuses.
    pub fn rename_to(&self, name: &str, to: &Self, new_name: &str) -> Result<(), VolumeError> {
        let path = || self.path.join(name);
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.fd, name, &to.fd, new_name, flags) {
            // A file system that cannot promise it: who renames holds the locks.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if to.stat(new_name)?.is_none() => {
                rustix::fs::renameat(&self.fd, name, &to.fd, new_name).at("rename", path())
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                Err(Errno::EXIST).at("rename", path())
            }
            renamed => renamed.at("rename", path()),
        }
    }

    /// Renames a file in this folder over another one, or to a new name.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn replace(&self, name: &str, new_name: &str) -> Result<(), VolumeError> {
        let path = || self.path.join(new_name);
        rustix::fs::renameat(&self.fd, name, &self.fd, new_name).at("replace", path())
    }

    /// Removes a file below this folder; a missing one is fine.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn remove_file(&self, name: &str) -> Result<(), VolumeError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e).at("remove", self.path.join(name)),
        }
    }

    /// Removes an empty folder below this one; says whether it is gone.
    pub fn remove_empty_dir(&self, name: &str) -> bool {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).is_ok()
    }
}

fn map_not_directory(opened: Result<OwnedFd, Errno>, path: &Path) -> Result<OwnedFd, VolumeError> {
    match opened {
        Err(Errno::NOTDIR | Errno::LOOP) => Err(VolumeError::NotADirectory {
            path: path.to_owned(),
        }),
        opened => opened.at("open", path),
    }
}

pub(super) fn unsafe_file(path: PathBuf, what: &'static str) -> VolumeError {
    VolumeError::UnsafeFile { path, what }
}

pub(super) fn not_regular(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a folder"),
        FileType::Symlink => Some("a symbolic link"),
        FileType::Fifo => Some("a FIFO"),
        _ => Some("a device or socket"),
    }
}
