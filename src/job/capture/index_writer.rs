//! Writing the index of a job's output, which says which bytes arrived when and from which stream.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::log::StreamId;
use crate::volume::{ClockWatch, now_ts};

/// The approximate number of bytes that one record covers if they arrive without a pause.
const RECORD_BYTES: u64 = 256 << 10;
/// The maximum length of a record in bytes.
const MAX_RECORD_BYTES: u64 = 128;
/// How long output of one stream may share a record.
pub(super) const RECORD_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes that are stored and not indexed yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    stream: StreamId,
    end: u64,
}

/// The index of a job's output, open for writing.
#[derive(Debug)]
pub(super) struct IndexWriter {
    /// The file; `None` if there is none, or after an error.
    file: Option<File>,
    /// The end of the indexed bytes.
    end: u64,
    pending: Option<Pending>,
    clock: ClockWatch,
    /// The length of the index in bytes.
    len: u64,
    /// When the last record was written.
    last_record: Option<Instant>,
    /// The number of bytes that may be missing or duplicated at the start of the next record.
    uncertain_bytes: Option<u64>,
}

impl IndexWriter {
    /// Continues the index after the bytes up to `end`.
    pub(super) fn new(file: Option<File>, end: u64) -> Self {
        let mut clock = ClockWatch::default();
        clock.set_since_last(now_ts());
        let meta = file.as_ref().and_then(|file| file.metadata().ok());
        Self {
            file,
            end,
            pending: None,
            clock,
            len: meta.map_or(0, |meta| meta.len()),
            last_record: None,
            uncertain_bytes: None,
        }
    }

    /// Returns the end of the indexed bytes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Adds the stored bytes up to `end`. Their record follows at the latest when no more bytes
    /// arrive for now.
    pub(super) fn add(&mut self, stream: StreamId, end: u64) {
        self.pending = Some(Pending { stream, end });
        if end - self.end >= RECORD_BYTES {
            self.flush();
        }
    }

    /// Writes the record of bytes of another stream.
    pub(super) fn flush_others(&mut self, stream: StreamId) {
        if self.pending.is_some_and(|last| last.stream != stream) {
            self.flush();
        }
    }

    /// Writes the record of all bytes that lack one.
    pub(super) fn flush(&mut self) {
        let Some(Pending { stream, end }) = self.pending.take() else {
            return;
        };
        let ts = now_ts();
        let clock_set = match self.clock.set_since_last(ts) {
            0 => String::new(),
            ms => format!(",\"clock_set_ms\":{ms}"),
        };
        self.end = end;
        let uncertain = self
            .uncertain_bytes
            .take()
            .map_or_else(String::new, |n| format!(",\"uncertain_bytes\":{n}"));
        let record = format!(
            "{{\"end\":{end},\"stream\":\"{}\",\"ts\":\"{ts:.6}\"{clock_set}{uncertain}}}\n",
            stream.as_str()
        );
        self.len += record.len() as u64;
        self.last_record = Some(Instant::now());
        if let Some(file) = &mut self.file
            && file.write_all(record.as_bytes()).is_err()
        {
            self.file = None;
        }
    }

    /// Writes the record of all bytes that lack one, unless the last record is so new that later
    /// bytes can share the next one. Returns whether all bytes have their record.
    pub(super) fn flush_soon(&mut self) -> bool {
        let is_new = |at: Instant| at.elapsed() < RECORD_INTERVAL;
        if self.pending.is_some() && self.last_record.is_some_and(is_new) {
            return false;
        }
        self.flush();
        true
    }

    /// Returns whether bytes of this stream fit into an index of at most `limit` bytes: many
    /// short writes must not fill the disk with their index.
    pub(super) fn has_room(&self, stream: StreamId, limit: u64) -> bool {
        let is_first = self.len == 0;
        let shares_record = self.pending.is_some_and(|last| last.stream == stream);
        // The last bytes of another stream still lack their record.
        let records = 1 + u64::from(self.pending.is_some());
        is_first || shares_record || self.len + records * MAX_RECORD_BYTES <= limit
    }

    /// Marks the start of the next record as a place where this many bytes may be missing or
    /// duplicated.
    pub(super) fn mark_uncertain(&mut self, bytes: u64) {
        self.uncertain_bytes = Some(bytes).filter(|n| *n > 0);
    }
}
