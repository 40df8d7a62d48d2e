//! Storing a job's output in `jobs/<job_id>.out`. Problems never harm the job: the capture ends,
//! and the job's last event says why.

use std::fmt::Display;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::captured_file::CapturedFile;
use super::index_writer::IndexWriter;
use super::splice_pipe::SplicePipe;
use super::stream::{OnUnstored, PIPE_BYTES};
use crate::job::process::output_counters::{CAPTURE_FAILED, CAPTURE_LIMIT};
use crate::job::process::supervision_page::SupervisionPage;
use crate::job::redact::redactor::Redactor;
use crate::job::redact::stream_masker::StreamMasker;
use crate::log::format::payload::Output;
use crate::log::{Lease, StreamId};

/// The stored output of a job.
#[derive(Debug)]
pub(crate) struct OutputFile {
    file: CapturedFile,
    index: IndexWriter,
    capture: bool,
    on_unstored: Option<OnUnstored>,
    /// Whether a rollback prints, whose output is passed on to stderr.
    in_rollback: bool,
    limit: u64,
    /// The page with the counts of printed bytes, which outlives this process.
    page: &'static SupervisionPage,
    truncated: Option<String>,
    uncertain: [u64; 3],
    maskers: [Option<StreamMasker>; 3],
    /// A buffer for masked bytes.
    masked: Vec<u8>,
    /// Whether the kernel cannot move bytes from a pipe into this file.
    no_splice: bool,
    /// The pipe that bytes pass through if the kernel moves them.
    relay: Option<SplicePipe>,
}

/// The target of a job's output.
#[derive(Debug)]
pub(crate) struct OutputTarget {
    pub lease: Lease,
    /// The index; `None` if nothing is captured.
    pub index: Option<File>,
    /// The end of the indexed bytes.
    pub indexed: u64,
    /// The maximum number of bytes to capture.
    pub limit: Option<u64>,
    /// The target of output after storing has stopped.
    pub on_unstored: Option<OnUnstored>,
    /// A pipe that outlives this process, for bytes on their way into the file.
    pub relay: Option<SplicePipe>,
}

impl OutputFile {
    /// Creates the sink of a job, or continues that of a supervisor that died.
    pub(crate) fn new(
        target: OutputTarget,
        redactor: Option<&Redactor>,
        page: &'static SupervisionPage,
    ) -> Self {
        let mut file = Self {
            capture: target.index.is_some(),
            no_splice: redactor.is_some() || target.limit.is_some(),
            file: CapturedFile::new(target.lease),
            index: IndexWriter::new(target.index, target.indexed),
            on_unstored: target.on_unstored,
            in_rollback: false,
            limit: target.limit.unwrap_or(u64::MAX),
            page,
            truncated: None,
            uncertain: [0; 3],
            maskers: StreamId::ALL.map(|_| redactor.map(Redactor::stream)),
            masked: Vec::new(),
            relay: target.relay,
        };
        file.restore();
        file
    }

    /// Attributes what follows to a rollback.
    pub(crate) fn begin_rollback(&mut self) {
        self.in_rollback = true;
    }

    /// Releases the lease of a job that is not in the log.
    pub(crate) fn release_lease(self) {
        self.file.release_lease();
    }

    /// Continues where a supervisor that died stopped. For a new job, there is nothing to
    /// restore.
    fn restore(&mut self) {
        let counters = &self.page.output;
        let stream = counters.last_stream();
        match counters.stopped.load(Ordering::Relaxed) {
            0 => {}
            CAPTURE_LIMIT => self.stop_at_limit(),
            _ => self.stop_storing(&"storing failed before"),
        }
        if self.file.len() > self.index.end() {
            // The last stored bytes lack their record.
            self.index.add(stream, self.file.len());
            self.index.flush();
        }
        // Bytes on their way into the file are still in the pipe.
        if let Some(relay) = self.relay.take() {
            let left = relay.len();
            if left > 0 {
                self.store_relayed(stream, &relay, left);
                self.index.flush();
            }
            self.relay = Some(relay);
        }
        // The supervisor may have been killed between moving the bytes and counting them.
        let counted = counters.printed_bytes();
        if self.can_move() && self.file.len() > counted {
            self.count(stream, (self.file.len() - counted) as usize);
        }
    }

    /// Marks the position at which a supervisor died while it was processing this many bytes of
    /// each stream.
    pub(crate) fn mark_replacement(&mut self, mut in_hand: [u64; 3]) {
        for (bytes, masker) in in_hand.iter_mut().zip(&mut self.maskers) {
            if let Some(masker) = masker.as_mut().filter(|_| *bytes > 0) {
                *bytes += masker.continue_after_loss() as u64;
            }
        }
        self.uncertain = in_hand;
        self.index.mark_uncertain(in_hand.iter().sum());
    }

