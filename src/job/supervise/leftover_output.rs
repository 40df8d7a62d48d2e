//! The output of processes that outlive their job.
//!
//! A shell does not wait for the filters of `exec > >(tee log) 2>&1` and `job 2> >(sed … >&2)`,
//! which print the last lines of a job after its end.

use std::time::{Duration, Instant};

use super::child::{ExitedChild, Timeout};
use super::supervisor::Supervisor;

/// How long to wait for the next output of a process that the job left behind.
const QUIET_TIMEOUT: Duration = Duration::from_millis(200);
/// How long to wait in total for the end of the output.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);
/// The time before the second check of the pipes. It doubles with each check.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The maximum time between two checks.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(32);

impl Supervisor<'_> {
    /// Waits for a short time until no process can print to the streams of the job, which has
    /// ended. Does not wait for daemons, nor after a signal that asks for the end.
    pub(super) fn wait_for_leftover_output(&mut self, ended: &ExitedChild, timeout: Timeout) {
        let Some(capture) = self.captures.last_mut() else {
            return;
        };
        capture.close_slaves();
        let page = self.control.page;
        let deadline = Instant::now() + OUTPUT_TIMEOUT;
        let mut quiet_deadline = Instant::now() + QUIET_TIMEOUT;
        let mut printed = page.output.printed_bytes();
        let mut interval = MIN_POLL_INTERVAL;
        while capture.is_held_open()
            && Instant::now() < quiet_deadline.min(deadline)
            && !page.has_shutdown_request()
            && !(timeout.ends_with_front && self.control.is_abandoned())
            && self.control.forwarder.has_left_behind(ended.claim)
        {
            capture.wait(&mut self.control, interval);
            interval = MAX_POLL_INTERVAL.min(interval * 2);
            let now_printed = page.output.printed_bytes();
            if now_printed != printed {
                printed = now_printed;
                quiet_deadline = Instant::now() + QUIET_TIMEOUT;
            }
        }
    }
}
