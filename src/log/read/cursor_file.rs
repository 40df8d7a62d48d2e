//! A file of cursors: one line for each run, and one for `retired.jsonl`. It is replaced as a
//! whole, and belongs to one process at a time.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::fstat;

use super::cursor::{Cursor, CursorError};
use super::retired_position::RetiredPosition;
use crate::log::error::StorageError;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::lock::file_lock;
use crate::volume::{Dir, FileKey, IoContext, VolumeError, copy_access, layout};

/// The maximum length of a cursor file, in bytes: enough for some hundred thousand runs.
const MAX_CURSOR_FILE_BYTES: u64 = 64 << 20;

/// A cursor file that this process owns until this value is dropped.
#[derive(Debug)]
pub struct CursorFile {
    dir: Dir,
    name: String,
    path: PathBuf,
    /// The file that currently has the name, locked.
    held: File,
    /// Whether the name is durable.
    synced: bool,
}

/// An error with a cursor file.
#[derive(Debug, thiserror::Error)]
pub enum CursorFileError {
    /// The file cannot be opened, read, locked or replaced.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The path does not end in a name.
    #[error("{} does not name a file", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// A line of the file is not a cursor.
    #[error("{}, line {line}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem with the line.
        #[source]
        source: CursorError,
    },
}

/// The content of a cursor file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedCursors {
    /// The cursors of the runs.
    pub cursors: Vec<Cursor>,
    /// How far `retired.jsonl` was read.
    pub retired: Option<RetiredPosition>,
}

impl From<VolumeError> for CursorFileError {
    fn from(e: VolumeError) -> Self {
        StorageError::from(e).into()
    }
}

impl CursorFile {
    /// Locks the file, creates it if it does not exist, and reads its cursors.
    ///
    /// # Errors
    /// Another process has locked it, it is not a cursor file (and is left unchanged), or a
    /// system call fails.
    pub fn open(path: &Path) -> Result<(Self, SavedCursors), CursorFileError> {
        let no_name = || CursorFileError::NoName {
            path: path.to_owned(),
        };
        let name = path.file_name().ok_or_else(no_name)?;
        let name = name.to_str().ok_or_else(no_name)?.to_owned();
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let dir = Dir::open(parent)?;
        let held = open_locked(&dir, &name, path)?;
        let saved = read(&held, path)?;
        let file = Self {
            dir,
            name,
            path: path.to_owned(),
            held,
            synced: false,
        };
        Ok((file, saved))
    }

    /// Replaces the content of the file. A crash leaves either the old cursors or the new ones.
    ///
    /// # Errors
    /// The cursors cannot be written, and the old ones remain.
    pub fn save<'a>(
        &mut self,
        cursors: impl IntoIterator<Item = &'a Cursor>,
        retired: Option<RetiredPosition>,
    ) -> Result<(), StorageError> {
        let mut text = String::new();
        for cursor in cursors {
            text.push_str(&cursor.to_string());
            text.push('\n');
        }
        if let Some(retired) = retired {
            text.push_str(&retired.to_string());
            text.push('\n');
        }
        let new_name = layout::cursor_temp_name(&self.name);
        // A process that died may have left one. Only the process that holds the lock gets here.
        self.dir.remove_file(&new_name)?;
        let mut new = self.dir.create_new(&new_name)?;
        // Lock the new file before it gets its name, so that no other process finds it unlocked.
        file_lock::exclusive(&new, &self.path, LOCK_TIMEOUT)?.keep();
        let written = copy_access(&self.held, &new)
            .and_then(|()| new.write_all(text.as_bytes()))
            .and_then(|()| new.sync_data());
        if let Err(e) = written {
            drop(self.dir.remove_file(&new_name));
            return Err(e).at("write", &self.path)?;
        }
        self.dir.replace(&new_name, &self.name)?;
        if !self.synced {
            // After the first sync, a power loss leaves an older cursor, which does no harm.
            self.dir.sync()?;
            self.synced = true;
        }
        self.held = new;
        Ok(())
    }
}

/// Opens and locks the file that has the name.
fn open_locked(dir: &Dir, name: &str, path: &Path) -> Result<File, StorageError> {
    let wait = file_lock::LockDeadline::new(LOCK_TIMEOUT);
    loop {
        let file = dir.write(name)?;
        file_lock::exclusive(&file, path, wait)?.keep();
        let locked = FileKey::from(&fstat(&file).at("stat", path)?);
        // Each save by the owner replaces the file and releases the old one.
        if dir
            .stat(name)?
            .is_some_and(|stat| FileKey::from(&stat) == locked)
        {
            return Ok(file);
        }
    }
}

fn read(file: &File, path: &Path) -> Result<SavedCursors, CursorFileError> {
    let mut bytes = Vec::new();
    file.take(MAX_CURSOR_FILE_BYTES)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut saved = SavedCursors::default();
    for (at, line) in text.lines().enumerate() {
        let malformed = |source| CursorFileError::Malformed {
            path: path.to_owned(),
            line: at + 1,
            source,
        };
        if RetiredPosition::is_labeled(line) {
            saved.retired = Some(line.parse().map_err(malformed)?);
        } else {
            saved.cursors.push(line.parse().map_err(malformed)?);
        }
    }
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::log::read::cursor::RunEnd;
    use crate::log::read::position::Position;

    fn cursor(run: &str, offset: u64) -> Cursor {
        let position = Position {
            first_seq: 0,
            offset,
            crc: 1,
            sequence: None,
        };
        Cursor::new(run.parse().unwrap(), None, position, RunEnd::Open)
    }

    #[test]
    fn cursor_file_roundtrips() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("cursors");
        for round in 0..3 {
            let (mut file, found) = CursorFile::open(&path).unwrap();
            assert_eq!(found.cursors.len(), round);
            let new: Vec<_> = (0..=round)
                .map(|n| cursor(&format!("r{n}"), round as u64))
                .collect();
            let retired = Some(RetiredPosition::after(b"x", round as u64 + 1));
            file.save(&[], None).unwrap();
            file.save(&new, retired).unwrap();
            drop(file);
            let saved = SavedCursors {
                cursors: new,
                retired,
            };
            assert_eq!(CursorFile::open(&path).unwrap().1, saved);
        }
        let left: Vec<_> = fs::read_dir(&tmp).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn replaced_cursor_file_keeps_its_mode() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("cursors");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let (mut file, _) = CursorFile::open(&path).unwrap();
        file.save(&[cursor("a", 1)], None).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }

    #[test]
    fn cursor_file_lock_survives_replace() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("cursors");
        let (mut file, _) = CursorFile::open(&path).unwrap();
        file.save(&[cursor("a", 1)], None).unwrap();
        let again = File::open(&path).unwrap();
        assert!(file_lock::try_exclusive(&again, &path).unwrap().is_none());
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || CursorFile::open(&path).map(|(_, found)| found.cursors)
        });
        file.save(&[cursor("a", 2)], None).unwrap();
        drop(file);
        assert_eq!(waiting.join().unwrap().unwrap(), [cursor("a", 2)]);
    }

    #[test]
    fn foreign_cursor_file_is_not_overwritten() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("cursors");
        let good = cursor("a", 1);
        for bad in [
            "garbage\n".to_owned(),
            format!("{good}\n\n"),
            format!("{good}\n1:a:0"),
            format!("{good}\nretired:1:0"),
        ] {
            fs::write(&path, &bad).unwrap();
            let e = CursorFile::open(&path).unwrap_err();
            assert!(matches!(e, CursorFileError::Malformed { .. }), "{e}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }
}