    /// Returns how many bytes of each stream may be missing or duplicated at that position.
    pub(crate) fn uncertain(&self) -> [u64; 3] {
        self.uncertain
    }

    /// Returns the counts of bytes printed and stored so far.
    pub(crate) fn output(&self) -> Output {
        let counters = &self.page.output;
        let undelivered = counters.undelivered_bytes();
        let both = counters.both.load(Ordering::Relaxed);
        Output {
            stdout_bytes: counters.stdout.load(Ordering::Relaxed),
            stderr_bytes: counters.stderr.load(Ordering::Relaxed),
            both_bytes: (both > 0).then_some(both),
            captured_bytes: self.file.len(),
            truncated: self.truncated.clone(),
            undelivered_bytes: (undelivered > 0).then_some(undelivered),
            held_open: counters.held_open.load(Ordering::Relaxed),
        }
    }

    /// Counts the bytes to store next. A successor attributes bytes without a record to this
    /// stream, so bytes of another stream get their record first.
    fn count(&mut self, stream: StreamId, n: usize) {
        self.index.flush_others(stream);
        self.page.output.count(stream, n);
    }

    fn masker(&mut self, stream: StreamId) -> &mut Option<StreamMasker> {
        let [stdout, stderr, both] = &mut self.maskers;
        match stream {
            StreamId::Stdout => stdout,
            StreamId::Stderr => stderr,
            StreamId::Both => both,
        }
    }

