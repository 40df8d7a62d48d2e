//! The files of a run's log, in their order.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use rustix::fs::{FileType, Stat};
use serde::Deserialize;

use super::line_reader::{FileSpan, LineReader, classify_raw};
use super::rev_line_reader::RevLineReader;
use crate::log::error::LogError;
use crate::log::format::classify::LineClass;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_type::EventType;
use crate::log::write::tail::{Tail, TailMode};
use crate::volume::{Dir, FileKey, IoContext, VolumeError, layout};

/// How often a listing that changed under us is taken again.
const MAX_LISTINGS: u32 = 100;

/// One file of a run's log, held open.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Its name in the run's folder.
    pub name: String,
    /// Its path, for messages.
    pub path: PathBuf,
    /// The first `seq` of a sealed segment; `None` for the active one.
    pub first_seq: Option<u64>,
    /// Whether it is compressed.
    pub compressed: bool,
    /// Its size when it was opened, in bytes on disk.
    pub len: u64,
    /// The file.
    pub file: Arc<File>,
    /// Which file it is.
    pub key: FileKey,
}

impl Segment {
    fn open(dir: &Dir, name: String) -> Result<Option<Self>, LogError> {
        let Some(file) = dir.read(&name)? else {
            return Ok(None);
        };
        let path = dir.path().join(&name);
        let stat = rustix::fs::fstat(&file).at("look at", &path)?;
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

    /// Its lines from the start, up to the size that it had when it was opened.
    pub(crate) fn lines(&self) -> LineReader<Box<dyn Read + Send>> {
        let span = FileSpan::new(Arc::clone(&self.file), 0, self.len);
        let source: Box<dyn Read + Send> = if self.compressed {
            Box::new(MultiGzDecoder::new(span))
        } else {
            Box::new(span)
        };
        LineReader::new(source, 0)
    }

    /// Its lines from `start` on, where one begins.
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

    /// Its name before compression.
    pub(crate) fn plain_name(&self) -> String {
        self.first_seq
            .map_or_else(|| self.name.clone(), layout::sealed)
    }

    /// When its last event was written; not told of a compressed one, which would have
    /// to be read in full.
    pub(crate) fn last_ts(&self) -> Option<String> {
        (!self.compressed).then(|| last_ts(&self.file, self.len))?
    }

    /// The checkpoint that it opens with, if it does.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let mut lines = self.lines();
        let line = lines.next_line().ok()??;
        Checkpoint::parse(line.bytes)
    }

    /// The number of its first event.
    pub(crate) fn first_event(&self) -> u64 {
        self.first_seq.unwrap_or_else(|| first_seq(&self.file))
    }

    /// Its length before compression, as far as it can be read.
    pub(crate) fn uncompressed_len(&self) -> u64 {
        if !self.compressed {
            return self.len;
        }
        let mut lines = self.lines();
        while let Ok(Some(_)) = lines.next_line() {}
        lines.offset()
    }

    /// What a writer has to know of its end.
    pub(crate) fn tail(&self) -> Result<Tail, LogError> {
        let before = || {
            Ok(Tail {
                sequence: crate::log::segment::sequence::Sequence::before(
                    self.first_seq.unwrap_or(0),
                ),
                ..Tail::default()
            })
        };
        if !self.compressed {
            return Tail::find(&self.file, self.len, &self.path, TailMode::Sealed, before);
        }
        let mut tail = before()?;
        match tail.advance_over(self.lines(), &self.path, TailMode::Sealed, None) {
            // What cannot be decompressed is damage; the run goes on behind it.
            Err(LogError::Volume(VolumeError::Io { .. })) => tail.sequence.damage(),
            done => drop(done?),
        }
        Ok(tail)
    }
}

