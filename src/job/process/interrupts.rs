//! Signals that ask a command other than `run` to end, to stop or to draw again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::signals::SignalFd;

/// What a signal asks of a command at a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownSignal {
    /// The screen is another one now.
    Redraw,
    /// To stop until it is continued.
    Stop(i32),
    /// To end.
    End(i32),
}

/// Signals that ask us to end, held back so that what is under way can be finished. One
/// that is ignored (nohup) stays ignored.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Holds them back from now on.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn block_signals() -> io::Result<Self> {
        SignalFd::block_these(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]).map(Self)
    }

    /// Blocks the signals for a command that has changed the terminal and must restore it
    /// before it ends or is stopped, and that must redraw.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn block_terminal_stops() -> io::Result<Self> {
        SignalFd::block_these(&[
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGTSTP,
            libc::SIGCONT,
            libc::SIGWINCH,
        ])
        .map(Self)
    }

    /// The descriptor to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }

    /// What the signal that arrived asks for, if any.
    pub fn pending_shutdown(&self) -> Option<ShutdownSignal> {
        Some(match self.received()? {
            libc::SIGWINCH | libc::SIGCONT => ShutdownSignal::Redraw,
            signal @ libc::SIGTSTP => ShutdownSignal::Stop(signal),
            signal => ShutdownSignal::End(signal),
        })
    }

    /// The signal that arrived, if any.
    pub fn received(&self) -> Option<i32> {
        self.0.next().map(|arrived| arrived.signal)
    }

    /// Lets the signal do what it would have done when it arrived: the parent process
    /// sees which one ended us.
    pub fn reraise(self, signal: i32) {
        self.0.reraise(signal);
    }
}
