//! One segment: its name and its lines.

use std::fs::File;
use std::io;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::Stat;

use super::gzip::GzipReader;
use super::line_reader::{FileSpan, LineReader};
use super::rev_line_reader::RevLineReader;
use super::segment_checksum::SegmentChecksum;
use crate::log::error::StorageError;
use crate::log::format::envelope;
use crate::log::format::envelope::{Envelope, peek_frame};
use crate::log::format::event_type::EventType;
use crate::volume::{Dir, FileKey, IoContext, disk_bytes, layout};

/// A reader of the lines of a segment, whether compressed or not.
pub(crate) type SegmentLines = LineReader<Box<dyn Read + Send>>;

/// One segment of a run's log, as it was listed.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The file name in the run's directory.
    pub name: String,
    /// The path, for messages.
    pub path: PathBuf,
    /// The first sequence number of a sealed segment; `None` for the active one.
    pub first_seq: Option<u64>,
    /// Whether the file was compressed.
    pub compressed: bool,
    /// The length of the file in bytes.
    pub len: u64,
    /// The number of bytes on disk that removing it frees.
    pub disk_bytes: u64,
    /// The identity of the file.
    pub key: FileKey,
    source: FileSource,
}

/// The source of a segment's open file.
#[derive(Debug, Clone)]
enum FileSource {
    /// The file is held open.
    Held(Arc<File>),
    /// The file is opened in this directory for each use.
    OnDemand(Arc<Dir>),
}

/// The open file of a segment.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFile {
    /// The file.
    pub file: Arc<File>,
    /// Whether it is compressed.
    pub compressed: bool,
    /// The size in bytes on disk.
    pub len: u64,
}

impl Segment {
    /// Opens a segment and holds its file open; `None` if the file does not exist.
    pub(crate) fn hold(dir: &Dir, name: String) -> Result<Option<Self>, StorageError> {
        let Some(file) = dir.read(&name)? else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&file).at("stat", dir.path().join(&name))?;
        let source = FileSource::Held(Arc::new(file));
        Ok(Some(Self::new(dir, name, &stat, source)))
    }

    /// Describes a segment whose file is opened for each use; `None` if the file does not exist.
    pub(crate) fn on_demand(dir: &Arc<Dir>, name: String) -> Result<Option<Self>, StorageError> {
        let stat = dir.stat(&name)?;
        let source = FileSource::OnDemand(Arc::clone(dir));
        Ok(stat.map(|stat| Self::new(dir, name, &stat, source)))
    }

    fn new(dir: &Dir, name: String, stat: &Stat, source: FileSource) -> Self {
        let sealed = layout::parse_sealed(&name);
        Self {
            path: dir.path().join(&name),
            name,
            first_seq: sealed.map(|(seq, _)| seq),
            compressed: sealed.is_some_and(|(_, gz)| gz),
            len: stat.st_size as u64,
            disk_bytes: disk_bytes(stat),
            key: FileKey::from(stat),
            source,
        }
    }

    /// Returns whether the file is held open.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.source, FileSource::Held(_))
    }

    /// Returns the open file.
    ///
    /// If the segment was compressed since it was listed, this is the compressed file.
    ///
    /// # Errors
    /// The file cannot be opened; `NotFound` if the segment was pruned.
    pub(crate) fn open(&self) -> Result<SegmentFile, StorageError> {
        let dir = match &self.source {
            FileSource::Held(file) => {
                return Ok(SegmentFile {
                    file: Arc::clone(file),
                    compressed: self.compressed,
                    len: self.len,
                });
            }
            FileSource::OnDemand(dir) => dir,
        };
        let compressed = layout::compressed(&self.plain_name());
        for (name, compressed) in [(&self.name, self.compressed), (&compressed, true)] {
            if let Some(file) = dir.read(name)? {
                let len = file.metadata().at("stat", &self.path)?.len();
                return Ok(SegmentFile {
                    file: Arc::new(file),
                    compressed,
                    len,
                });
            }
        }
        Err(io::Error::from(ErrorKind::NotFound)).at("open", &self.path)?
    }

    /// Returns the segment with its file held open; `None` if the segment was pruned.
    ///
    /// If the segment was compressed since it was listed, the file is the compressed one.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn to_held(&self) -> Result<Option<Self>, StorageError> {
        let opened = match self.open() {
            Err(e) if e.is_not_found() => return Ok(None),
            opened => opened?,
        };
        Ok(Some(Self {
            compressed: opened.compressed,
            len: opened.len,
            source: FileSource::Held(opened.file),
            ..self.clone()
        }))
    }

    /// Returns whether the run has no older segment than this one, which is opened for each use.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn is_oldest(&self) -> Result<bool, StorageError> {
        let FileSource::OnDemand(dir) = &self.source else {
            return Ok(false);
        };
        let names = dir.names()?;
        let mut sealed = names.iter().filter_map(|name| layout::parse_sealed(name));
        Ok(sealed.all(|(seq, _)| Some(seq) >= self.first_seq))
    }

    /// Returns all lines within the file's size when it is opened.
    ///
    /// # Errors
    /// See [`Segment::open`].
    pub(crate) fn lines(&self) -> Result<SegmentLines, StorageError> {
        Ok(self.open()?.lines())
    }

    /// Returns the lines from `start`, a line's offset before compression.
    ///
    /// # Errors
    /// See [`Segment::open`]. Also fails if the lines before `start` cannot be read.
    pub(crate) fn lines_from(&self, start: u64) -> Result<SegmentLines, StorageError> {
        let opened = self.open()?;
        let mut lines = opened.lines();
        if opened.compressed {
            while lines.offset() < start && lines.next_line().at("read", &self.path)?.is_some() {}
        } else {
            let span = FileSpan::new(opened.file, start, opened.len);
            lines.restart(Box::new(span), start);
        }
        Ok(lines)
    }

    /// Returns the file name before compression.
    pub(crate) fn plain_name(&self) -> String {
        self.first_seq
            .map_or_else(|| self.name.clone(), layout::sealed)
    }

    /// Returns the time of the last event; `None` for a compressed segment, which would have to
    /// be read in full.
    pub(crate) fn last_ts(&self) -> Option<Timestamp> {
        let SegmentFile {
            file,
            compressed,
            len,
        } = self.open().ok()?;
        (!compressed).then(|| last_ts(&file, len))?
    }

    /// Returns the sequence number of the first event.
    pub(crate) fn first_event(&self) -> u64 {
        self.first_seq
            .unwrap_or_else(|| self.open().map_or(0, |opened| first_seq(&opened.file)))
    }

    /// Returns the checksum of all bytes before compression; `None` if they cannot be read.
    pub(crate) fn checksum(&self) -> Option<String> {
        let mut checksum = SegmentChecksum::default();
        let mut lines = self.lines().ok()?;
        while let Some(line) = lines.next_line().ok()? {
            checksum.push_line(&line);
        }
        checksum.to_hex()
    }

    /// Returns the length before compression, up to the point where the file cannot be read.
    pub(crate) fn uncompressed_len(&self) -> u64 {
        if !self.compressed {
            return self.len;
        }
        let Ok(mut lines) = self.lines() else {
            return 0;
        };
        while let Ok(Some(_)) = lines.next_line() {}
        lines.offset()
    }
}

