//! `fork(2)`.

use std::io;

/// Which side of a fork this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ForkResult {
    Parent,
    Child,
}

/// Forks. Only while the process has one thread, so that the child may do anything.
pub(crate) fn fork() -> io::Result<ForkResult> {
    // SAFETY: the caller has started no thread, so no lock can be held by one.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(ForkResult::Child),
        _ => Ok(ForkResult::Parent),
    }
}