    /// Masks and stores the bytes.
    pub(crate) fn store(&mut self, stream: StreamId, bytes: &[u8]) {
        self.count(stream, bytes.len());
        if !self.capture && self.on_unstored.is_none() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.masked);
        match self.masker(stream) {
            None => self.write(stream, bytes),
            Some(masker) => {
                let ready = masker.mask(bytes, &mut buffer);
                let held = masker.held_bytes();
                self.write(stream, ready);
                self.record_held(stream, held);
            }
        }
        self.masked = buffer;
    }

    /// Records how many bytes the masker holds back, which are lost if the process dies.
    fn record_held(&self, stream: StreamId, bytes: usize) {
        let in_hand = self.page.output.in_hand(stream);
        in_hand.held.store(bytes as u64, Ordering::Relaxed);
    }

    /// Stores the bytes that the masker held back, after the end of a stream.
    pub(crate) fn finish(&mut self, stream: StreamId) {
        let mut rest = Vec::new();
        if let Some(masker) = self.masker(stream) {
            masker.finish(&mut rest);
        }
        self.count(stream, 0);
        self.write(stream, &rest);
        self.record_held(stream, 0);
        self.index.flush();
    }

    fn write(&mut self, stream: StreamId, bytes: &[u8]) {
        if !self.capture {
            self.pass_unstored(stream, bytes);
            return;
        }
        if !bytes.is_empty()
            && let Some(why) = self.file.tampered()
        {
            self.stop_storing(&why);
            self.pass_unstored(stream, bytes);
            return;
        }
        let room = if self.index.has_room(stream, self.limit) {
            self.limit.saturating_sub(self.file.len())
        } else {
            0
        };
        let kept = bytes.get(..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        let kept = kept.unwrap_or_default();
        let start = self.file.len();
        let written = self.file.append(kept);
        self.index_since(start, stream);
        if let Err(e) = written {
            self.stop_storing(&e);
        } else if kept.len() < bytes.len() {
            self.stop_at_limit();
        }
        if !self.capture {
            let stored = usize::try_from(self.file.len() - start).unwrap_or(usize::MAX);
            self.pass_unstored(stream, bytes.get(stored..).unwrap_or_default());
        }
    }

    /// Passes on bytes that are no longer stored, if this was requested.
    fn pass_unstored(&mut self, stream: StreamId, bytes: &[u8]) {
        if self.on_unstored.is_some() {
            // Stored bytes come first, with their streams.
            self.index.flush();
        }
        if let Some(OnUnstored(pass)) = &self.on_unstored
            && !bytes.is_empty()
        {
            let stream = if self.in_rollback {
                StreamId::Stderr
            } else {
                stream
            };
            pass(stream, bytes);
        }
    }

    /// Returns whether the kernel may be able to move bytes into the file without a copy through
    /// this process.
    pub(crate) fn can_move(&self) -> bool {
        self.capture && !self.no_splice
    }

    /// Moves the content of the pipe into the file without a copy through this process. Returns
    /// the number of bytes, 0 at the end; `None` if they have to be read instead, or if the pipe
    /// is empty.
    ///
    /// The pages pass through another pipe first: the job's pipe is locked only while they
    /// change hands, not while they are written, so that the job can continue to write. That
    /// pipe outlives this process, so nothing is lost or duplicated if this process is killed.
    pub(crate) fn splice(&mut self, stream: StreamId, pipe: &OwnedFd) -> Option<usize> {
        let relay = self.relay()?;
        // Let a successor know before the bytes leave the job's pipe.
        self.count(stream, 0);
        let moved = match relay.fill(pipe, PIPE_BYTES) {
            Ok(n) => Some(n),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => {
                self.no_splice = true;
                return None;
            }
        };
        if let Some(n) = moved {
            self.count(stream, n);
            self.store_relayed(stream, &relay, n);
        }
        self.relay = Some(relay);
        moved
    }

    /// Stores the first `n` bytes in `source`, and leaves them there. Returns how many it stored.
    pub(crate) fn store_copy(&mut self, stream: StreamId, source: &SplicePipe, n: usize) -> usize {
        let Some(relay) = self.relay() else {
            return 0;
        };
        let n = relay.copy(source, n).unwrap_or(0);
        self.count(stream, n);
        self.store_relayed(stream, &relay, n);
        self.relay = Some(relay);
        n
    }

    /// Returns the relay; `None` if the kernel cannot move bytes into this file.
    fn relay(&mut self) -> Option<SplicePipe> {
        if !self.can_move() {
            return None;
        }
        let relay = self.relay.take().or_else(|| SplicePipe::new().ok());
        self.no_splice = relay.is_none();
        relay
    }

    /// Enlarges the relay, if there is one.
    pub(super) fn enlarge_relay(&self) {
        if let Some(relay) = &self.relay {
            relay.enlarge();
        }
    }

    /// Stores the `n` bytes that are in the relay.
    fn store_relayed(&mut self, stream: StreamId, relay: &SplicePipe, n: usize) {
        let mut left = n;
        if let Some(why) = self.file.tampered() {
            self.stop_storing(&why);
        }
        while left > 0 && self.can_move() {
            let start = self.file.len();
            match self.file.append_from(relay, left) {
                Ok(n @ 1..) => {
                    left = left.saturating_sub(n);
                    self.index_since(start, stream);
                }
                Err(Errno::INTR) => {}
                // Read and write bytes that the kernel cannot move. If they cannot be stored
                // either, this shows why.
                Ok(_) | Err(_) => self.no_splice = true,
            }
        }
        let rest = relay.read_out(left);
        self.write(stream, &rest);
    }

    /// Adds the bytes after `start` to the index.
    fn index_since(&mut self, start: u64, stream: StreamId) {
        let end = self.file.len();
        if end > start {
            self.index.add(stream, end);
        }
    }

    /// Brings the index up to date.
    pub(crate) fn index(&mut self) {
        self.index.flush();
    }

    /// Brings the index up to date soon. Returns whether it is up to date.
    pub(crate) fn index_soon(&mut self) -> bool {
        self.index.flush_soon()
    }

    fn stop_at_limit(&mut self) {
        self.stop(
            CAPTURE_LIMIT,
            "the output is stored only up to the capture limit".to_owned(),
        );
    }

    /// Stops storing.
    pub(crate) fn stop_storing(&mut self, e: &dyn Display) {
        let why = format!("the rest of the output could not be stored: {e}");
        self.stop(CAPTURE_FAILED, why);
    }

    fn stop(&mut self, code: u8, why: String) {
        self.capture = false;
        self.page.output.stopped.store(code, Ordering::Relaxed);
        self.truncated = Some(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{Dir, JobId};

    fn open(dir: &Dir, page: &'static SupervisionPage) -> OutputFile {
        let job: JobId = "x".parse().unwrap();
        let target = OutputTarget {
            lease: Lease::hold(dir, &job).unwrap().unwrap(),
            index: Some(dir.append("x.out.idx").unwrap()),
            indexed: 0,
            limit: None,
            on_unstored: None,
            relay: None,
        };
        OutputFile::new(target, None, page)
    }

    #[test]
    fn successor_keeps_streams_apart() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let page = SupervisionPage::map().unwrap();
        let mut file = open(&dir, page);
        file.store(StreamId::Stderr, b"error");
        // It dies before it stores the counted bytes.
        file.count(StreamId::Stdout, 3);
        drop(file);
        open(&dir, page).store(StreamId::Stdout, b"out");
        let index = std::fs::read_to_string(tmp.path().join("x.out.idx")).unwrap();
        assert!(
            index.starts_with(r#"{"end":5,"stream":"stderr","#),
            "{index}"
        );
    }
}
