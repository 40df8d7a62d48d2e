//! Why it ends, and with which exit code.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::exit::Code;
use crate::job::Interrupts;

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// There is nothing more to show.
    Done,
    /// What `--until` waits for has come.
    Until,
    /// `--timeout` is over.
    Timeout,
    /// A signal came.
    Signal(i32),
    /// Nobody reads what is written.
    Closed,
}

/// It was time to end while nobody read what was to be written.
#[derive(Debug, thiserror::Error)]
#[error("stdout is not read")]
pub(crate) struct StoppedBy(pub StopReason);

/// What ends it from outside.
#[derive(Debug)]
pub(crate) struct StopConditions {
    /// The end of `--timeout`.
    pub deadline: Option<Instant>,
    /// Signals, where there are cursors to be saved.
    pub signals: Option<Interrupts>,
}

impl StopConditions {
    pub(crate) fn new(deadline: Option<Instant>, hold_signals: bool) -> Result<Self> {
        let signals = hold_signals.then(Interrupts::block_signals).transpose();
        let signals = signals.context("cannot block signals")?;
        Ok(Self { deadline, signals })
    }

    /// Whether it is time to end.
    pub(crate) fn due(&self) -> Option<StopReason> {
        let signal = self.signals.as_ref().and_then(Interrupts::received);
        let over = self.deadline.is_some_and(|at| at <= Instant::now());
        signal
            .map(StopReason::Signal)
            .or(over.then_some(StopReason::Timeout))
    }

    /// Waits until something can be written to stdout, or until then; says whether it can.
    /// Else tells why it is time to end.
    pub(crate) fn wait_for_room(&self, until: Option<Instant>) -> Result<bool, StopReason> {
        loop {
            let now = Instant::now();
            let first = self.deadline.into_iter().chain(until).min();
            let left = first.map(|at| at.saturating_duration_since(now));
            if !self.wait(PollFlags::OUT, left).is_empty() {
                // Otherwise the write reports the error.
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

    /// Waits for so long, unless a signal comes before, or nobody reads stdout any more;
    /// tells which of them.
    pub(crate) fn wait_for_reader(&self, longest: Duration) -> Option<StopReason> {
        if !self.wait(PollFlags::empty(), Some(longest)).is_empty() {
            return Some(StopReason::Closed);
        }
        let signal = self.signals.as_ref().and_then(Interrupts::received);
        signal.map(StopReason::Signal)
    }

    /// Whether nobody reads stdout any more.
    pub(crate) fn is_closed() -> bool {
        let stdout = io::stdout();
        let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Waits for this long, or until a signal arrives or stdout has one of these events. Returns
    /// the events, including errors and a hang-up.
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

/// What was met on the way.
#[derive(Debug, Default)]
pub(crate) struct ReadinessSet {
    /// Damage, or a gap.
    pub damage: bool,
    /// A run that cannot be read.
    pub trouble: bool,
    /// A run that was removed while it was followed by its name.
    pub removed: bool,
}

impl ReadinessSet {
    /// The exit code, where without all this it would be `code`.
    pub(crate) fn code(&self, code: Code) -> Code {
        match self {
            Self { trouble: true, .. } => Code::Io,
            Self { damage: true, .. } => Code::Damage,
            Self { removed: true, .. } => Code::NotFound,
            _ => code,
        }
    }
}
