//! An open directory.
//!
//! Files are opened relative to it and never through a symbolic link. A FIFO or a device can
//! neither block runlog nor pass for a file.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, StatxFlags, Uid};
use rustix::io::Errno;

use super::VolumeError;
use super::create_mode::CreateMode;
use super::error::IoContext;

/// The identity of a file: its device and inode.
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

/// The metadata that [`Dir::peek_meta`] returns.
#[derive(Debug, Clone, Copy)]
pub struct FileMeta {
    /// The identity of the file.
    pub key: FileKey,
    /// The number of hard links.
    pub links: u32,
    /// The length in bytes.
    pub len: u64,
}

/// A directory that was opened, and created if it did not exist.
#[derive(Debug)]
pub struct EnsuredDir {
    /// The directory.
    pub dir: Dir,
    /// Whether this call created it.
    pub created: bool,
}

/// An open directory, with the path that messages show for it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    key: FileKey,
    /// The permissions of new files and directories at any depth below it.
    create_mode: CreateMode,
    /// The owner of new files and directories in it, if that is not the user who creates them.
    owner: Option<(Uid, Gid)>,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const DIR_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The `f_type` values (`statfs(2)`) of file systems that other hosts may mount: NFS, SMB
/// (three values), FUSE, Ceph, 9p, AFS, GFS2, OCFS2 and Lustre.
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
    fn new(fd: OwnedFd, path: PathBuf, create_mode: CreateMode) -> Result<Self, VolumeError> {
        let stat = rustix::fs::fstat(&fd).at("stat", &path)?;
        let key = FileKey::from(&stat);
        Ok(Self {
            fd,
            path,
            key,
            create_mode,
            owner: other_owner(&stat),
        })
    }

    /// Lets new files and directories in this directory belong to the user who creates them, as
    /// they do everywhere else.
    pub(super) fn owned_by_creator(self) -> Self {
        Self {
            owner: None,
            ..self
        }
    }

    /// Sets the permissions of new files and directories at any depth below this directory.
    pub(super) fn creating(self, create_mode: CreateMode) -> Self {
        Self {
            create_mode,
            ..self
        }
    }

    /// Returns the path that messages show.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the permissions of new files and directories at any depth below this directory.
    pub(super) fn create_mode(&self) -> CreateMode {
        self.create_mode
    }

    /// Returns whether new files belong to the user who creates them.
    pub(super) fn is_owned_by_creator(&self) -> bool {
        self.owner.is_none()
    }

    /// Opens a directory by its path.
    ///
    /// Follows symbolic links, because the path comes from the user.
    ///
    /// # Errors
    /// The directory does not exist, is not a directory, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | DIR_FLAGS, Mode::empty());
        let fd = map_not_directory(fd, path)?;
        Ok(Self::new(fd, path.to_owned(), CreateMode::default())?.owned_by_creator())
    }

    /// Opens a directory below this one, component by component, without following links.
    ///
    /// # Errors
    /// A component does not exist, is not a directory, or cannot be read.
    pub(crate) fn open_dir(&self, name: &str) -> Result<Self, VolumeError> {
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
            Some(fd) => Self::new(fd, path, self.create_mode),
            None => Err(VolumeError::NotADirectory { path }),
        }
    }

    /// Opens the directory `name`, one component, and creates it if it does not exist.
    ///
    /// # Errors
    /// The directory cannot be created, is not a directory, or cannot be read.
    pub(crate) fn ensure_dir(&self, name: &str) -> Result<EnsuredDir, VolumeError> {
        match self.open_dir(name) {
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => {}
            found => {
                return Ok(EnsuredDir {
                    dir: found?,
                    created: false,
                });
            }
        }
        let created = match rustix::fs::mkdirat(&self.fd, name, self.create_mode.dir()) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(e).at("create the directory", self.path.join(name)),
        };
        let opened = self.open_dir(name).and_then(|mut dir| {
            if created {
                self.give_to_owner(&dir);
                dir.owner = self.owner;
                let applied = self.create_mode.apply_to_dir(&dir);
                applied.at("set the permissions of", &dir.path)?;
            }
            Ok(dir)
        });
        if opened.is_err() && created {
            self.remove_empty_dir(name);
        }
        Ok(EnsuredDir {
            dir: opened?,
            created,
        })
    }

    /// Returns a second handle to the same directory.
    ///
    /// # Errors
    /// The process has no free descriptor.
    pub(crate) fn try_clone(&self) -> Result<Self, VolumeError> {
        let fd = self.fd.try_clone().at("duplicate", &self.path)?;
        Ok(Self {
            fd,
            path: self.path.clone(),
            key: self.key,
            create_mode: self.create_mode,
            owner: self.owner,
        })
    }

    /// Returns whether the directory has been removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Returns whether other hosts may mount the directory's file system too, judging by its
    /// type.
    pub(crate) fn is_remote(&self) -> bool {
        rustix::fs::fstatfs(&self.fd).is_ok_and(|fs| REMOTE_FS_MAGIC.contains(&(fs.f_type as u64)))
    }

    /// Returns the identity of this directory.
    pub(crate) fn key(&self) -> FileKey {
        self.key
    }

    /// Returns the metadata of a name below this directory without following a final link;
    /// `None` if the name does not exist.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stat>, VolumeError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e).at("stat", self.path.join(name)),
        }
    }

    /// Returns metadata without timestamps, for a writer that checks its own file repeatedly.
    ///
    /// Returns `None` if the name does not exist or the system call fails. Reading the
    /// timestamps of a file would make its next write store a new one, which dirties the inode
    /// (Linux 6.13, `multigrain-ts.rst`).
    pub(crate) fn peek_meta(&self, name: &CStr) -> Option<FileMeta> {
        let what = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK | StatxFlags::SIZE;
        let found = rustix::fs::statx(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW, what).ok()?;
        let filled = StatxFlags::from_bits_retain(found.stx_mask);
        filled.contains(what).then(|| FileMeta {
            key: FileKey {
                dev: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                ino: found.stx_ino,
            },
            links: found.stx_nlink,
            len: found.stx_size,
        })
    }

    /// Gives a new file or directory to the owner of this directory.
    pub(super) fn give_to_owner(&self, new: impl AsFd) {
        if let Some((user, group)) = self.owner {
            // A user namespace may not map the owner. The file then belongs to root.
            rustix::fs::fchown(new, Some(user), Some(group)).ok();
        }
    }

    /// Lists the UTF-8 names in this directory, without `.` and `..`. runlog creates no other
    /// names.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn names(&self) -> Result<Vec<String>, VolumeError> {
        let mut names = Vec::new();
        self.for_each_name(|name| names.push(name.to_owned()))?;
        Ok(names)
    }

    /// Calls `visit` with each of the [names](Self::names) in this directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn for_each_name(&self, mut visit: impl FnMut(&str)) -> Result<(), VolumeError> {
        for entry in rustix::fs::Dir::read_from(&self.fd).at("list", &self.path)? {
            let entry = entry.at("list", &self.path)?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                visit(name);
            }
        }
        Ok(())
    }

    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// The sync failed, and names created since the previous sync may be lost.
    pub(crate) fn sync(&self) -> Result<(), VolumeError> {
        match rustix::fs::fsync(&self.fd) {
            // This file system cannot sync directories, and keeps names in order itself.
            Err(Errno::INVAL) => Ok(()),
            synced => synced.at("sync", &self.path),
        }
    }

    /// Renames an entry of this directory to a name in `to`, which may be the same directory.
    ///
    /// Never replaces an existing name.
    ///
    /// # Errors
    /// The new name exists (kind `AlreadyExists`), or the system call fails.
    pub(crate) fn rename_to(
        &self,
        name: &str,
        to: &Self,
        new_name: &str,
    ) -> Result<(), VolumeError> {
        let path = || self.path.join(name);
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.fd, name, &to.fd, new_name, flags) {
            // The file system lacks `RENAME_NOREPLACE`. Checking first is enough among processes
            // of runlog, because only the holder of the locks renames.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if to.stat(new_name)?.is_none() => {
                rustix::fs::renameat(&self.fd, name, &to.fd, new_name).at("rename", path())
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                Err(Errno::EXIST).at("rename", path())
            }
            renamed => renamed.at("rename", path()),
        }
    }

    /// Renames a file in this directory, replacing any file that has the new name.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn replace(&self, name: &str, new_name: &str) -> Result<(), VolumeError> {
        let path = || self.path.join(new_name);
        rustix::fs::renameat(&self.fd, name, &self.fd, new_name).at("replace", path())
    }

    /// Removes a file below this directory. A missing file is not an error.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn remove_file(&self, name: &str) -> Result<(), VolumeError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e).at("remove", self.path.join(name)),
        }
    }

    /// Removes an empty directory below this one, and returns whether that succeeded.
    pub(crate) fn remove_empty_dir(&self, name: &str) -> bool {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).is_ok()
    }
}

/// Returns the owner of a directory of another user, if this is root: what root creates in it
/// would otherwise lock the owner out of their own runs.
fn other_owner(dir: &Stat) -> Option<(Uid, Gid)> {
    let (user, group) = (Uid::from_raw(dir.st_uid), Gid::from_raw(dir.st_gid));
    let is_other = !user.is_root() && rustix::process::geteuid().is_root();
    is_other.then_some((user, group))
}

fn map_not_directory(opened: Result<OwnedFd, Errno>, path: &Path) -> Result<OwnedFd, VolumeError> {
    match opened {
        Err(Errno::NOTDIR | Errno::LOOP) => Err(VolumeError::NotADirectory {
            path: path.to_owned(),
        }),
        opened => opened.at("open", path),
    }
}