/// The names of the segments, oldest first, the active one last. Where a sealed one
/// is there plain and compressed, the plain one counts.
pub(crate) fn names(dir: &Dir) -> Result<Vec<String>, LogError> {
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

/// Opens the active segment; `None` where there is none.
///
/// # Errors
/// It may not be read.
pub(crate) fn open_active(dir: &Dir) -> Result<Option<Segment>, LogError> {
    Segment::open(dir, layout::ACTIVE.to_owned())
}

/// Opens every segment of a run, as they stood together at one moment: list, open
/// all, list again, and once more if a rotation came in between.
///
/// # Errors
/// A segment may not be read, or the folder changed without end.
pub(crate) fn open_segments(dir: &Dir) -> Result<Vec<Segment>, LogError> {
    open_named(dir, names)
}

/// The same for the files that `names` names in `dir`.
pub(crate) fn open_named(
    dir: &Dir,
    names: impl Fn(&Dir) -> Result<Vec<String>, LogError>,
) -> Result<Vec<Segment>, LogError> {
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

fn unchanged(dir: &Dir, again: &[String], opened: &[Segment]) -> Result<bool, LogError> {
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

/// Leaves out the segments whose events the newest checkpoint brings along.
pub(crate) fn since_checkpoint(mut segments: Vec<Segment>) -> Vec<Segment> {
    let newest = (1..segments.len()).rev().find(|&at| {
        let (Some(before), Some(segment)) = (segments.get(at - 1), segments.get(at)) else {
            return false;
        };
        // A program that does not look for a rotation may have written to the sealed one.
        let grew = |checkpoint: &Checkpoint| !before.compressed && before.len != checkpoint.bytes;
        segment.checkpoint().is_some_and(|c| c.is_full && !grew(&c))
    });
    segments.drain(..newest.unwrap_or(0));
    segments
}

/// Whether the folder has any segment with something in it.
///
/// # Errors
/// The folder cannot be read.
pub fn has_events(dir: &Dir) -> Result<bool, LogError> {
    // What is no regular file is told when it is opened.
    let says = |stat: Stat| {
        stat.st_size > 0 || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
    };
    if dir.stat(layout::ACTIVE)?.is_some_and(says) {
        return Ok(true);
    }
    has_sealed(dir)
}

fn has_sealed(dir: &Dir) -> Result<bool, LogError> {
    Ok(names(dir)?.iter().any(|name| name != layout::ACTIVE))
}

/// Whether the run in `dir` has begun: a log of nothing but a torn first write, or of what
/// tells that such a one was mended, is that of a run in the making.
///
/// # Errors
/// The folder or the active segment cannot be read.
pub fn has_files(dir: &Dir) -> Result<bool, LogError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return has_events(dir);
    };
    let path = dir.path().join(layout::ACTIVE);
    let mut lines = LineReader::of(FileSpan::new(Arc::new(file), 0, u64::MAX));
    while let Some(line) = lines.next_line().at("read", &path)? {
        let is_begun = match classify_raw(&line) {
            LineClass::Ours(env) => env.kind != EventType::LogRepaired.as_str(),
            LineClass::Foreign(_) => true,
            LineClass::Damage(_) => line.whole,
        };
        if is_begun {
            return Ok(true);
        }
    }
    has_sealed(dir)
}

/// When the last valid event of the first `len` bytes of a plain segment was written.
pub(crate) fn last_ts(file: &File, len: u64) -> Option<String> {
    let mut back = RevLineReader::new(file, len);
    while let Ok(Some(line)) = back.prev_line() {
        if let Ok(env) = Envelope::parse(line.bytes) {
            return Some(env.ts.to_owned());
        }
    }
    None
}

/// What a checkpoint says of itself, but for the state.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// When it was written.
    pub ts: String,
    /// Length of the segment before it, in bytes before compression.
    pub bytes: u64,
    /// When the last event before it was written.
    pub last_ts: Option<String>,
    /// Whether it has all of the state.
    pub is_full: bool,
}

impl Checkpoint {
    /// `None` where the line is no checkpoint, or damaged.
    fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Rotated {
            sealed: Sealed,
            state: State,
        }
        #[derive(Deserialize)]
        struct Sealed {
            bytes: u64,
            last_ts: Option<String>,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            jobs_truncated: bool,
        }
        let kind = EventType::LogRotated.as_str();
        // Most first lines are of another type: no checksum is needed to tell.
        Envelope::parse_checked(line).filter(|env| env.kind == kind)?;
        let env = Envelope::parse(line).ok()?;
        let Rotated { sealed, state } = serde_json::from_slice(line).ok()?;
        Some(Self {
            ts: env.ts.to_owned(),
            bytes: sealed.bytes,
            last_ts: sealed.last_ts,
            is_full: !state.jobs_truncated,
        })
    }
}

/// The number of the first event in a segment, for the name of what is cut from it;
/// 0 where it has none.
pub(crate) fn first_seq(segment: &Arc<File>) -> u64 {
    let span = FileSpan::new(Arc::clone(segment), 0, u64::MAX);
    match LineReader::of(span).next_line() {
        Ok(Some(line)) => Envelope::parse(line.bytes).map_or(0, |env| env.seq),
        _ => 0,
    }
}
