//! The signals that were passed on to a job, in the page that its supervisors share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::monotonic_clock::monotonic_ns;
use super::signals::{END_SIGNALS, asks_to_end};
use super::wait_status::WaitStatus;

/// The maximum number of signals to record individually.
const MAX_SIGNALS: usize = 32;
/// The places for the first of each signal that asks for the end, however many others came
/// before it.
const RESERVED: usize = END_SIGNALS.len();
/// How soon after an interrupt a job must end for the interrupt to count as the reason.
const INTERRUPT_GRACE: Duration = Duration::from_millis(200);

/// The first signals that were passed on to the newest step that got any.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct PassedSignals {
    step: AtomicU32,
    count: AtomicU32,
    slots: [SignalSlot; MAX_SIGNALS],
    /// Whether a signal other than SIGINT asked for the end.
    asked_to_end: AtomicBool,
    /// The last signal that a job often survives: SIGINT, or one that the caller has ignored.
    interrupt: AtomicU32,
    /// The time of that signal on the monotonic clock, in nanoseconds; 0 if there was none.
    interrupted_at: AtomicU64,
}

#[repr(C)]
#[derive(Debug, Default)]
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
    /// Records a signal that was passed on to a step. Only one process does that at a time, and
    /// no process reads the signals of a step after a later one was started.
    pub(crate) fn record(&self, step: u32, passed: PassedSignal) {
        if self.step.load(Ordering::Acquire) != step {
            self.count.store(0, Ordering::Release);
            self.asked_to_end.store(false, Ordering::Release);
            self.interrupted_at.store(0, Ordering::Release);
            self.step.store(step, Ordering::Release);
        }
        let signal = passed.signal;
        if signal != libc::SIGINT && asks_to_end(signal) {
            self.asked_to_end.store(true, Ordering::Release);
        } else if END_SIGNALS.contains(&signal) {
            self.interrupt.store(signal as u32, Ordering::Relaxed);
            self.interrupted_at.store(monotonic_ns(), Ordering::Release);
        }
        let is_recorded = || self.list(step).iter().any(|other| other.signal == signal);
        let places = if END_SIGNALS.contains(&signal) && !is_recorded() {
            MAX_SIGNALS
        } else {
            MAX_SIGNALS - RESERVED
        };
        let count = self.count.load(Ordering::Acquire);
        if let Some(slot) = self.slots.iter().take(places).nth(count as usize) {
            slot.signal.store(signal as u32, Ordering::Relaxed);
            slot.from_kernel
                .store(passed.from_kernel, Ordering::Relaxed);
            slot.pid.store(passed.pid, Ordering::Relaxed);
            slot.uid.store(passed.uid, Ordering::Relaxed);
            slot.at_micros.store(passed.at_micros, Ordering::Relaxed);
            self.count.store(count + 1, Ordering::Release);
        }
    }

    /// Returns the first signals that were passed on to a step.
    pub(crate) fn list(&self, step: u32) -> Vec<PassedSignal> {
        if self.step.load(Ordering::Acquire) != step {
            return Vec::new();
        }
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

    /// Returns whether a signal that was passed on is the reason why a step ended just now.
    ///
    /// A job may survive an interrupt and fail later for another reason. The other signals are
    /// meant to end the whole job.
    pub(crate) fn have_ended(&self, step: u32, status: WaitStatus) -> bool {
        if self.step.load(Ordering::Acquire) != step {
            return false;
        }
        let interrupted_at = self.interrupted_at.load(Ordering::Acquire);
        let since_interrupt = monotonic_ns().saturating_sub(interrupted_at);
        let interrupt = self.interrupt.load(Ordering::Relaxed) as i32;
        let is_interrupt = status == WaitStatus::Signaled(interrupt)
            || status == WaitStatus::Exited(128 + interrupt);
        self.asked_to_end.load(Ordering::Acquire)
            || interrupted_at != 0
                && (is_interrupt || Duration::from_nanos(since_interrupt) <= INTERRUPT_GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: WaitStatus = WaitStatus::Exited(1);

    fn passed(signal: i32) -> PassedSignal {
        PassedSignal {
            signal,
            from_kernel: false,
            pid: 7,
            uid: 0,
            at_micros: 0,
        }
    }

    fn names(signals: &PassedSignals, step: u32) -> Vec<i32> {
        signals.list(step).iter().map(|it| it.signal).collect()
    }

    #[test]
    fn end_signal_is_recorded_after_many_others() {
        let signals = &PassedSignals::default();
        for _ in 0..2 * MAX_SIGNALS {
            signals.record(1, passed(libc::SIGUSR1));
        }
        assert_eq!(signals.list(1).len(), MAX_SIGNALS - RESERVED);
        assert!(!signals.have_ended(1, FAILED));
        for _ in 0..2 * MAX_SIGNALS {
            for end in END_SIGNALS {
                signals.record(1, passed(end));
            }
        }
        assert_eq!(signals.list(1).len(), MAX_SIGNALS);
        assert!(names(signals, 1).ends_with(&END_SIGNALS));
        assert!(signals.have_ended(1, FAILED));
    }

    #[test]
    fn signals_belong_to_their_step() {
        let signals = &PassedSignals::default();
        signals.record(1, passed(libc::SIGTERM));
        assert!(signals.have_ended(1, FAILED));
        assert!(names(signals, 2).is_empty() && !signals.have_ended(2, FAILED));
        signals.record(2, passed(libc::SIGUSR1));
        assert_eq!(names(signals, 2), [libc::SIGUSR1]);
        assert!(!signals.have_ended(2, FAILED));
    }

    #[test]
    fn interrupt_counts_if_job_dies_of_it() {
        let signals = &PassedSignals::default();
        signals.record(1, passed(libc::SIGINT));
        while signals.have_ended(1, FAILED) {
            std::thread::yield_now();
        }
        assert!(signals.have_ended(1, WaitStatus::Signaled(libc::SIGINT)));
        assert!(signals.have_ended(1, WaitStatus::Exited(130)));
    }
}
