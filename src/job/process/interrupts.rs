//! Signals that ask a command other than `run` to end, to stop or to redraw.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::signals::SignalFd;

/// The request of a signal to a command at a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownSignal {
    /// The screen has changed.
    Redraw,
    /// Stop until a signal continues the command.
    Stop(i32),
    /// End.
    End(i32),
}

/// Blocked signals that ask the process to end, so that it can finish its work first. Ignored
/// signals (nohup) remain ignored.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Blocks the signals from now on.
    ///
    /// # Errors
    /// A system call fails.
    pub fn block_signals() -> io::Result<Self> {
        SignalFd::block_unless_ignored(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]).map(Self)
    }

    /// Blocks the signals for a command that has changed the terminal: it must restore the
    /// terminal before it ends or is stopped, and must redraw.
    ///
    /// # Errors
    /// A system call fails.
    pub fn block_terminal_stops() -> io::Result<Self> {
        SignalFd::block_unless_ignored(&[
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

    /// Returns the descriptor to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }

    /// Returns the request of the signal that arrived, if any.
    pub fn pending_shutdown(&self) -> Option<ShutdownSignal> {
        Some(match self.received()? {
            libc::SIGWINCH | libc::SIGCONT => ShutdownSignal::Redraw,
            signal @ libc::SIGTSTP => ShutdownSignal::Stop(signal),
            signal => ShutdownSignal::End(signal),
        })
    }

    /// Returns the signal that arrived, if any.
    pub fn received(&self) -> Option<i32> {
        self.0.next().map(|arrived| arrived.signal)
    }

    /// Lets the signal have its default effect, so that the parent process sees which one ended
    /// this process.
    pub fn reraise(self, signal: i32) {
        self.0.reraise(signal);
    }

    /// Lets the signals have their default effect again, also those that arrived.
    pub fn unblock(self) {
        self.0.restore_mask();
    }
}
