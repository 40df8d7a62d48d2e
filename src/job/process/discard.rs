//! A small process that reads a job's pipes to their end and discards what it reads.
//!
//! A process that a job left behind may hold the job's stdout or stderr for as long as it
//! wants. Without a reader it would be killed by SIGPIPE, or fill the pipe and hang.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Starts the process, which reads both descriptors until nobody can write to them.
///
/// It keeps nothing else of ours open, has a session of its own, and is in `/`, so that it
/// holds up neither a caller, a lock nor an unmount. All signals are blocked already.
/// Returns its pid.
///
/// # Errors
/// The system allows no further process.
pub(crate) fn spawn_reader(pipes: &[BorrowedFd<'_>]) -> io::Result<u32> {
    let mut fds = [-1; 2];
    for (slot, pipe) in fds.iter_mut().zip(pipes) {
        *slot = pipe.as_raw_fd();
    }
    // SAFETY: the child only makes system calls, on memory that it has already.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; it never returns.
            unsafe { read_to_end(fds) }
        }
        pid => Ok(pid as u32),
    }
}

/// # Safety
/// Only in a process that was just forked: all descriptors but these are closed.
unsafe fn read_to_end(pipes: [i32; 2]) -> ! {
    let mut buf = [0_u8; 4096];
    // SAFETY: only system calls, and only on `buf` and `polled`.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        // Descriptors 0 and 1 take the pipes; what is above 1 is closed. The pipes are
        // above 2, since descriptors 0 to 2 are always open here.
        let [first, second] = pipes;
        let mut count = 0;
        for pipe in [first, second] {
            if pipe >= 0 {
                libc::dup2(pipe, count);
                count += 1;
            }
        }
        libc::syscall(libc::SYS_close_range, count, u32::MAX, 0);
        let mut polled = [libc::pollfd {
            fd: -1,
            events: libc::POLLIN,
            revents: 0,
        }; 2];
        for (fd, slot) in (0..count).zip(polled.iter_mut()) {
            slot.fd = fd;
        }
        let mut open = count;
        while open > 0 {
            libc::poll(polled.as_mut_ptr(), 2, -1);
            for slot in &mut polled {
                if slot.fd < 0 || slot.revents == 0 {
                    continue;
                }
                let got = libc::read(slot.fd, buf.as_mut_ptr().cast(), buf.len());
                let again =
                    got < 0 && matches!(*libc::__errno_location(), libc::EAGAIN | libc::EINTR);
                if got <= 0 && !again {
                    libc::close(slot.fd);
                    slot.fd = -1;
                    open -= 1;
                }
            }
        }
        libc::_exit(0)
    }
}
