//! A search in the output of one job.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use grep_searcher::{Searcher, Sink, SinkContext, SinkMatch};
use jiff::Timestamp;

use super::line_search::{FoundLine, LineKind, LineOrigin, LineSearch, OnFound, SearchItem};
use crate::log::StreamId;
use crate::log::{IndexRecord, OutputIndex, OutputRange, StorageError};
use crate::volume::{Dir, IoContext as _, JobId, layout};

/// The maximum length of a line in bytes. A longer one is searched in pieces of this length, so
/// that no line fills the memory.
const MAX_LINE_BYTES: usize = 64 << 10;

/// The part of the output to search. Bytes that the index does not cover are only part of a
/// selection without limits.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputSelection {
    /// Only this stream.
    pub stream: Option<StreamId>,
    /// Only output printed since then.
    pub since: Option<Timestamp>,
    /// Only output printed until then.
    pub until: Option<Timestamp>,
}

impl OutputSelection {
    fn is_all(&self) -> bool {
        self.stream.is_none() && self.since.is_none() && self.until.is_none()
    }

    fn includes(&self, range: &OutputRange) -> bool {
        let is_in_time = |ts: Timestamp| {
            self.since.is_none_or(|since| ts >= since) && self.until.is_none_or(|until| ts <= until)
        };
        let is_timed = self.since.is_some() || self.until.is_some();
        self.stream
            .is_none_or(|stream| range.stream == Some(stream))
            && (!is_timed || range.ts.is_some_and(is_in_time))
    }
}

/// Returns the jobs of the run in `dir` whose output is stored, sorted by id.
///
/// # Errors
/// The directory cannot be read.
pub fn stored_outputs(dir: &Dir) -> Result<Vec<JobId>, StorageError> {
    let jobs = match dir.open_dir(layout::JOBS) {
        Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => return Ok(Vec::new()),
        jobs => jobs?,
    };
    let id = |name: &String| name.strip_suffix(layout::OUTPUT_SUFFIX)?.parse().ok();
    let mut jobs: Vec<JobId> = jobs.names()?.iter().filter_map(id).collect();
    jobs.sort();
    Ok(jobs)
}

/// Searches the output of a job of the run in `dir`, and passes found lines to `each`.
///
/// # Errors
/// The files cannot be read, or `each` fails.
pub fn search_output(
    dir: &Dir,
    job: &JobId,
    selection: OutputSelection,
    search: &mut LineSearch,
    each: &mut OnFound<'_>,
) -> io::Result<()> {
    let opened = dir.read_sized_in(layout::JOBS, &layout::job_out(job));
    let Some((out, len)) = opened.map_err(io::Error::other)? else {
        return Ok(());
    };
    if len == 0 {
        return Ok(());
    }
    let selected = SelectedRanges::open(dir, job, selection);
    let (ranges, end) = if selection.is_all() {
        (None, len)
    } else {
        (Some(selected().map_err(io::Error::other)?), 0)
    };
    let source = RefCell::new(OutputSource {
        out,
        path: dir.path().join(layout::JOBS).join(layout::job_out(job)),
        ranges,
        at: 0,
        end,
        read: 0,
        line_bytes: 0,
        breaks: VecDeque::new(),
    });
    let sink = OutputSink {
        job,
        source: &source,
        breaks: 0,
        open: &selected,
        origins: None,
        each,
    };
    let pattern = &search.pattern.0;
    search
        .searcher
        .search_reader(pattern, SharedSource(&source), sink)
}

/// The selected ranges of an output, in order.
struct SelectedRanges {
    index: Option<OutputIndex>,
    selection: OutputSelection,
    /// The last range that was returned.
    range: Option<OutputRange>,
    /// The start of that range in the file, and among all selected bytes.
    start: u64,
    selected_start: u64,
    /// The end of the last range that was read.
    end: u64,
}

