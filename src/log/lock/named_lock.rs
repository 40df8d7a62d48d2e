//! A named lock that allows one run at a time: `flock(2)` on a file in `.omne/var/locks/`.
//!
//! The kernel releases it when the last process that has the file open exits. The content of the
//! file is information for processes that find it locked, and may be out of date.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use jiff::Timestamp;
use rustix::fs::{fstat, major, minor};
use serde::{Deserialize, Serialize};

use super::file_lock;
use crate::log::error::StorageError;
use crate::volume::{FileKey, IoContext, LockName, RunId, Volume, now_ts, rfc3339};

/// The maximum length of a lock file, in bytes.
const MAX_HOLDER_BYTES: u64 = 1024;

/// A lock that this process holds. Closing the file releases it, unless another process has it
/// open too.
#[derive(Debug)]
pub struct NamedLock {
    file: File,
    since: Timestamp,
}

/// The outcome of an attempt to take a lock.
#[derive(Debug)]
pub enum NamedLockAttempt {
    /// This process holds the lock.
    Locked(NamedLock),
    /// Another process holds the lock.
    Held {
        /// The content of the file, which may be about an earlier process.
        recorded: LockHolder,
        /// The process that acquired the lock, according to the kernel; `None` if it cannot be
        /// seen.
        locked_by: Option<u32>,
    },
}

/// The content of a lock file: the process that holds the lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// The run, once it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The pid of the process that the caller started as `runlog run`.
    #[serde(default)]
    pub pid: Option<u32>,
    /// When it acquired the lock.
    #[serde(default, with = "rfc3339::option")]
    pub since: Option<Timestamp>,
}

impl NamedLock {
    /// Acquires a lock without waiting, unless another process holds it.
    ///
    /// # Errors
    /// The file cannot be created, or the file system does not support locks.
    pub fn try_lock(volume: &Volume, name: &LockName) -> Result<NamedLockAttempt, StorageError> {
        let locks = volume.make_locks()?;
        let name = name.as_str();
        let path = locks.path().join(name);
        loop {
            let file = locks.write(name)?;
            match file_lock::try_exclusive(&file, &path)? {
                Some(guard) => guard.keep(),
                None => {
                    return Ok(NamedLockAttempt::Held {
                        recorded: read_holder(&file),
                        locked_by: locking_pid(&file),
                    });
                }
            }
            // Another process may have removed the file since this one opened it.
            let key = FileKey::from(&fstat(&file).at("stat", &path)?);
            if locks
                .stat(name)?
                .is_some_and(|now| FileKey::from(&now) == key)
            {
                let lock = Self {
                    file,
                    since: now_ts(),
                };
                lock.record(None);
                return Ok(NamedLockAttempt::Locked(lock));
            }
        }
    }

    /// Writes to the lock file which run holds the lock.
    pub fn record_run(&self, run: &RunId, front: u32) {
        self.record(Some((run, front)));
    }

    fn record(&self, run: Option<(&RunId, u32)>) {
        let holder = LockHolder {
            run_id: run.map(|(run, _)| run.clone()),
            pid: Some(run.map_or_else(std::process::id, |(_, front)| front)),
            since: Some(self.since),
        };
        if let Ok(mut text) = serde_json::to_vec(&holder) {
            text.push(b'\n');
            // A failure does not matter: the content is only information.
            self.file.write_all_at(&text, 0).ok();
            self.file.set_len(text.len() as u64).ok();
        }
    }
}

fn read_holder(file: &File) -> LockHolder {
    let mut text = String::new();
    let read = file.take(MAX_HOLDER_BYTES).read_to_string(&mut text);
    let line = text.lines().next().filter(|_| read.is_ok());
    let holder = line.and_then(|line| serde_json::from_str(line).ok());
    holder.unwrap_or_default()
}

/// Returns the process that acquired the `flock` on a file (`proc_locks(5)`). It may have exited
/// and left the lock to a process that it forked.
fn locking_pid(file: &File) -> Option<u32> {
    let stat = fstat(file).ok()?;
    let (major, minor) = (major(stat.st_dev), minor(stat.st_dev));
    let inode = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let words = |line| str::split_whitespace(line).collect::<Vec<_>>();
    locks.lines().map(words).find_map(|words| match *words {
        [_, "FLOCK", _, _, pid, file, ..] if file == inode => {
            pid.parse().ok().filter(|pid| *pid > 0)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(attempt: NamedLockAttempt) -> LockHolder {
        match attempt {
            NamedLockAttempt::Held {
                recorded,
                locked_by,
            } => {
                // Not every file system shows its device in `/proc/locks`.
                assert!(locked_by.is_none_or(|pid| pid == std::process::id()));
                recorded
            }
            NamedLockAttempt::Locked(_) => panic!("it is not held"),
        }
    }

    #[test]
    fn lock_lasts_until_its_last_descriptor_is_closed() {
        let tmp = tempfile::tempdir().unwrap();
        let volume = Volume::create(tmp.path()).unwrap();
        let name = "nightly".parse().unwrap();
        let NamedLockAttempt::Locked(lock) = NamedLock::try_lock(&volume, &name).unwrap() else {
            panic!("it is held");
        };
        let holder = held(NamedLock::try_lock(&volume, &name).unwrap());
        assert_eq!(
            (holder.pid, holder.run_id),
            (Some(std::process::id()), None)
        );
        let run: RunId = "nightly-1".parse().unwrap();
        lock.record_run(&run, 7);
        let shared = lock.file.try_clone().unwrap();
        drop(lock);
        let holder = held(NamedLock::try_lock(&volume, &name).unwrap());
        assert_eq!((holder.pid, holder.run_id), (Some(7), Some(run)));
        drop(shared);
        let attempt = NamedLock::try_lock(&volume, &name).unwrap();
        assert!(matches!(attempt, NamedLockAttempt::Locked(_)));
    }

    #[test]
    fn removed_lock_file_is_recreated() {
        let tmp = tempfile::tempdir().unwrap();
        let volume = Volume::create(tmp.path()).unwrap();
        let name = "it".parse().unwrap();
        drop(NamedLock::try_lock(&volume, &name).unwrap());
        std::fs::remove_dir_all(tmp.path().join(".omne/var/locks")).unwrap();
        let attempt = NamedLock::try_lock(&volume, &name).unwrap();
        assert!(matches!(attempt, NamedLockAttempt::Locked(_)));
    }

    #[test]
    fn unreadable_holder_is_unknown() {
        let tmp = tempfile::tempdir().unwrap();
        for text in [
            "",
            "\n",
            "{",
            "[]",
            "{\"pid\":\"x\"}",
            "\u{0}",
            &"x".repeat(4096),
        ] {
            let path = tmp.path().join("lock");
            std::fs::write(&path, text).unwrap();
            let file = File::open(&path).unwrap();
            assert_eq!(read_holder(&file), LockHolder::default(), "{text}");
        }
    }
}
