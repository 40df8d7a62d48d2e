//! `fork(2)`.

use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// The time between two checks of the other threads.
const THREAD_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The side of a fork.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ForkResult {
    /// The process that forked, with the id of its new child.
    Parent(u32),
    /// The new process.
    Child,
}

/// Forks. This is only allowed while the process has one thread, so that the child may do
/// anything.
///
/// # Errors
/// The system allows no more processes.
pub(crate) fn fork() -> io::Result<ForkResult> {
    // SAFETY: the caller has started no thread, so no lock can be held by one.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent(pid as u32)),
    }
}

/// Waits for the end of the other threads of this process; false if one is left. After that,
/// [`fork`] is allowed.
pub fn wait_for_other_threads(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let threads = || fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    while threads() != 1 {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(THREAD_POLL_INTERVAL);
    }
    true
}

/// Creates a process group whose leader has exited but is not reaped, and returns its id.
///
/// A job that joins it does not lead the group, so that it can call `setsid(2)`, and the id
/// cannot be reused while this process is alive.
///
/// # Errors
/// The system allows no more processes.
pub(crate) fn new_group() -> io::Result<i32> {
    // SAFETY: the child only calls async-signal-safe functions.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; nothing of the parent is flushed or dropped.
            unsafe {
                libc::setpgid(0, 0);
                libc::_exit(0);
            }
        }
        pid => {
            // Both sides do this, because a job may be spawned before the child has run.
            // SAFETY: no memory is involved. The call fails if the child has exited, and then
            // the child has done it itself.
            unsafe {
                libc::setpgid(pid, pid);
            }
            Ok(pid)
        }
    }
}
