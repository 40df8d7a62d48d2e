//! The channel between the front and the supervisor of one job.
//!
//! It wakes the other side, and carries the descriptors that have to outlive a supervisor. A
//! descriptor in transit counts as open: the lease remains held, and the job keeps a reader,
//! even if the supervisor dies right after sending them.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::log::StreamId;

/// One end of the channel.
#[derive(Debug)]
pub(crate) struct FrontLink(OwnedFd);

/// A message between the two sides.
#[derive(Debug)]
pub(crate) enum Message {
    /// The page has changed.
    Wake,
    /// The lease of the job, which the front must hold until it exits.
    Lease(OwnedFd),
    /// The pipes that the job writes to, stdout first, which the front must hold until it gets
    /// new ones.
    Pipes(Vec<OwnedFd>),
    /// The pipe that a hook writes to, which the front must hold until it gets the next one.
    HookOutput(OwnedFd),
    /// The reader of this stream closed its end, so its pipe must be closed.
    ReaderGone(StreamId),
    /// The job has stopped, and the front stops with it.
    Stopped,
    /// The front continues.
    Continued,
}

impl FrontLink {
    /// Creates the channel, and returns the front's end and the supervisor's.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC;
        let (front, supervisor) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(front), Self(supervisor)))
    }

    /// Returns the descriptor to wait on.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Notifies the other side that the page has changed. If it already has many messages to
    /// read, it needs no other.
    pub(crate) fn wake(&self) {
        self.send(b'w', &[], SendFlags::DONTWAIT).ok();
    }

    /// Sends the lease to the front.
    ///
    /// # Errors
    /// The front has exited.
    pub(crate) fn send_lease(&self, lease: BorrowedFd<'_>) -> io::Result<()> {
        self.send(b'l', &[lease], SendFlags::empty())
    }

    /// Sends the pipes of an attempt to the front.
    ///
    /// # Errors
    /// The front has exited.
    pub(crate) fn send_pipes(&self, pipes: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(b'p', pipes, SendFlags::empty())
    }

    /// Sends the pipe of a hook to the front.
    ///
    /// # Errors
    /// The front has exited.
    pub(crate) fn send_hook_output(&self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        self.send(b'h', &[pipe], SendFlags::empty())
    }

    /// Notifies the front that the reader of a stream closed its end.
    ///
    /// # Errors
    /// The front has exited.
    pub(crate) fn send_reader_gone(&self, stream: StreamId) -> io::Result<()> {
        let kind = match stream {
            StreamId::Stdout => b'1',
            StreamId::Stderr => b'2',
            StreamId::Both => b'3',
        };
        self.send(kind, &[], SendFlags::empty())
    }

    /// Notifies the supervisor that the job has stopped, or that the front continues. Does
    /// nothing if the other side has exited.
    pub(crate) fn send_job_control(&self, message: &Message) {
        let kind = match message {
            Message::Stopped => b's',
            Message::Continued => b'c',
            _ => b'w',
        };
        self.send(kind, &[], SendFlags::empty()).ok();
    }

    fn send(&self, kind: u8, fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = flags | SendFlags::NOSIGNAL;
        loop {
            match sendmsg(&self.0, &[IoSlice::new(&[kind])], &mut control, flags) {
                Err(Errno::INTR) => {}
                sent => return Ok(sent.map(drop)?),
            }
        }
    }

    /// Returns the next message without waiting; `None` if there is none.
    ///
    /// # Errors
    /// The other side has exited.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut kind = [0];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            match recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut kind)],
                &mut control,
                flags,
            ) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                received => break received?,
            }
        };
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        Ok(Some(match kind {
            [b'l'] => fds.pop().map_or(Message::Wake, Message::Lease),
            [b'p'] => Message::Pipes(fds),
            [b'h'] => fds.pop().map_or(Message::Wake, Message::HookOutput),
            [b'1'] => Message::ReaderGone(StreamId::Stdout),
            [b'2'] => Message::ReaderGone(StreamId::Stderr),
            [b'3'] => Message::ReaderGone(StreamId::Both),
            [b's'] => Message::Stopped,
            [b'c'] => Message::Continued,
            _ => Message::Wake,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_outlives_sender() {
        let (front, supervisor) = FrontLink::pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        supervisor.send_lease(write.as_fd()).unwrap();
        supervisor.wake();
        drop((supervisor, write));
        let Ok(Some(Message::Lease(write))) = front.receive() else {
            panic!("no lease");
        };
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0; 8]).unwrap(), 1);
        assert!(matches!(front.receive(), Ok(Some(Message::Wake))));
        front.receive().unwrap_err();
    }
}
