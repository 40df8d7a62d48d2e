//! How the bytes of one stream get out of its pipe: read, or moved by the kernel.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::output_file::OutputFile;
use super::pump_target::PumpTarget;
use super::splice_pipe::SplicePipe;
use super::stream::{CHUNK_BYTES, Passthrough, enlarge_pipe};
use crate::job::process::pty;
use crate::job::process::pty::Packet;

/// The number of bytes in one read from which more can be expected, so that letting the kernel
/// move them is worthwhile.
pub(super) const SPLICE_THRESHOLD_BYTES: usize = 64 << 10;

/// The path of bytes that are passed on.
#[derive(Debug, Default)]
pub(crate) enum CopyPath {
    /// Read and write them. There have not been many so far.
    #[default]
    Read,
    /// There are many: let the kernel move them, if it can.
    Try,
    /// The kernel moves them through `relay`, as many at once as fit into runlog's own stream,
    /// whose reader reads them while the next ones are stored.
    Move { relay: SplicePipe, at_once: usize },
    /// The kernel cannot move them.
    ReadAlways,
}

/// The result of reading the pipe once. All bytes are stored.
pub(super) enum ReadOutcome<'a> {
    Bytes(Cow<'a, [u8]>),
    /// The kernel moved the bytes. Those to pass on are in the relay.
    Moved(usize),
    Nothing,
    End,
}

impl ReadOutcome<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Moved(n) => *n,
            Self::Nothing | Self::End => 0,
        }
    }
}

impl CopyPath {
    /// Stores the content of the pipe.
    pub(super) fn store<'a>(
        &mut self,
        stream: &PumpTarget,
        sink: &mut OutputFile,
        pipe: &OwnedFd,
        buf: &'a mut [MaybeUninit<u8>],
    ) -> ReadOutcome<'a> {
        if stream.pass_on == Passthrough::No {
            match sink.splice(stream.id, pipe) {
                Some(0) => return ReadOutcome::End,
                Some(n) => return ReadOutcome::Moved(n),
                None if sink.can_move() => return ReadOutcome::Nothing,
                None => {}
            }
        } else if matches!(self, Self::Try | Self::Move { .. })
            && stream.is_passed_on()
            && sink.can_move()
        {
            match self.relay(stream, sink, pipe) {
                Ok(received) => return received,
                // Read bytes that the kernel cannot move.
                Err(_) => *self = Self::ReadAlways,
            }
        }
        stream.record_in_hand(buf.len() + stream.held_bytes());
        match rustix::io::read(pipe, buf) {
            Ok(([], _)) => ReadOutcome::End,
            Ok((got, _)) => {
                sink.store(stream.id, got);
                ReadOutcome::Bytes(Cow::Borrowed(got))
            }
            Err(Errno::AGAIN | Errno::INTR) => ReadOutcome::Nothing,
            Err(_) => ReadOutcome::End,
        }
    }

    /// Moves the content of the pipe into the relay, and stores it.
    fn relay(
        &mut self,
        stream: &PumpTarget,
        sink: &mut OutputFile,
        pipe: &OwnedFd,
    ) -> Result<ReadOutcome<'static>, Errno> {
        if let Self::Try = self {
            // A large pipe to the reader makes it and this process rarely wait for each other.
            let at_once = enlarge_pipe(stream.target()?)?.min(CHUNK_BYTES);
            let relay = SplicePipe::new()?;
            relay.enlarge();
            *self = Self::Move { relay, at_once };
        }
        let Self::Move { relay, at_once } = self else {
            return Err(Errno::INVAL);
        };
        stream.record_in_hand(*at_once);
        let n = match relay.fill(pipe, *at_once) {
            Ok(0) => return Ok(ReadOutcome::End),
            Ok(n) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(ReadOutcome::Nothing),
            Err(e) => return Err(e),
        };
        let stored = sink.store_copy(stream.id, relay, n);
        if stored == n {
            return Ok(ReadOutcome::Moved(n));
        }
        let bytes = relay.read_out(n);
        sink.store(stream.id, bytes.get(stored..).unwrap_or_default());
        *self = Self::ReadAlways;
        Ok(ReadOutcome::Bytes(Cow::Owned(bytes)))
    }
}

/// Stores output from a pseudo-terminal, up to a change of its state.
pub(super) fn read_terminal(
    stream: &PumpTarget,
    sink: &mut OutputFile,
    master: &OwnedFd,
    status: &mut u8,
) -> ReadOutcome<'static> {
    stream.record_in_hand(SPLICE_THRESHOLD_BYTES + pty::PACKET_BYTES + stream.held_bytes());
    let mut printed = Vec::new();
    let mut last = Packet::Data;
    while last == Packet::Data && printed.len() < SPLICE_THRESHOLD_BYTES {
        last = pty::read_packet(master, &mut printed);
    }
    if let Packet::Status(new) = last {
        *status = new;
    }
    if printed.is_empty() {
        return match last {
            Packet::Closed => ReadOutcome::End,
            _ => ReadOutcome::Nothing,
        };
    }
    sink.store(stream.id, &printed);
    ReadOutcome::Bytes(Cow::Owned(printed))
}
