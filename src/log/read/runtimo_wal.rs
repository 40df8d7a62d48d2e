//! A write-ahead log of runtimo: one file anywhere, and its rotated files.

use std::path::Path;

use crate::log::error::StorageError;
use crate::log::read::reader::Reader;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::segment_set;
use crate::volume::{Dir, IoContext, RunId, layout};

/// A log of runtimo that can be read.
#[derive(Debug)]
pub struct RuntimoWal {
    dir: Dir,
    name: String,
}

impl RuntimoWal {
    /// Finds the file. Follows links, because the user chose the path.
    ///
    /// # Errors
    /// The file does not exist or is not a regular file, or its directory cannot be read.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let real = path.canonicalize().at("find", path)?;
        let not_a_file = || StorageError::NotAFile {
            path: path.to_owned(),
        };
        // Check this before opening the file, because opening a device may have side effects.
        if !real.is_file() {
            return Err(not_a_file());
        }
        let name = real.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(parent)) = (name, real.parent()) else {
            return Err(not_a_file());
        };
        let (name, dir) = (name.to_owned(), Dir::open(parent)?);
        Ok(Self { dir, name })
    }

    /// Returns the name to use as the id of a run.
    pub fn run_id(&self) -> RunId {
        RunId::from_name(&self.name)
    }

    /// Returns the directory that contains the log.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns whether a name in the directory is one of the log's files.
    pub fn has(&self, name: &str) -> bool {
        name == self.name || layout::parse_rotated_wal(name, &self.name).is_some()
    }

    /// Reads the log as of now, the oldest of its files first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn reader(&self) -> Result<Reader, StorageError> {
        Ok(Reader::from_segments(self.segments()?))
    }

    /// Returns the open files, oldest first.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, StorageError> {
        let mut opened = segment_set::open_named(&self.dir, |dir| self.names(dir))?;
        let active = opened.len().saturating_sub(1);
        for (at, segment) in opened.iter_mut().enumerate() {
            // No process writes to rotated files, so their last lines are final.
            segment.first_seq = (at < active).then_some(0);
            segment.compressed = false;
        }
        Ok(opened)
    }

    fn names(&self, dir: &Dir) -> Result<Vec<String>, StorageError> {
        let all = dir.names()?;
        let mut rotated: Vec<_> = all
            .iter()
            .filter_map(|name| Some((layout::parse_rotated_wal(name, &self.name)?, name)))
            .collect();
        // The names of 0.1 could also be those of another log.
        let other = layout::runtimo_0_1_wal_name(&self.name);
        if other != self.name && all.contains(&other) {
            rotated.retain(|((is_old, _), _)| !is_old);
        }
        rotated.sort();
        rotated.reverse();
        let names = rotated.into_iter().map(|(_, name)| name.clone());
        Ok(names.chain([self.name.clone()]).collect())
    }
}
