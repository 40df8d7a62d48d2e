//! The end of a process that is not a child: `pidfd_open(2)` and its `PIDFD_GET_INFO`.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::wait_status::WaitStatus;

/// A handle of a process, which outlives the process.
#[derive(Debug)]
pub(crate) struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Opens the handle; `None` if the process does not exist, or the kernel is older than 5.3.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    /// Returns how the process ended, after its parent has reaped it; `None` if the kernel is
    /// older than 6.15 and does not report it.
    pub(crate) fn exit_status(&self) -> Option<WaitStatus> {
        let mut info = MaybeUninit::<libc::pidfd_info>::zeroed();
        // SAFETY: zeroed, it is a valid value; the kernel writes at most its size.
        let info = unsafe {
            (*info.as_mut_ptr()).mask = u64::from(libc::PIDFD_INFO_EXIT);
            let failed = libc::ioctl(self.0.as_raw_fd(), libc::PIDFD_GET_INFO, info.as_mut_ptr());
            if failed == -1 {
                return None;
            }
            info.assume_init()
        };
        if info.mask & u64::from(libc::PIDFD_INFO_EXIT) == 0 {
            return None;
        }
        let status = ExitStatus::from_raw(info.exit_code);
        let exited = status.code().map(WaitStatus::Exited);
        exited.or_else(|| status.signal().map(WaitStatus::Signaled))
    }
}
