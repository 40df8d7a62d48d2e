//! The numbers of bytes that a job printed, in the page that the supervisors share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::log::StreamId;

/// The value of `stopped` if storing stopped at the capture limit.
pub(crate) const CAPTURE_LIMIT: u8 = 1;
/// The value of `stopped` if storing stopped after an error.
pub(crate) const CAPTURE_FAILED: u8 = 2;

/// The bytes of one stream that are lost or duplicated if the supervisor dies.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct InHand {
    /// Bytes that were read from the job's pipe, but not stored or passed on yet.
    pub moving: AtomicU64,
    /// Bytes that were read from the job's pipe after its end, but not stored or passed on yet.
    pub draining: AtomicU64,
    /// Bytes that the masking of stored output holds back.
    pub held: AtomicU64,
}

/// The numbers of bytes printed so far.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct OutputCounters {
    pub stdout: AtomicU64,
    pub stderr: AtomicU64,
    /// The bytes printed to a pipe that stdout and stderr share.
    pub both: AtomicU64,
    /// The bytes among these that were not delivered to runlog's own streams.
    pub undelivered: AtomicU64,
    /// The bytes of each stream that are being processed.
    pub in_hand: [InHand; 3],
    /// The stream of the last stored bytes: 0 stdout, 1 stderr, 2 both.
    pub last_stream: AtomicU8,
    /// Why storing has stopped: [`CAPTURE_LIMIT`] or [`CAPTURE_FAILED`]; otherwise 0.
    pub stopped: AtomicU8,
    /// The streams that are no longer passed on: bit N for stream N.
    pub silent: AtomicU8,
    /// Whether a process that the job left behind holds a pipe.
    pub held_open: AtomicBool,
}

impl OutputCounters {
    /// Counts the bytes of a stream to store next.
    pub(crate) fn count(&self, stream: StreamId, n: usize) {
        self.printed(stream).fetch_add(n as u64, Ordering::Relaxed);
        self.last_stream
            .store(stream.index() as u8, Ordering::Relaxed);
    }

    /// Returns how many bytes were printed to all streams.
    pub(crate) fn printed_bytes(&self) -> u64 {
        let printed = StreamId::ALL.map(|stream| self.printed(stream).load(Ordering::Relaxed));
        printed.iter().sum()
    }

    /// Returns the stream of the last stored bytes.
    pub(crate) fn last_stream(&self) -> StreamId {
        let last = usize::from(self.last_stream.load(Ordering::Relaxed));
        StreamId::ALL.get(last).copied().unwrap_or(StreamId::Stdout)
    }

    /// Returns the bytes of a stream that are being processed.
    pub(crate) fn in_hand(&self, stream: StreamId) -> &InHand {
        let [stdout, stderr, both] = &self.in_hand;
        match stream {
            StreamId::Stdout => stdout,
            StreamId::Stderr => stderr,
            StreamId::Both => both,
        }
    }

    fn printed(&self, stream: StreamId) -> &AtomicU64 {
        match stream {
            StreamId::Stdout => &self.stdout,
            StreamId::Stderr => &self.stderr,
            StreamId::Both => &self.both,
        }
    }

    /// Returns how many bytes could not be delivered to runlog's own streams so far.
    pub(crate) fn undelivered_bytes(&self) -> u64 {
        self.undelivered.load(Ordering::Relaxed)
    }

    /// Returns how many bytes of each stream the supervisor was processing.
    pub(crate) fn in_hand_bytes(&self) -> [u64; 3] {
        self.in_hand.each_ref().map(|stream| {
            let slots = stream.slots();
            slots
                .map(|bytes| bytes.load(Ordering::Relaxed))
                .iter()
                .sum()
        })
    }

    /// Clears the bytes that a supervisor that died was processing.
    pub(crate) fn clear_in_hand(&self) {
        for bytes in self.in_hand.iter().flat_map(InHand::slots) {
            bytes.store(0, Ordering::Relaxed);
        }
    }
}

impl InHand {
    fn slots(&self) -> [&AtomicU64; 3] {
        [&self.moving, &self.draining, &self.held]
    }
}
