//! Unread data in a socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::syscall::check;

/// Returns the maximum number of written bytes that have not arrived: in a Unix socket, bytes
/// that were not read (the kernel counts the memory that they use, which is more); with TCP,
/// bytes that have not reached the other machine.
///
/// # Errors
/// The descriptor is not a socket, or not one that supports this.
pub fn unread_of_socket(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ (tcp(7)), writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes.max(0) as u64)
}
