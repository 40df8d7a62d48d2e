//! `fork(2)`.

use std::io;

/// Which side of a fork this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ForkResult {
    /// The process that forked, with the id of its new child.
    Parent(u32),
    /// The new process.
    Child,
}

/// Forks. Only while the process has one thread, so that the child may do anything.
///
/// # Errors
/// The system allows no further process.
pub(crate) fn fork() -> io::Result<ForkResult> {
    // SAFETY: the caller has started no thread, so no lock can be held by one.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent(pid as u32)),
    }
}

/// Makes a process group whose leader has exited and is not reaped, and returns its id.
///
/// A job that joins it leads no group, so that `setsid(2)` works in it, and the id cannot be
/// reused while this process lives.
///
/// # Errors
/// The system allows no further process.
pub(crate) fn new_group() -> io::Result<i32> {
    // SAFETY: the child only calls async-signal-safe functions.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; nothing of the parent's is flushed or dropped.
            unsafe {
                libc::setpgid(0, 0);
                libc::_exit(0);
            }
        }
        pid => {
            // Done on both sides: a job may be spawned before the child has run.
            // SAFETY: no memory is involved. It fails once the child has exited, and has
            // done it itself.
            unsafe {
                libc::setpgid(pid, pid);
            }
            Ok(pid)
        }
    }
}
