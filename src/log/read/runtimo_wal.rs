//! A write-ahead log of runtimo: one file anywhere, and what was rotated away from it.

use std::path::Path;

use crate::log::error::StorageError;
use crate::log::read::reader::Reader;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::segment_set;
use crate::volume::{Dir, IoContext, RunId, layout};

/// A log of runtimo, to be read.
#[derive(Debug)]
pub struct RuntimoWal {
    dir: Dir,
    name: String,
}

impl RuntimoWal {
    /// Finds the file; links to it are followed, since the user may name a file
    /// as he likes.
    ///
    /// # Errors
    /// There is no such file, it is not a regular file, or its directory cannot be read.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let real = path.canonicalize().at("find", path)?;
        let not_a_file = || StorageError::NotAFile {
            path: path.to_owned(),
        };
        // Before it is opened: the open of a device may do something.
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

    /// What it is called where a run has its id.
    pub fn run_id(&self) -> RunId {
        RunId::from_name(&self.name)
    }

    /// The directory that contains it.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Whether a file of that name in its directory is one of its files.
    pub fn has(&self, name: &str) -> bool {
        name == self.name || layout::parse_rotated_wal(name, &self.name).is_some()
    }

    /// Reads it as it stands now, the oldest of its files first.
    ///
    /// # Errors
    /// A file may not be read.
    pub fn reader(&self) -> Result<Reader, StorageError> {
        Ok(Reader::from_segments(self.segments()?))
    }

    /// The open files, oldest first.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, StorageError> {
        let mut opened = segment_set::open_named(&self.dir, |dir| self.names(dir))?;
        let active = opened.len().saturating_sub(1);
        for (at, segment) in opened.iter_mut().enumerate() {
            // Nobody writes to what was rotated away: its last line is as it stays.
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
        // The names of 0.1 could as well be those of another log.
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
