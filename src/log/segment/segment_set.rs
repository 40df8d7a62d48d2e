//! The segments of a run: listing them in order and opening them.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use rustix::fs::{FileType, Stat};

use super::checkpoint::Checkpoint;
use super::line_reader::{FileSpan, LineReader, classify_raw};
use super::rev_line_reader::RevLineReader;
use crate::log::error::StorageError;
use crate::log::format::classify::LineClass;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_type::EventType;
use crate::volume::{Dir, FileKey, IoContext, layout};

/// The maximum number of times a listing is repeated because the directory changed.
const MAX_LISTINGS: u32 = 100;

/// One open file of a run's log.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The file name in the run's directory.
    pub name: String,
    /// The path, for messages.
    pub path: PathBuf,
    /// The first sequence number of a sealed segment; `None` for the active one.
    pub first_seq: Option<u64>,
    /// Whether the file is compressed.
    pub compressed: bool,
    /// The size at the time of opening, in bytes on disk.
    pub len: u64,
    /// The file.
    pub file: Arc<File>,
    /// The identity of the file.
    pub key: FileKey,
}

impl Segment {
    fn open(dir: &Dir, name: String) -> Result<Option<Self>, StorageError> {
        let Some(file) = dir.read(&name)? else {
            return Ok(None);
        };
        let path = dir.path().join(&name);
        let stat = rustix::fs::fstat(&file).at("stat", &path)?;
        let sealed = layout::parse_sealed(&name);
        Ok(Some(Self {
            name,
            path,
            first_seq: sealed.map(|(seq, _)| seq),
            compressed: sealed.is_some_and(|(_, gz)| gz),
            len: stat.st_size as u64,
            file: Arc::new(file),
            key: FileKey::from(&stat),
        }))
    }

    /// Returns all lines, up to the size at the time of opening.
    pub(crate) fn lines(&self) -> LineReader<Box<dyn Read + Send>> {
        let span = FileSpan::new(Arc::clone(&self.file), 0, self.len);
        let source: Box<dyn Read + Send> = if self.compressed {
            Box::new(MultiGzDecoder::new(span))
        } else {
            Box::new(span)
        };
        LineReader::new(source, 0)
    }

    /// Returns the lines from `start`, the offset of a line before compression.
    pub(crate) fn lines_from(&self, start: u64) -> io::Result<LineReader<Box<dyn Read + Send>>> {
        let mut lines = self.lines();
        if self.compressed {
            while lines.offset() < start && lines.next_line()?.is_some() {}
        } else {
            let span = FileSpan::new(Arc::clone(&self.file), start, self.len);
            lines.restart(Box::new(span), start);
        }
        Ok(lines)
    }

    /// Returns the file name before compression.
    pub(crate) fn plain_name(&self) -> String {
        self.first_seq
            .map_or_else(|| self.name.clone(), layout::sealed)
    }

    /// Returns the time of the last event; `None` for a compressed segment, which would
    /// have to be read in full.
    pub(crate) fn last_ts(&self) -> Option<Timestamp> {
        (!self.compressed).then(|| last_ts(&self.file, self.len))?
    }

    /// Returns the sequence number of the first event.
    pub(crate) fn first_event(&self) -> u64 {
        self.first_seq.unwrap_or_else(|| first_seq(&self.file))
    }

    /// Returns the length before compression, as far as the file can be read.
    pub(crate) fn uncompressed_len(&self) -> u64 {
        if !self.compressed {
            return self.len;
        }
        let mut lines = self.lines();
        while let Ok(Some(_)) = lines.next_line() {}
        lines.offset()
    }
}

/// Lists the names of the segments, oldest first and the active one last.
///
/// If a sealed segment exists both plain and compressed, the plain file counts: compression
/// removes it only after the compressed one is complete.
pub(crate) fn names(dir: &Dir) -> Result<Vec<String>, StorageError> {
    let mut sealed: Vec<(u64, bool, String)> = Vec::new();
    let mut active = None;
    for name in dir.names()? {
        if let Some((seq, compressed)) = layout::parse_sealed(&name) {
            sealed.push((seq, compressed, name));
        } else if name == layout::ACTIVE {
            active = Some(name);
        }
    }
    sealed.sort();
    sealed.dedup_by_key(|(seq, _, _)| *seq);
    Ok(sealed
        .into_iter()
        .map(|(_, _, name)| name)
        .chain(active)
        .collect())
}

