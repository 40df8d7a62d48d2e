//! What waits in a socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::syscall::check;

/// How many bytes, at most, of what was written to a socket wait: in a Unix one to be read
/// (the memory that they take is counted, which is more), in one of TCP to arrive at the
/// other machine.
///
/// # Errors
/// It is no socket, or none of a kind that knows.
pub fn unread_of_socket(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ (tcp(7)), writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes.max(0) as u64)
}
