//! What was printed and not yet stored, in the page that the supervisors share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// The bytes of one stream that are missing or doubled if the supervisor dies.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct InHand {
    /// Read from the job's pipe, and not yet stored or passed on.
    pub moving: AtomicU64,
    /// Read from the job's pipe after its end, and not yet stored or passed on.
    pub draining: AtomicU64,
    /// Held back by what masks the stored output.
    pub held: AtomicU64,
}

/// What was printed so far, in bytes.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct OutputCounters {
    pub stdout: AtomicU64,
    pub stderr: AtomicU64,
    /// Printed to a pipe that stdout and stderr share.
    pub both: AtomicU64,
    /// Of these, what was not delivered to our own streams.
    pub undelivered: AtomicU64,
    /// What one buffer of each stream may hold.
    pub in_hand: [InHand; 3],
    /// The stream whose bytes were stored last: 0 stdout, 1 stderr, 2 both.
    pub last_stream: AtomicU8,
    /// Storing has stopped: 1 at the capture limit, 2 after an error.
    pub stopped: AtomicU8,
    /// Streams that are not passed on any more, bit N for stream N.
    pub silent: AtomicU8,
    /// A process that the job left behind holds a pipe.
    pub held_open: AtomicBool,
}

impl OutputCounters {
    /// Returns how many bytes of each stream the supervisor had in hand.
    pub(crate) fn in_hand_bytes(&self) -> [u64; 3] {
        self.in_hand.each_ref().map(|stream| {
            let slots = stream.slots();
            slots
                .map(|bytes| bytes.load(Ordering::Relaxed))
                .iter()
                .sum()
        })
    }

    /// Forgets what a supervisor that died had in hand.
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
