//! Which hooks of a job were started, in the page that its supervisors share.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of hooks that one job can run.
const MAX_HOOKS: usize = 2;
/// The value of a hook whose end is in the log.
const RECORDED: u64 = u64::MAX;

/// For each hook: 0, the pid of its process, or [`RECORDED`].
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct HookSlots([AtomicU64; MAX_HOOKS]);

/// How far a hook has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookState {
    /// The hook was not started.
    Due,
    /// The hook was started, as this process.
    Claimed(u32),
    /// The end of the hook is in the log.
    Recorded,
}

impl HookSlots {
    /// Claims a hook for the calling process. Between fork and exec: this is
    /// async-signal-safe. Returns false if it was claimed before.
    pub(crate) fn claim(&self, slot: usize, pid: u32) -> bool {
        self.0.get(slot).is_some_and(|hook| {
            let pid = u64::from(pid);
            hook.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }

    /// Returns how far a hook has come.
    pub(crate) fn state(&self, slot: usize) -> HookState {
        match self.0.get(slot).map(|hook| hook.load(Ordering::Acquire)) {
            Some(0) => HookState::Due,
            Some(RECORDED) | None => HookState::Recorded,
            Some(pid) => HookState::Claimed(pid as u32),
        }
    }

    /// Records that the end of a hook is in the log.
    pub(crate) fn record(&self, slot: usize) {
        if let Some(hook) = self.0.get(slot) {
            hook.store(RECORDED, Ordering::Release);
        }
    }

    /// Returns whether the process is a hook whose end is not in the log.
    pub(crate) fn contains(&self, pid: u32) -> bool {
        let mut slots = 0..MAX_HOOKS;
        slots.any(|slot| self.state(slot) == HookState::Claimed(pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hook_is_claimed_once() {
        let hooks = HookSlots::default();
        assert_eq!(hooks.state(0), HookState::Due);
        assert!(hooks.claim(0, 7));
        assert!(!hooks.claim(0, 8));
        assert_eq!(hooks.state(0), HookState::Claimed(7));
        assert_eq!(hooks.state(1), HookState::Due);
        assert!(hooks.contains(7) && !hooks.contains(8));
        hooks.record(0);
        assert!(hooks.state(0) == HookState::Recorded && !hooks.contains(7));
    }
}