impl SelectedRanges {
    /// Returns a function that opens the index of a job.
    fn open<'a>(
        dir: &'a Dir,
        job: &'a JobId,
        selection: OutputSelection,
    ) -> impl Fn() -> Result<Self, StorageError> + 'a {
        move || {
            Ok(Self {
                index: OutputIndex::open(dir, job)?,
                selection,
                range: None,
                start: 0,
                selected_start: 0,
                end: 0,
            })
        }
    }

    /// Continues with the next selected range. Returns whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        if let Some(last) = self.range.take() {
            self.selected_start += last.end - self.start;
        }
        while let Some(index) = &mut self.index {
            // Without an index, nothing is known about the following bytes.
            let Some(IndexRecord::Range(range)) = index.next_record().map_err(io::Error::other)?
            else {
                self.index = None;
                break;
            };
            let start = self.end.min(range.end);
            self.end = range.end;
            if start < range.end && self.selection.includes(&range) {
                self.start = start;
                self.range = Some(range);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the range that contains the selected byte with the index `at`. Calls must be in
    /// ascending order.
    fn seek(&mut self, at: u64) -> io::Result<Option<&OutputRange>> {
        let has = |range: &OutputRange, start, selected| at < selected + (range.end - start);
        while !(self.range.as_ref()).is_some_and(|r| has(r, self.start, self.selected_start)) {
            if !self.advance()? {
                return Ok(None);
            }
        }
        Ok(self.range.as_ref())
    }
}

/// A source of the bytes to search: the selected ones, with a `\n` in lines that are too long.
struct OutputSource {
    out: File,
    path: PathBuf,
    /// The ranges to read; `None` for the whole file.
    ranges: Option<SelectedRanges>,
    /// The range of the file to read next.
    at: u64,
    end: u64,
    /// The number of selected bytes that were read.
    read: u64,
    /// The number of these bytes since the last end of a line.
    line_bytes: usize,
    /// The positions, among the selected bytes, of breaks in overlong lines that were not found
    /// yet.
    breaks: VecDeque<u64>,
}

impl OutputSource {
    /// Continues with the next range. Returns whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(ranges) = &mut self.ranges else {
            return Ok(false);
        };
        if !ranges.advance()? {
            return Ok(false);
        }
        self.at = ranges.start;
        self.end = ranges.range.as_ref().map_or(self.at, |range| range.end);
        Ok(true)
    }

    /// Returns whether a line has the maximum length and continues.
    fn is_line_too_long(&self) -> io::Result<bool> {
        let mut next = [0];
        Ok(self.line_bytes >= MAX_LINE_BYTES
            && self.read_at(&mut next, self.at)? == 1
            && next != *b"\n")
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let read = self.out.read_at(buf, at).at("read", &self.path);
        read.map_err(io::Error::other)
    }
}

impl Read for OutputSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.end && !self.advance()? {
            return Ok(0);
        }
        if self.is_line_too_long()?
            && let Some(first) = buf.first_mut()
        {
            *first = b'\n';
            self.line_bytes = 0;
            self.breaks.push_back(self.read);
            return Ok(1);
        }
        // At the limit, there is room for the `\n`.
        let room = MAX_LINE_BYTES.saturating_sub(self.line_bytes).max(1);
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let len = buf.len().min(room).min(left);
        let n = match buf.get_mut(..len) {
            Some(buf) => self.read_at(buf, self.at)?,
            None => 0,
        };
        self.line_bytes = match memchr::memrchr(b'\n', buf.get(..n).unwrap_or_default()) {
            Some(at) => n - at - 1,
            None => self.line_bytes + n,
        };
        self.at += n as u64;
        self.read += n as u64;
        Ok(n)
    }
}

/// A source that a searcher reads while a sink asks where its lines come from.
struct SharedSource<'a>(&'a RefCell<OutputSource>);

impl Read for SharedSource<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buf)
    }
}

/// A sink that passes the searcher's results to a callback.
struct OutputSink<'a, 'b, F> {
    job: &'a JobId,
    source: &'a RefCell<OutputSource>,
    /// The number of breaks in lines before the last line that was found.
    breaks: u64,
    open: &'a F,
    /// The index, once it is needed.
    origins: Option<SelectedRanges>,
    each: &'a mut OnFound<'b>,
}

impl<F: Fn() -> Result<SelectedRanges, StorageError>> OutputSink<'_, '_, F> {
    fn origin(&mut self, start: u64) -> io::Result<LineOrigin> {
        let breaks = &mut self.source.borrow_mut().breaks;
        while breaks
            .pop_front_if(|at| *at + self.breaks < start)
            .is_some()
        {
            self.breaks += 1;
        }
        let selected = start - self.breaks;
        if self.origins.is_none() {
            self.origins = Some((self.open)().map_err(io::Error::other)?);
        }
        let mut origin = LineOrigin {
            job: Some(self.job.clone()),
            stream: None,
            ts: None,
            file: format!("{}/{}", layout::JOBS, layout::job_out(self.job)),
            offset: selected,
        };
        if let Some(ranges) = &mut self.origins
            && let Some(range) = ranges.seek(selected)?
        {
            origin.stream = range.stream.map(StreamId::as_str);
            origin.ts = range.ts;
            origin.offset = ranges.start + (selected - ranges.selected_start);
        }
        Ok(origin)
    }

    fn found(&mut self, start: u64, line: &[u8], kind: LineKind) -> io::Result<bool> {
        let origin = self.origin(start)?;
        let bytes = line.strip_suffix(b"\n").unwrap_or(line);
        (self.each)(SearchItem::Line(FoundLine {
            origin,
            bytes,
            kind,
        }))?;
        Ok(true)
    }
}

impl<F: Fn() -> Result<SelectedRanges, StorageError>> Sink for OutputSink<'_, '_, F> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, line: &SinkMatch<'_>) -> io::Result<bool> {
        self.found(line.absolute_byte_offset(), line.bytes(), LineKind::Match)
    }

    fn context(&mut self, _: &Searcher, line: &SinkContext<'_>) -> io::Result<bool> {
        self.found(line.absolute_byte_offset(), line.bytes(), LineKind::Context)
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        (self.each)(SearchItem::Break)?;
        Ok(true)
    }
}
