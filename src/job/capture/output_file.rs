//! The files of a job's output: `jobs/<job_id>.out`, and the index that tells which
//! bytes came when and from which stream. Trouble with them never harms the job: the
//! capture ends, and the job's last event says why.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::splice_pipe::SplicePipe;
use super::stream::{PIPE_BYTES, StreamId};
use crate::job::redact::masker::Redactor;
use crate::job::redact::stream_masker::StreamMasker;
use crate::log::Lease;
use crate::log::format::payload::Output;
use crate::volume::now_ts;

/// A record of the index tells of so many bytes, or a little more, where they come in one
/// go.
const RECORD_BYTES: u64 = 256 << 10;

/// Where the output of a job is stored.
#[derive(Debug)]
pub(crate) struct OutputFile {
    /// The lease is held by the very file that the output goes to.
    lease: Lease,
    index: Option<File>,
    capture: bool,
    limit: u64,
    output: Output,
    /// How far the index tells, and whose bytes come behind that.
    indexed: u64,
    unindexed: Option<StreamId>,
    maskers: [Option<StreamMasker>; 2],
    /// The kernel cannot move bytes from a pipe into this file.
    no_splice: bool,
    /// What is moved goes through this.
    relay: Option<SplicePipe>,
}

impl OutputFile {
    /// `index` is `None` where nothing is captured.
    pub(crate) fn new(
        lease: Lease,
        index: Option<File>,
        limit: Option<u64>,
        redactor: Option<&Redactor>,
    ) -> Self {
        Self {
            lease,
            capture: index.is_some(),
            index,
            limit: limit.unwrap_or(u64::MAX),
            output: Output::default(),
            indexed: 0,
            unindexed: None,
            maskers: [
                redactor.map(Redactor::stream),
                redactor.map(Redactor::stream),
            ],
            no_splice: redactor.is_some() || limit.is_some(),
            relay: None,
        }
    }

    /// What was printed and stored so far.
    pub(crate) fn output(&self) -> Output {
        self.output.clone()
    }

    fn count(&mut self, stream: StreamId, n: usize) {
        match stream {
            StreamId::Stdout => self.output.stdout_bytes += n as u64,
            StreamId::Stderr => self.output.stderr_bytes += n as u64,
        }
    }

    fn masker(&mut self, stream: StreamId) -> &mut Option<StreamMasker> {
        let [stdout, stderr] = &mut self.maskers;
        match stream {
            StreamId::Stdout => stdout,
            StreamId::Stderr => stderr,
        }
    }

    /// Stores what came, masked first.
    pub(crate) fn store(&mut self, stream: StreamId, bytes: &[u8]) {
        self.count(stream, bytes.len());
        if !self.capture {
            return;
        }
        match self.masker(stream) {
            None => self.write(stream, bytes),
            Some(masker) => {
                let mut ready = Vec::new();
                masker.push(bytes, &mut ready);
                self.write(stream, &ready);
            }
        }
    }

    /// The stream has ended: stores what its masker held back.
    pub(crate) fn finish(&mut self, stream: StreamId) {
        let mut rest = Vec::new();
        if let Some(masker) = self.masker(stream) {
            masker.finish(&mut rest);
        }
        if self.capture {
            self.write(stream, &rest);
        }
        self.index();
    }

    fn write(&mut self, stream: StreamId, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.output.captured_bytes);
        let kept = bytes.get(..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        let kept = kept.unwrap_or_default();
        let mut at = self.output.captured_bytes;
        let mut rest = kept;
        let mut failed = None;
        while !rest.is_empty() {
            match self.lease.file().write_at(rest, at) {
                Ok(0) => failed = Some(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(n) => {
                    at += n as u64;
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => failed = Some(e),
            }
            if failed.is_some() {
                break;
            }
        }
        self.stored(stream, at);
        if let Some(e) = failed {
            self.stop_storing(&e);
        } else if kept.len() < bytes.len() {
            self.capture = false;
            self.output.truncated =
                Some("the output is stored only up to the capture limit".to_owned());
        }
    }

    /// Whether the kernel may move bytes into the file without a copy through us, as far
    /// as is known.
    pub(crate) fn can_move(&self) -> bool {
        self.capture && !self.no_splice
    }

    /// Moves what is in the pipe into the file without a copy through us; `None` where
    /// it has to be read instead (or there is nothing), `Some(0)` at the end.
    ///
    /// The pages go through a pipe of our own first: the job's pipe is locked only while
    /// they change hands, not while they are written, so that the job goes on writing.
    pub(crate) fn splice(&mut self, stream: StreamId, pipe: &OwnedFd) -> Option<usize> {
        let own = self.relay()?;
        let moved = match own.fill(pipe, PIPE_BYTES) {
            Ok(n) => Some(n),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => {
                self.no_splice = true;
                return None;
            }
        };
        if let Some(n) = moved {
            self.count(stream, n);
            self.empty(stream, &own, n);
        }
        self.relay = Some(own);
        moved
    }

    /// Stores the first `n` bytes that are in `relay`, and leaves them there; tells how
    /// many.
    pub(crate) fn store_copy(&mut self, stream: StreamId, relay: &SplicePipe, n: usize) -> usize {
        let Some(own) = self.relay() else {
            return 0;
        };
        let n = own.copy(relay, n).unwrap_or(0);
        self.count(stream, n);
        self.empty(stream, &own, n);
        self.relay = Some(own);
        n
    }

    /// Our own pipe; `None` where the kernel cannot move anything.
    fn relay(&mut self) -> Option<SplicePipe> {
        if !self.can_move() {
            return None;
        }
        let relay = self.relay.take().or_else(|| SplicePipe::new().ok());
        self.no_splice = relay.is_none();
        relay
    }

    /// Stores the `n` bytes that are in our own pipe.
    fn empty(&mut self, stream: StreamId, own: &SplicePipe, n: usize) {
        let mut left = n;
        while left > 0 && self.can_move() {
            let mut at = self.output.captured_bytes;
            match own.move_to(self.lease.file(), Some(&mut at), left) {
                Ok(n @ 1..) => {
                    left = left.saturating_sub(n);
                    self.stored(stream, at);
                }
                Err(Errno::INTR) => {}
                // What the kernel cannot move is read and written, which also tells why
                // it cannot be stored.
                Ok(_) | Err(_) => self.no_splice = true,
            }
        }
        let rest = own.read_out(left);
        if self.capture {
            self.write(stream, &rest);
        }
    }

    /// The bytes up to `end` are in the file: the index follows, at the latest when
    /// nothing more comes for now.
    fn stored(&mut self, stream: StreamId, end: u64) {
        if end == self.output.captured_bytes {
            return;
        }
        if self.unindexed != Some(stream) {
            self.index();
        }
        self.output.captured_bytes = end;
        self.unindexed = Some(stream);
        if end - self.indexed >= RECORD_BYTES {
            self.index();
        }
    }

    /// Brings the index up to date.
    pub(crate) fn index(&mut self) {
        let Some(stream) = self.unindexed.take() else {
            return;
        };
        let (end, ts) = (self.output.captured_bytes, now_ts());
        self.indexed = end;
        let record = format!(
            "{{\"end\":{end},\"stream\":\"{}\",\"ts\":\"{ts:.6}\"}}\n",
            stream.as_str()
        );
        if let Some(index) = &mut self.index
            && index.write_all(record.as_bytes()).is_err()
        {
            self.index = None;
        }
    }

    fn stop_storing(&mut self, e: &io::Error) {
        self.capture = false;
        self.output.truncated = Some(format!("the rest of the output could not be stored: {e}"));
    }
}
