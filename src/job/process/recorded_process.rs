//! A process that the log describes, which a signal reaches only if it still is that process.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::log::format::payload::ProcessRef;
use crate::telemetry;
use crate::volume::is_this_boot;

/// A live process.
#[derive(Debug)]
pub(crate) struct RecordedProcess {
    pid: Pid,
    start_ticks: Option<u64>,
    /// `None` if the kernel is older than 5.3, or a filter rejects the call.
    pidfd: Option<OwnedFd>,
}

impl RecordedProcess {
    /// Finds the process if it is the one that the log describes.
    ///
    /// # Errors
    /// The reason why it is not that process.
    pub(crate) fn find(process: &ProcessRef) -> Result<Self, String> {
        let pid = process.pid;
        if !is_this_boot(process.boot_id.as_ref()) {
            return Err(format!("process {pid} may belong to another boot or host"));
        }
        if process.pid_namespace.is_none() || process.pid_namespace != telemetry::pid_namespace() {
            return Err(format!("process {pid} is in another pid namespace"));
        }
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| format!("{pid} is not a process id"))?;
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::NOSYS | Errno::PERM) => None,
            Err(e) => return Err(format!("cannot open process {pid}: {e}")),
        };
        let found = Self {
            pid: raw,
            start_ticks: process.start_ticks,
            pidfd,
        };
        // The start time is read after the descriptor was opened. If it matches the record, the
        // process had that pid all the time, so the descriptor refers to it.
        if found.is_same() {
            Ok(found)
        } else {
            Err(format!("process {pid} is not the one in the log"))
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// It has ended (`SRCH`), the caller lacks the permission, or there is no such signal.
    pub(crate) fn send(&self, signal: i32) -> Result<(), Errno> {
        let signal = match Signal::from_named_raw(signal) {
            Some(signal) => signal,
            None if (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signal) => {
                // SAFETY: it is not 0, and libc uses no signal of this range itself.
                unsafe { Signal::from_raw_unchecked(signal) }
            }
            None => return Err(Errno::INVAL),
        };
        let pidfd = self.pidfd.as_ref().ok_or(Errno::NOSYS);
        match pidfd.and_then(|pidfd| pidfd_send_signal(pidfd, signal)) {
            Err(Errno::NOSYS | Errno::PERM) if self.is_same() => kill_process(self.pid, signal),
            sent => sent,
        }
    }

    /// Returns whether the process with this pid started when the log says.
    fn is_same(&self) -> bool {
        self.start_ticks.is_some() && telemetry::live_start_ticks(self.pid()) == self.start_ticks
    }
}