/// Opens the active segment; `None` if there is none.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn open_active(dir: &Dir) -> Result<Option<Segment>, StorageError> {
    Segment::open(dir, layout::ACTIVE.to_owned())
}

/// Opens every segment of a run as of one moment.
///
/// Lists the directory, opens all files and lists it again, and starts over if a rotation
/// came in between.
///
/// # Errors
/// A segment cannot be opened.
pub(crate) fn open_segments(dir: &Dir) -> Result<Vec<Segment>, StorageError> {
    open_named(dir, names)
}

/// Opens the files that `names` lists in `dir` as of one moment, see [`open_segments`].
pub(crate) fn open_named(
    dir: &Dir,
    names: impl Fn(&Dir) -> Result<Vec<String>, StorageError>,
) -> Result<Vec<Segment>, StorageError> {
    let mut last = Vec::new();
    for _ in 0..MAX_LISTINGS {
        last = Vec::new();
        for name in names(dir)? {
            last.extend(Segment::open(dir, name)?);
        }
        if unchanged(dir, &names(dir)?, &last)? {
            return Ok(last);
        }
    }
    Ok(last)
}

fn unchanged(dir: &Dir, again: &[String], opened: &[Segment]) -> Result<bool, StorageError> {
    if again.len() != opened.len() {
        return Ok(false);
    }
    for (name, segment) in again.iter().zip(opened) {
        let same = dir
            .stat(name)?
            .is_some_and(|stat| FileKey::from(&stat) == segment.key);
        if name != &segment.name || !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Drops the segments whose events are covered by the newest full checkpoint.
pub(crate) fn since_checkpoint(mut segments: Vec<Segment>) -> Vec<Segment> {
    let newest = (1..segments.len()).rev().find(|&at| {
        let (Some(before), Some(segment)) = (segments.get(at - 1), segments.get(at)) else {
            return false;
        };
        // A program that does not notice rotations may have appended to the sealed file.
        let grew = |checkpoint: &Checkpoint| !before.compressed && before.len != checkpoint.bytes;
        segment.checkpoint().is_some_and(|c| c.is_full && !grew(&c))
    });
    segments.drain(..newest.unwrap_or(0));
    segments
}

/// Returns whether the directory has a segment that is not empty.
///
/// # Errors
/// The directory cannot be read.
pub fn has_events(dir: &Dir) -> Result<bool, StorageError> {
    // A file of another type is reported when it is opened.
    let has_content = |stat: Stat| {
        stat.st_size > 0 || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
    };
    if dir.stat(layout::ACTIVE)?.is_some_and(has_content) {
        return Ok(true);
    }
    has_sealed(dir)
}

fn has_sealed(dir: &Dir) -> Result<bool, StorageError> {
    Ok(names(dir)?.iter().any(|name| name != layout::ACTIVE))
}

/// Returns whether the run in `dir` has started.
///
/// A log with nothing but a torn first write, or the record of its repair, belongs to a run
/// that is still being created.
///
/// # Errors
/// The directory or the active segment cannot be read.
pub fn is_started(dir: &Dir) -> Result<bool, StorageError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return has_events(dir);
    };
    let path = dir.path().join(layout::ACTIVE);
    let mut lines = LineReader::from_span(FileSpan::new(Arc::new(file), 0, u64::MAX));
    while let Some(line) = lines.next_line().at("read", &path)? {
        let is_event = match classify_raw(&line) {
            LineClass::Ours(env) => env.kind != EventType::LogRepaired,
            LineClass::Foreign(_) => true,
            LineClass::Damage(_) => line.whole,
        };
        if is_event {
            return Ok(true);
        }
    }
    has_sealed(dir)
}

/// Returns the time of the last valid event in the first `len` bytes of a plain segment.
pub(crate) fn last_ts(file: &File, len: u64) -> Option<Timestamp> {
    let mut back = RevLineReader::new(file, len);
    while let Ok(Some(line)) = back.prev_line() {
        if let Ok(env) = Envelope::parse(line.bytes) {
            return Some(env.time());
        }
    }
    None
}

/// Returns the sequence number of the first event in a plain segment; 0 if it has none.
///
/// It is part of the name under which bytes cut from the segment are quarantined.
pub(crate) fn first_seq(segment: &Arc<File>) -> u64 {
    let span = FileSpan::new(Arc::clone(segment), 0, u64::MAX);
    match LineReader::from_span(span).next_line() {
        Ok(Some(line)) => Envelope::parse(line.bytes).map_or(0, |env| env.seq),
        _ => 0,
    }
}
