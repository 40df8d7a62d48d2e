//! The time limit of a hook.

use std::time::{Duration, Instant};

use crate::job::process::signals;

/// How long a hook may run before it gets SIGTERM.
pub(super) const HOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// The time from SIGTERM to SIGKILL.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// The time limit of a hook's process group.
#[derive(Debug)]
pub(super) struct HookLimit {
    group: i32,
    term_at: Instant,
    kill_at: Option<Instant>,
    /// Whether the hook exceeded its time.
    pub timed_out: bool,
}

impl HookLimit {
    pub(super) fn new(pid: u32) -> Self {
        Self {
            group: pid as i32,
            term_at: Instant::now() + HOOK_TIMEOUT,
            kill_at: None,
            timed_out: false,
        }
    }

    /// Ends the hook although its time is not over.
    pub(super) fn interrupt(&mut self) {
        if self.kill_at.is_none() {
            self.terminate();
        }
    }

    /// Ends the hook if its time is over.
    pub(super) fn enforce(&mut self) {
        let now = Instant::now();
        match self.kill_at {
            None if now >= self.term_at => {
                self.timed_out = true;
                self.terminate();
            }
            Some(at) if now >= at => signals::kill(-self.group, libc::SIGKILL),
            _ => {}
        }
    }

    fn terminate(&mut self) {
        self.kill_at = Some(Instant::now() + KILL_AFTER);
        signals::kill(-self.group, libc::SIGTERM);
        signals::kill(-self.group, libc::SIGCONT);
    }
}
