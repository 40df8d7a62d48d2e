//! The index of a job's output, read in order and in bounded memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use serde::Deserialize;

use super::line_reader::{FileSpan, LineReader};
use crate::log::error::LogError;
use crate::volume::{Dir, IoContext, JobId, layout};

/// Which bytes of a job's output came when.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OutputRange {
    /// Where the bytes end, in bytes from the start of the output; they begin where those
    /// of the record before end.
    pub end: u64,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When they were stored, RFC 3339.
    #[serde(default)]
    pub ts: String,
}

/// One record of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexRecord {
    /// A range of bytes.
    Range(OutputRange),
    /// A line that is no record.
    Malformed,
}

/// Reads `jobs/<job_id>.out.idx` up to the size that it had when it was opened.
#[derive(Debug)]
pub struct OutputIndex {
    lines: LineReader<FileSpan<Arc<File>>>,
    line: u64,
    offset: u64,
}

impl OutputIndex {
    /// Opens the index of a job of the run in `dir`; `None` where there is none.
    ///
    /// # Errors
    /// It may not be read.
    pub fn open(dir: &Dir, job: &JobId) -> Result<Option<Self>, LogError> {
        let name = layout::job_index(job);
        let Some(file) = dir.read_in(layout::JOBS, &name)? else {
            return Ok(None);
        };
        let path = dir.path().join(layout::JOBS).join(name);
        let len = file.metadata().at("look at", &path)?.len();
        Ok(Some(Self {
            lines: LineReader::of(FileSpan::new(Arc::new(file), 0, len)),
            line: 0,
            offset: 0,
        }))
    }

    /// The next record; `None` at the end. A last one without `\n` does not count.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_record(&mut self) -> io::Result<Option<IndexRecord>> {
        let Some(line) = self.lines.next_line()?.filter(|line| line.whole) else {
            return Ok(None);
        };
        self.line += 1;
        self.offset = line.offset;
        Ok(Some(match serde_json::from_slice(line.bytes) {
            Ok(range) => IndexRecord::Range(range),
            Err(_) => IndexRecord::Malformed,
        }))
    }

    /// The line (from 1) and the offset in bytes of the record given out last.
    pub fn place(&self) -> (u64, u64) {
        (self.line, self.offset)
    }
}
