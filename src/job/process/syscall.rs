//! The results of system calls.

use std::io;

/// Turns the result of a system call that is -1 on failure into a `Result`.
///
/// # Errors
/// The system call failed, with `errno`.
pub(super) fn check(result: i32) -> io::Result<i32> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
