//! The signals that were passed on to a job, in the page that its supervisors share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

/// The maximum number of signals to record individually.
const MAX_SIGNALS: usize = 32;

/// The first signals that were passed on, and the total number.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PassedSignals {
    count: AtomicU32,
    slots: [SignalSlot; MAX_SIGNALS],
}

#[repr(C)]
#[derive(Debug)]
struct SignalSlot {
    signal: AtomicU32,
    from_kernel: AtomicBool,
    pid: AtomicU32,
    uid: AtomicU32,
    at_micros: AtomicI64,
}

/// A signal that was passed on to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PassedSignal {
    pub signal: i32,
    pub from_kernel: bool,
    pub pid: u32,
    pub uid: u32,
    /// When it was passed on, in microseconds since 1970.
    pub at_micros: i64,
}

impl PassedSignals {
    /// Records a signal that was passed on.
    pub(crate) fn record(&self, passed: PassedSignal) {
        let count = self.count.load(Ordering::Acquire);
        if let Some(slot) = self.slots.get(count as usize) {
            slot.signal.store(passed.signal as u32, Ordering::Relaxed);
            slot.from_kernel
                .store(passed.from_kernel, Ordering::Relaxed);
            slot.pid.store(passed.pid, Ordering::Relaxed);
            slot.uid.store(passed.uid, Ordering::Relaxed);
            slot.at_micros.store(passed.at_micros, Ordering::Relaxed);
        }
        self.count.store(count.saturating_add(1), Ordering::Release);
    }

    /// Returns the first signals that were passed on.
    pub(crate) fn list(&self) -> Vec<PassedSignal> {
        let count = self.count.load(Ordering::Acquire) as usize;
        let slots = self.slots.iter().take(count);
        slots
            .map(|slot| PassedSignal {
                signal: slot.signal.load(Ordering::Relaxed) as i32,
                from_kernel: slot.from_kernel.load(Ordering::Relaxed),
                pid: slot.pid.load(Ordering::Relaxed),
                uid: slot.uid.load(Ordering::Relaxed),
                at_micros: slot.at_micros.load(Ordering::Relaxed),
            })
            .collect()
    }
}
