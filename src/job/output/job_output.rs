//! Reading the captured output of one job.

use std::fs::File;
use std::io;
use std::io::{Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::log::{OutputRange, RevLineReader, StorageError, StreamId};
use crate::volume::{Dir, IoContext as _, JobId, layout};

/// The size of the copy buffer in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// The maximum number of bytes of the index to hold at a time.
const INDEX_CHUNK_BYTES: u64 = 256 << 10;

/// How long to hold bytes that are not in the index. A live writer indexes them within
/// milliseconds.
const INDEX_TIMEOUT: Duration = Duration::from_millis(200);

/// A reader of the captured output of one job.
#[derive(Debug)]
pub struct JobOutput {
    out: File,
    out_path: PathBuf,
    index: Option<File>,
    index_path: PathBuf,
    at: u64,
    index_at: u64,
    /// The length of the output when it first exceeded the copied part, and that time.
    seen: u64,
    seen_at: Instant,
}

/// A failure to copy output.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The stored output cannot be read.
    #[error(transparent)]
    Read(#[from] StorageError),
    /// The target cannot be written.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
}

/// Which bytes to copy that are not in the index yet. The index is written after the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnindexedBytes {
    /// None: the index may still catch up.
    Hold,
    /// Only those that are so old that the index will not catch up.
    Seen,
    /// All of them: the index will not catch up.
    All,
}

/// A part of a job's output, which may end anywhere.
#[derive(Debug, Clone, Copy)]
pub struct PrintedChunk<'a> {
    /// The stream, if known.
    pub stream: Option<StreamId>,
    /// The time by which it was stored, if known.
    pub ts: Option<Timestamp>,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl JobOutput {
    /// Opens the output of a job of the run in `dir`. Returns `None` if there is none.
    ///
    /// # Errors
    /// The files cannot be opened.
    pub fn open(dir: &Dir, job: &JobId) -> Result<Option<Self>, StorageError> {
        let (out_name, index_name) = (layout::job_out(job), layout::job_index(job));
        let Some(out) = dir.read_in(layout::JOBS, &out_name)? else {
            return Ok(None);
        };
        let index = dir.read_in(layout::JOBS, &index_name)?;
        let jobs = dir.path().join(layout::JOBS);
        Ok(Some(Self {
            out,
            out_path: jobs.join(out_name),
            index,
            index_path: jobs.join(index_name),
            at: 0,
            index_at: 0,
            seen: 0,
            seen_at: Instant::now(),
        }))
    }

    /// Seeks to the start of the last `n` lines of one stream, or of all streams.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn skip_to_last(
        &mut self,
        n: usize,
        stream: Option<StreamId>,
    ) -> Result<SkipLines, CopyError> {
        if stream.is_none() {
            self.at = self.len()?;
            let mut back = RevLineReader::new(&self.out, self.at);
            for _ in 0..n {
                let line = back.prev_line().at("read", &self.out_path);
                let Some(line) = line.map_err(StorageError::from)? else {
                    break;
                };
                self.at = line.offset;
            }
            return Ok(SkipLines { skip: 0 });
        }
        let mut counter = CountLines::default();
        self.copy(&mut counter, stream, &mut SkipLines { skip: 0 })?;
        (self.at, self.index_at) = (0, 0);
        Ok(SkipLines {
            skip: counter.lines().saturating_sub(n as u64),
        })
    }

    /// Copies the output since the last call, of one stream or of all. Returns whether there was
    /// any.
    ///
    /// # Errors
    /// The files cannot be read, or `to` cannot be written.
    pub fn copy(
        &mut self,
        to: &mut dyn Write,
        stream: Option<StreamId>,
        skip: &mut SkipLines,
    ) -> Result<bool, CopyError> {
        if stream.is_none() {
            let end = self.len()?;
            return self.copy_to(end, to, skip);
        }
        let mut any = false;
        loop {
            let ranges = self.new_ranges()?;
            if ranges.is_empty() {
                return Ok(any);
            }
            for range in ranges {
                if range.stream == stream {
                    any |= self.copy_to(range.end, to, skip)?;
                }
                self.at = range.end;
            }
        }
    }

    /// Passes the output since the last call to `each`. Returns whether there was any.
    ///
    /// # Errors
    /// The files cannot be read, or `each` fails.
    pub fn copy_streams(
        &mut self,
        only: Option<StreamId>,
        skip: &mut SkipLines,
        unindexed: UnindexedBytes,
        each: &mut OutputCallback<'_>,
    ) -> Result<bool, CopyError> {
        let mut any = false;
        loop {
            let ranges = self.new_ranges()?;
            if ranges.is_empty() {
                break;
            }
            for range in ranges {
                let stream = range.stream;
                if only.is_none() || stream == only {
                    let ts = range.ts;
                    let mut to = CallbackWriter { stream, ts, each };
                    any |= self.copy_to(range.end, &mut to, skip)?;
                }
                self.at = self.at.max(range.end);
            }
        }
        if only.is_some() {
            return Ok(any);
        }
        let len = self.len()?;
        let end = match unindexed {
            UnindexedBytes::Hold => 0,
            UnindexedBytes::Seen if self.seen_at.elapsed() < INDEX_TIMEOUT => 0,
            UnindexedBytes::Seen => self.seen.min(len),
            UnindexedBytes::All => len,
        };
        let mut to = CallbackWriter {
            stream: None,
            ts: None,
            each,
        };
        any |= self.copy_to(end, &mut to, skip)?;
        if self.at >= self.seen {
            (self.seen, self.seen_at) = (len, Instant::now());
        }
        Ok(any)
    }

    /// Returns the number of bytes that are stored by now.
    fn len(&self) -> Result<u64, StorageError> {
        Ok(self.out.metadata().at("stat", &self.out_path)?.len())
    }

    fn copy_to(
        &mut self,
        end: u64,
        to: &mut dyn Write,
        skip: &mut SkipLines,
    ) -> Result<bool, CopyError> {
        let mut buf = vec![0; CHUNK_BYTES.min(end.saturating_sub(self.at) as usize)];
        let mut any = false;
        while self.at < end {
            let len = buf.len().min((end - self.at) as usize);
            let room = buf.get_mut(..len).unwrap_or_default();
            let read = self.out.read_at(room, self.at).at("read", &self.out_path);
            let n = read.map_err(StorageError::from)?;
            if n == 0 {
                // After a power loss, the output may be shorter than its index.
                break;
            }
            self.at += n as u64;
            any = true;
            to.write_all(skip.skip_in(buf.get(..n).unwrap_or_default()))
                .map_err(CopyError::Write)?;
        }
        Ok(any)
    }

    /// Reads complete lines that were added to the index since the last call, up to a limit.
    fn new_ranges(&mut self) -> Result<Vec<OutputRange>, StorageError> {
        let Some(mut index) = self.index.as_ref() else {
            return Ok(Vec::new());
        };
        let mut text = Vec::new();
        index
            .seek(SeekFrom::Start(self.index_at))
            .and_then(|_| index.take(INDEX_CHUNK_BYTES).read_to_end(&mut text))
            .at("read", &self.index_path)?;
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
        self.index_at += whole as u64;
        let lines = text.get(..whole).unwrap_or_default().split(|b| *b == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }
}

