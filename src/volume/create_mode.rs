//! The permissions of the files and directories of runs.

use std::os::fd::AsFd;

use rustix::fs::{Gid, Mode, Stat, fchmod, fchown, fstat};
use rustix::io::Errno;
use serde::Deserialize;

/// The default permissions of a run's directories: only the owner has access.
const PRIVATE: u32 = 0o700;
/// The permissions of a run's directories if a group shares `.omne/var`. New files belong to
/// that group.
const SHARED: u32 = 0o2770;
/// The bit that gives new files in a directory the group of the directory.
const SET_GROUP_ID: u32 = 0o2000;
/// The permission bits that a file shares with its directory.
const FILE_BITS: u32 = 0o666;
/// The bits that the umask may remove, and that runlog then has to set again.
const SHARED_BITS: u32 = 0o7077;

/// The permissions of new files and directories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum CreateMode {
    /// Whatever the umask leaves.
    #[default]
    Umask,
    /// Exactly the given permissions.
    Exact {
        /// The permissions of directories. Files get the same ones without execution.
        dir: u32,
        /// The group, if it has to be set.
        group: Option<u32>,
    },
    /// What the umask leaves, and for this group the access of the owner.
    Group(u32),
}

/// The value of the setting `[volume] mode`: `"umask"`, or the permissions of directories in
/// octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RunMode(Option<u32>);

impl TryFrom<String> for RunMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "umask" {
            return Ok(Self(None));
        }
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode & !0o2777 == 0 && mode & 0o700 == 0o700 => Ok(Self(Some(mode))),
            _ => Err(format!(
                "`{text}` is not a mode; write \"umask\", or the permissions of directories in \
                 octal, such as \"0750\", with all of the owner's"
            )),
        }
    }
}

impl CreateMode {
    /// Returns the permissions of what all runs have in common, given those of the runs.
    pub(super) fn of_var(runs: Self) -> Self {
        match runs {
            Self::Exact {
                dir,
                group: Some(group),
            } if dir & 0o020 != 0 => Self::Group(group),
            _ => Self::Umask,
        }
    }

    /// Returns the permissions of runs below the directory `.omne/var`, which has this metadata.
    pub(super) fn of_runs(var: &Stat, setting: Option<RunMode>) -> Self {
        let is_shared = var.st_mode & (SET_GROUP_ID | 0o020) != 0;
        let dir = match setting {
            Some(RunMode(None)) => return Self::Umask,
            Some(RunMode(Some(mode))) => mode,
            None if is_shared => SHARED,
            None => PRIVATE,
        };
        Self::Exact {
            dir,
            group: (is_shared && dir & 0o070 != 0).then_some(var.st_gid),
        }
    }

    /// Returns the mode of new directories.
    pub(super) fn dir(self) -> Mode {
        Mode::from_raw_mode(match self {
            Self::Umask | Self::Group(_) => 0o777,
            Self::Exact { dir, .. } => dir & 0o777,
        })
    }

    /// Returns the mode of new files.
    pub(super) fn file(self) -> Mode {
        Mode::from_raw_mode(match self {
            Self::Umask | Self::Group(_) => FILE_BITS,
            Self::Exact { dir, .. } => dir & FILE_BITS,
        })
    }

    /// Returns whether a new file or directory needs a call of [`CreateMode::apply`].
    pub(super) fn is_shared(self) -> bool {
        match self {
            Self::Umask => false,
            Self::Exact { dir, .. } => dir & SHARED_BITS != 0,
            Self::Group(_) => true,
        }
    }

    /// Gives a new directory its group and the permissions that the umask removed.
    pub(super) fn apply_to_dir(self, new: impl AsFd) -> Result<(), Errno> {
        match self {
            Self::Exact { dir, group } if self.is_shared() => apply(new, dir, group),
            Self::Group(group) => apply(&new, with_group(&new)? | SET_GROUP_ID, Some(group)),
            _ => Ok(()),
        }
    }

    /// Gives a new file its group and the permissions that the umask removed.
    pub(super) fn apply_to_file(self, new: impl AsFd) -> Result<(), Errno> {
        match self {
            Self::Exact { dir, group } if self.is_shared() => apply(new, dir & FILE_BITS, group),
            Self::Group(group) => apply(&new, with_group(&new)?, Some(group)),
            _ => Ok(()),
        }
    }
}

/// Returns the permissions of a file or directory, with those of its owner for its group too.
fn with_group(new: impl AsFd) -> Result<u32, Errno> {
    let mode = fstat(new)?.st_mode & 0o777;
    Ok(mode | (mode & 0o700) >> 3)
}

fn apply(new: impl AsFd, mode: u32, group: Option<u32>) -> Result<(), Errno> {
    if let Some(group) = group {
        // This fails for users who are not members of the group; their files keep their own
        // group. Do it before setting the mode, because it clears some mode bits.
        fchown(&new, None, Some(Gid::from_raw(group))).ok();
    }
    fchmod(new, Mode::from_raw_mode(mode))
}