impl SegmentFile {
    /// Returns all lines.
    pub(crate) fn lines(&self) -> SegmentLines {
        let span = FileSpan::new(Arc::clone(&self.file), 0, self.len);
        let source: Box<dyn Read + Send> = if self.compressed {
            Box::new(GzipReader::new(span))
        } else {
            Box::new(span)
        };
        LineReader::new(source, 0)
    }
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

/// Returns the sequence number of the first line of a plain segment; 0 if the line is not an
/// event of runlog.
///
/// The number is part of the names of quarantined bytes, and of cursors. Parses only the
/// envelope, because a checkpoint may have several megabytes.
pub(crate) fn first_seq(segment: &File) -> u64 {
    let mut start = [0; envelope::FRAME_LEN];
    let read = segment.read_at(&mut start, 0).ok();
    let frame = read.and_then(|n| start.get(..n)).and_then(peek_frame);
    frame.map_or(0, |frame| frame.seq)
}

/// Returns whether a plain segment of `len` bytes is at least twice as long as the checkpoint at
/// its start, if there is one.
///
/// # Errors
/// The segment cannot be read.
pub(crate) fn outgrew_checkpoint(segment: &Arc<File>, len: u64) -> io::Result<bool> {
    let mut start = [0; envelope::FRAME_LEN];
    let read = segment.read_at(&mut start, 0)?;
    let frame = start.get(..read).and_then(peek_frame);
    if !frame.is_some_and(|frame| frame.has_type(EventType::LogRotated)) {
        return Ok(true);
    }
    let span = FileSpan::new(Arc::clone(segment), 0, len / 2);
    let first = LineReader::from_span(span)
        .next_line()?
        .map(|line| line.whole);
    Ok(first.unwrap_or(true))
}
