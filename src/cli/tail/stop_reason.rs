//! The reason that `tail` stops, and its exit code.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::exit::Code;
use crate::job::Interrupts;

/// The reason that `tail` stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// All lines were shown.
    Done,
    /// The condition of `--until` is met.
    Until,
    /// `--timeout` has passed.
    Timeout,
    /// A signal was received.
    Signal(i32),
    /// The reader of stdout has closed it.
    Closed,
}

/// The error if `tail` has to stop while the reader does not read.
#[derive(Debug, thiserror::Error)]
#[error("stdout is not read")]
pub(crate) struct StoppedBy(pub StopReason);

/// External conditions that stop `tail`.
#[derive(Debug)]
pub(crate) struct StopConditions {
    /// The deadline from `--timeout`.
    pub deadline: Option<Instant>,
    /// Blocked signals, if there are cursors to save.
    pub signals: Option<Interrupts>,
}

impl StopConditions {
    pub(crate) fn new(deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            signals: None,
        }
    }

    /// Blocks the signals that end a process, so that cursors are saved before they do.
    pub(crate) fn block_signals(&mut self) -> Result<()> {
        let signals = Interrupts::block_signals().context("cannot block signals")?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Returns the reason to stop now, if there is one.
    pub(crate) fn due(&self) -> Option<StopReason> {
        let signal = self.signals.as_ref().and_then(Interrupts::received);
        let over = self.deadline.is_some_and(|at| at <= Instant::now());
        signal
            .map(StopReason::Signal)
            .or(over.then_some(StopReason::Timeout))
    }

    /// Waits until stdout accepts data; returns `false` if `until` passes first.
    ///
    /// # Errors
    /// Returns the reason to stop, if that comes first.
    pub(crate) fn wait_for_room(&self, until: Option<Instant>) -> Result<bool, StopReason> {
        loop {
            let now = Instant::now();
            let first = self.deadline.into_iter().chain(until).min();
            let left = first.map(|at| at.saturating_duration_since(now));
            if !self.wait(PollFlags::OUT, left).is_empty() {
                // If stdout has an error, the write reports it.
                return Ok(true);
            }
            if let Some(stop) = self.due() {
                return Err(stop);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(false);
            }
        }
    }

    /// Waits for `longest`; returns early, with the reason, if a signal arrives or the reader
    /// closes stdout.
    pub(crate) fn wait_for_reader(&self, longest: Duration) -> Option<StopReason> {
        if !self.wait(PollFlags::empty(), Some(longest)).is_empty() {
            return Some(StopReason::Closed);
        }
        let signal = self.signals.as_ref().and_then(Interrupts::received);
        signal.map(StopReason::Signal)
    }

    /// Returns whether the reader has closed stdout.
    pub(crate) fn is_closed() -> bool {
        let stdout = io::stdout();
        let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Waits for this long, or until a signal arrives or stdout has one of these events. Returns
    /// the events, including errors and hang-ups.
    fn wait(&self, what: PollFlags, longest: Option<Duration>) -> PollFlags {
        let stdout = io::stdout();
        let mut fds = vec![PollFd::from_borrowed_fd(stdout.as_fd(), what)];
        if let Some(signals) = &self.signals {
            fds.push(PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN));
        }
        let longest = longest.and_then(|longest| Timespec::try_from(longest).ok());
        match poll(&mut fds, longest.as_ref()) {
            Ok(_) => fds.first().map_or(PollFlags::empty(), PollFd::revents),
            Err(_) => PollFlags::empty(),
        }
    }
}

/// Problems that were found on the way, which change the exit code.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    /// Damage, or a gap.
    pub damage: bool,
    /// A run that cannot be read.
    pub unreadable: bool,
    /// A removed run that was followed by its name.
    pub removed: bool,
}

impl Problems {
    /// Returns the exit code; without any of these problems, it is `code`.
    pub(crate) fn code(&self, code: Code) -> Code {
        match self {
            Self {
                unreadable: true, ..
            } => Code::Io,
            Self { damage: true, .. } => Code::Damage,
            Self { removed: true, .. } => Code::NotFound,
            _ => code,
        }
    }
}
