//! Writing to a stream of runlog, which other processes share.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Calls `write` until all `len` bytes are written. It gets the number of bytes that are already
/// written.
///
/// # Errors
/// The write fails. `PIPE` means that the reader closed its end.
pub(crate) fn write_all(
    len: usize,
    target: BorrowedFd<'_>,
    mut write: impl FnMut(usize) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    let mut done = 0;
    while done < len {
        match write(done) {
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            // Another process that shares the stream made it non-blocking.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(&target, PollFlags::OUT)];
                poll(&mut fds, None).ok();
            }
            // The reader of a socket closed it before it had read everything.
            Err(Errno::CONNRESET) => return Err(Errno::PIPE),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn closed_socket_is_closed_pipe_even_with_unread_data() {
        let block = [0; 4096];
        // Only some of the closes come while the writer waits, and reset the socket.
        for _ in 0..100 {
            let (mut reader, writer) = UnixStream::pair().unwrap();
            let closer = thread::spawn(move || reader.read(&mut [0; 10]).unwrap());
            let written = write_all(usize::MAX, writer.as_fd(), |_| {
                rustix::io::write(&writer, &block)
            });
            assert_eq!(written, Err(Errno::PIPE));
            closer.join().unwrap();
        }
    }
}
