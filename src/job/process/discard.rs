//! A small process that reads a job's pipes to their end and discards the data.
//!
//! A process that a job left behind may hold the job's stdout or stderr for any time. Without a
//! reader, SIGPIPE would kill it, or it would fill the pipe and hang.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::inherited::end_of_descriptors;

/// Starts the process, which reads both descriptors until no process can write to them. Returns
/// its pid.
///
/// It keeps no other file of runlog open, has its own session, and runs in `/`, so that it
/// blocks neither a caller, a lock nor an unmount. All signals are already blocked.
///
/// # Errors
/// The system allows no more processes.
pub(crate) fn spawn_reader(pipes: &[BorrowedFd<'_>]) -> io::Result<u32> {
    let mut fds = [-1; 2];
    for (slot, pipe) in fds.iter_mut().zip(pipes) {
        *slot = pipe.as_raw_fd();
    }
    // SAFETY: the child only makes system calls, on existing memory.
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
/// Call this only in a process that was just forked, because it closes all descriptors except
/// these.
unsafe fn read_to_end(pipes: [i32; 2]) -> ! {
    let mut buf = [0_u8; 4096];
    // SAFETY: only system calls, and only on `buf` and `polled`.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        // Descriptors 0 and 1 become the pipes; those above 1 are closed. The pipes are above 2,
        // because descriptors 0 to 2 are always open here.
        let [first, second] = pipes;
        let mut count = 0;
        for pipe in [first, second] {
            if pipe >= 0 {
                libc::dup2(pipe, count);
                count += 1;
            }
        }
        if libc::syscall(libc::SYS_close_range, count, u32::MAX, 0) == -1 {
            // The kernel is older than 5.9, or a filter rejects the call.
            for fd in count..end_of_descriptors() {
                libc::close(fd);
            }
        }
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
