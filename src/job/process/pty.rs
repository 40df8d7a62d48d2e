//! Pseudo-terminals, `pty(7)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::syscall::check;
use super::terminal_modes::{TerminalModes, copy_attributes};

/// The size of a terminal if the real one has none.
const DEFAULT_SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};
/// `TIOCPKT_FLUSHREAD`: a program has discarded unread input.
pub(crate) const INPUT_DISCARDED: u8 = 1;
/// `TIOCPKT_IOCTL`: a program has set the modes.
pub(crate) const MODES_CHANGED: u8 = 64;
/// The maximum number of bytes that one read from a master returns, including the leading status
/// byte.
pub(crate) const PACKET_BYTES: usize = 4097;

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub(crate) struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// The result of a read from the master of a pseudo-terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Output, which was appended.
    Data,
    /// The state has changed, for example [`MODES_CHANGED`].
    Status(u8),
    /// There is no data for now.
    Empty,
    /// No process has the slave open, and no data remains.
    Closed,
}

impl Pty {
    /// Creates a pseudo-terminal with the size and the modes of other terminals, if there are any.
    ///
    /// It processes neither output nor input, because the other terminal does that. The master
    /// does not block, and returns packets.
    ///
    /// # Errors
    /// The system has no more pseudo-terminals or descriptors.
    pub(crate) fn open(
        size_of: Option<BorrowedFd<'_>>,
        modes_of: Option<BorrowedFd<'_>>,
    ) -> io::Result<Self> {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: each call gets open descriptors; the new one has no other owner.
        let master = unsafe {
            let master = check(libc::posix_openpt(flags | libc::O_NONBLOCK))?;
            let master = OwnedFd::from_raw_fd(master);
            check(libc::grantpt(master.as_raw_fd()))?;
            check(libc::unlockpt(master.as_raw_fd()))?;
            master
        };
        let slave = open_slave(&master)?;
        if let Some(other) = modes_of {
            copy_attributes(other, &slave)?;
        }
        TerminalModes::read(&slave)?
            .passed_through()
            .write(&slave)?;
        let size = size_of.and_then(|other| tcgetwinsize(other).ok());
        tcsetwinsize(&master, size.unwrap_or(DEFAULT_SIZE))?;
        let on: libc::c_int = 1;
        // SAFETY: the kernel reads one integer.
        check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCPKT, &raw const on) })?;
        Ok(Self { master, slave })
    }
}

/// Opens the slave of a master.
///
/// # Errors
/// The descriptor is not a master, or the system has no more descriptors.
pub(crate) fn open_slave(master: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: no memory is involved; the new descriptor has no other owner.
    unsafe {
        let slave = check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags))?;
        Ok(OwnedFd::from_raw_fd(slave))
    }
}

/// Returns the device number of a terminal, which is that of the real terminal for `/dev/tty`.
///
/// # Errors
/// The descriptor is not a terminal.
pub(super) fn terminal_number(terminal: impl AsFd) -> io::Result<u32> {
    let mut number: libc::c_uint = 0;
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the kernel writes one integer.
    check(unsafe { libc::ioctl(fd, libc::TIOCGDEV, &raw mut number) })?;
    Ok(number)
}

/// Returns the number of a master's slave, which is its minor device number and its name.
///
/// # Errors
/// The descriptor is not a master.
pub(crate) fn slave_number(master: &OwnedFd) -> io::Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the kernel writes one integer.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// Appends output of the slave, without waiting for it.
pub(crate) fn read_packet(master: impl AsFd, to: &mut Vec<u8>) -> Packet {
    let mut packet = [0; PACKET_BYTES];
    loop {
        return match rustix::io::read(&master, &mut packet) {
            Ok(0) => Packet::Closed,
            Ok(n) => match packet.get(..n).unwrap_or_default() {
                [0, data @ ..] => {
                    to.extend_from_slice(data);
                    Packet::Data
                }
                [status, ..] => Packet::Status(*status),
                [] => Packet::Closed,
            },
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Packet::Empty,
            Err(_) => Packet::Closed,
        };
    }
}

/// Gives a pseudo-terminal the size of the real terminal. Returns whether the size changed.
pub(crate) fn update_size(master: impl AsFd, real: impl AsFd) -> bool {
    let (Ok(size), Ok(current)) = (tcgetwinsize(real), tcgetwinsize(&master)) else {
        return false;
    };
    let differs = (size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel)
        != (
            current.ws_row,
            current.ws_col,
            current.ws_xpixel,
            current.ws_ypixel,
        );
    differs && tcsetwinsize(master, size).is_ok()
}

/// Discards unread input.
pub(crate) fn discard_input(terminal: impl AsFd) {
    let queue = rustix::termios::QueueSelector::IFlush;
    rustix::termios::tcflush(terminal, queue).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_unchanged_and_mode_changes_are_reported() {
        let Pty { master, slave } = Pty::open(None, None).unwrap();
        let mut got = Vec::new();
        assert_eq!(read_packet(&master, &mut got), Packet::Empty);
        rustix::io::write(&slave, b"a\n\tb\n").unwrap();
        assert_eq!(read_packet(&master, &mut got), Packet::Data);
        assert_eq!(got, b"a\n\tb\n");
        let mut modes = TerminalModes::read(&slave).unwrap();
        modes.local &= !libc::ECHO;
        modes.write(&slave).unwrap();
        let changed = read_packet(&master, &mut got);
        assert!(
            matches!(changed, Packet::Status(status) if status & MODES_CHANGED != 0),
            "{changed:?}"
        );
        rustix::io::write(&slave, b"end").unwrap();
        drop(slave);
        while read_packet(&master, &mut got) != Packet::Closed {}
        assert_eq!(got, b"a\n\tb\nend");
        let slave = open_slave(&master).unwrap();
        rustix::io::write(&slave, b"again").unwrap();
        while read_packet(&master, &mut got) != Packet::Empty {}
        assert_eq!(got, b"a\n\tb\nendagain");
        assert_eq!(TerminalModes::read(&slave).unwrap(), modes);
    }
}
