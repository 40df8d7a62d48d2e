//! `fork(2)`.

use std::io;

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
