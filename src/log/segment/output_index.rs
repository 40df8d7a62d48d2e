//! A reader of the index of a job's output.
//!
//! The index is JSON Lines without checksums, so that jq can read it. The output itself remains
//! exactly what the job printed, and a broken index loses only the streams and times. A file for
//! each stream would lose the order between the streams.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::line_reader::{FileSpan, LineReader};
use crate::log::error::StorageError;
use crate::log::format::stream_id::StreamId;
use crate::volume::{Dir, IoContext, JobId, layout, parse_ts};

/// A range of a job's output that arrived from one stream at one time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OutputRange {
    /// The end of the range, in bytes from the start of the output. The range starts at the end
    /// of the previous record.
    pub end: u64,
    /// The stream; `None` if this version does not know it.
    #[serde(deserialize_with = "stream_or_none")]
    pub stream: Option<StreamId>,
    /// When the bytes were stored, if that is known.
    #[serde(default, deserialize_with = "time_or_none")]
    pub ts: Option<Timestamp>,
    /// By how many milliseconds the wall clock was set since the previous record.
    #[serde(default)]
    pub clock_set_ms: i64,
}

fn stream_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StreamId>, D::Error> {
    Ok(StreamId::parse(&Cow::<'de, str>::deserialize(from)?))
}

fn time_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(parse_ts(&Cow::<'de, str>::deserialize(from)?))
}

/// One record of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexRecord {
    /// A range of bytes.
    Range(OutputRange),
    /// A line that is not a valid record.
    Malformed,
}

/// A reader of `jobs/<job_id>.out.idx`, up to its size at the time of opening.
#[derive(Debug)]
pub struct OutputIndex {
    lines: LineReader<FileSpan<Arc<File>>>,
    path: PathBuf,
    line: u64,
    offset: u64,
}

impl OutputIndex {
    /// Opens the index of a job of the run in `dir`; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(dir: &Dir, job: &JobId) -> Result<Option<Self>, StorageError> {
        let name = layout::job_index(job);
        let Some(file) = dir.read_in(layout::JOBS, &name)? else {
            return Ok(None);
        };
        let path = dir.path().join(layout::JOBS).join(name);
        let len = file.metadata().at("stat", &path)?.len();
        Ok(Some(Self {
            lines: LineReader::from_span(FileSpan::new(Arc::new(file), 0, len)),
            path,
            line: 0,
            offset: 0,
        }))
    }

    /// Returns the next record; `None` at the end. A last line without `\n` is ignored.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_record(&mut self) -> Result<Option<IndexRecord>, StorageError> {
        let line = self.lines.next_line().at("read", &self.path)?;
        let Some(line) = line.filter(|line| line.whole) else {
            return Ok(None);
        };
        self.line += 1;
        self.offset = line.offset;
        Ok(Some(match serde_json::from_slice(line.bytes) {
            Ok(range) => IndexRecord::Range(range),
            Err(_) => IndexRecord::Malformed,
        }))
    }

    /// Returns the path of the index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the line (from 1) and the byte offset of the last returned record.
    pub fn position(&self) -> (u64, u64) {
        (self.line, self.offset)
    }
}