/// A callback for a chunk of the output.
pub type OutputCallback<'a> = dyn FnMut(PrintedChunk<'_>) -> io::Result<()> + 'a;

/// A writer that passes each chunk to a callback, with its stream and time.
struct CallbackWriter<'a, 'b> {
    stream: Option<StreamId>,
    ts: Option<Timestamp>,
    each: &'a mut OutputCallback<'b>,
}

impl Write for CallbackWriter<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (self.each)(PrintedChunk {
            stream: self.stream,
            ts: self.ts,
            bytes: buf,
        })?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns at most the last `n` bytes of a job's output in the run in `dir`; none if nothing was
/// stored.
///
/// # Errors
/// The output cannot be read.
pub fn last_output_bytes(dir: &Dir, job: &JobId, n: usize) -> Result<Vec<u8>, StorageError> {
    let name = layout::job_out(job);
    let Some(out) = dir.read_in(layout::JOBS, &name)? else {
        return Ok(Vec::new());
    };
    let path = || dir.path().join(layout::JOBS).join(&name);
    let len = out.metadata().at("stat", path())?.len();
    let mut end = vec![0; n.min(usize::try_from(len).unwrap_or(n))];
    let read = out
        .read_at(&mut end, len.saturating_sub(n as u64))
        .at("read", path())?;
    end.truncate(read);
    Ok(end)
}

/// The number of lines to omit at the start of the copy.
#[derive(Debug, Default)]
pub struct SkipLines {
    skip: u64,
}

impl SkipLines {
    /// Skips this many lines.
    pub fn new(lines: usize) -> Self {
        Self { skip: lines as u64 }
    }

    fn skip_in<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while self.skip > 0 {
            let Some(at) = memchr::memchr(b'\n', rest) else {
                return &[];
            };
            self.skip -= 1;
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        rest
    }
}

#[derive(Default)]
struct CountLines {
    newlines: u64,
    unended: bool,
}

impl CountLines {
    fn lines(&self) -> u64 {
        self.newlines + u64::from(self.unended)
    }
}

impl Write for CountLines {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.newlines += memchr::memchr_iter(b'\n', buf).count() as u64;
        if let Some(last) = buf.last() {
            self.unended = *last != b'\n';
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn bytes_wait_for_their_index() {
        let tmp = tempfile::tempdir().unwrap();
        let jobs = tmp.path().join(layout::JOBS);
        fs::create_dir(&jobs).unwrap();
        fs::write(jobs.join("it.out"), "one\ntwo\n").unwrap();
        fs::write(jobs.join("it.out.idx"), "").unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let mut output = JobOutput::open(&dir, &"it".parse().unwrap())
            .unwrap()
            .unwrap();
        let mut got = Vec::new();
        let mut poll = || {
            let each = &mut |chunk: PrintedChunk<'_>| {
                got.push((chunk.stream, chunk.bytes.to_vec()));
                Ok(())
            };
            let skip = &mut SkipLines::default();
            output.copy_streams(None, skip, UnindexedBytes::Seen, each)
        };
        let started = Instant::now();
        let polled = [poll().unwrap(), poll().unwrap()];
        assert!(polled == [false; 2] || started.elapsed() >= INDEX_TIMEOUT);
        fs::write(
            jobs.join("it.out.idx"),
            "{\"end\":4,\"stream\":\"stderr\"}\n",
        )
        .unwrap();
        // The rest is not held forever.
        while started.elapsed() < Duration::from_mins(1) && !poll().unwrap() {}
        while started.elapsed() < Duration::from_mins(1) && !poll().unwrap() {}
        if polled == [false; 2] {
            let stderr = Some(StreamId::Stderr);
            let expected = [(stderr, b"one\n".to_vec()), (None, b"two\n".to_vec())];
            assert_eq!(got, expected);
        }
    }
}
