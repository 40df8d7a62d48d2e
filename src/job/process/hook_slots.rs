//! The hooks of a job that were started, in the page that its supervisors share.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wait_status::{EncodedStatus, WaitStatus};

/// The maximum number of hooks of one job.
const MAX_HOOKS: usize = 2;
/// The value of a hook whose end is in the log.
const RECORDED: u64 = u64::MAX;

/// The progress of the hooks of one job.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct HookSlots {
    /// The state of each hook: 0, the pid of its process, or [`RECORDED`].
    progress: [AtomicU64; MAX_HOOKS],
    /// The ends of hooks that had become the front's children.
    adopted: [EncodedStatus; MAX_HOOKS],
}

/// The state of a hook.
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
    /// Claims a hook for the calling process; false if it was claimed before. Runs between fork
    /// and exec, so it is async-signal-safe.
    pub(crate) fn claim(&self, slot: usize, pid: u32) -> bool {
        self.progress.get(slot).is_some_and(|hook| {
            let pid = u64::from(pid);
            hook.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }

    /// Returns the state of a hook.
    pub(crate) fn state(&self, slot: usize) -> HookState {
        match self
            .progress
            .get(slot)
            .map(|hook| hook.load(Ordering::Acquire))
        {
            Some(0) => HookState::Due,
            Some(RECORDED) | None => HookState::Recorded,
            Some(pid) => HookState::Claimed(pid as u32),
        }
    }

    /// Records that the end of a hook is in the log.
    pub(crate) fn record(&self, slot: usize) {
        if let Some(hook) = self.progress.get(slot) {
            hook.store(RECORDED, Ordering::Release);
        }
    }

    /// Records the end of a hook that had become the front's child.
    pub(crate) fn record_adopted_end(&self, slot: usize, status: WaitStatus) {
        if let Some(end) = self.adopted.get(slot) {
            end.store(status);
        }
    }

    /// Returns the end of a hook that had become the front's child.
    pub(crate) fn adopted_end(&self, slot: usize) -> Option<WaitStatus> {
        self.adopted.get(slot)?.load()
    }

    /// Returns the slots and pids of the running hooks, according to this page.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, u32)> {
        (0..MAX_HOOKS).filter_map(|slot| match self.state(slot) {
            HookState::Claimed(pid) if self.adopted_end(slot).is_none() => Some((slot, pid)),
            _ => None,
        })
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
        assert_eq!(hooks.live().collect::<Vec<_>>(), [(0, 7)]);
        hooks.record_adopted_end(0, WaitStatus::Exited(3));
        assert_eq!(hooks.adopted_end(0), Some(WaitStatus::Exited(3)));
        assert_eq!(hooks.live().next(), None);
        hooks.record(0);
        assert!(hooks.state(0) == HookState::Recorded && !hooks.contains(7));
    }
}
