//! Why it ends, and with which exit code.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::super::exit::Code;
use crate::job::Interrupts;

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
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

/// What ends it from outside.
#[derive(Debug)]
pub(super) struct Stops {
    /// The end of `--timeout`.
    pub deadline: Option<Instant>,
    /// Signals, where there are cursors to be saved.
    pub signals: Option<Interrupts>,
}

impl Stops {
    pub(super) fn new(deadline: Option<Instant>, hold_signals: bool) -> Result<Self> {
        let signals = hold_signals.then(Interrupts::hold).transpose();
        let signals = signals.context("signals cannot be held back")?;
        Ok(Self { deadline, signals })
    }

    /// Whether it is time to end.
    pub(super) fn due(&self) -> Option<Stop> {
        let signal = self.signals.as_ref().and_then(Interrupts::arrived);
        let over = self.deadline.is_some_and(|at| at <= Instant::now());
        signal.map(Stop::Signal).or(over.then_some(Stop::Timeout))
    }
}

/// What was met on the way.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// Damage, or a gap.
    pub damage: bool,
    /// A run that cannot be read.
    pub trouble: bool,
    /// A run that was removed while it was followed by its name.
    pub removed: bool,
}

impl Met {
    /// The exit code, where without all this it would be `code`.
    pub(super) fn code(&self, code: Code) -> Code {
        match self {
            Self { trouble: true, .. } => Code::Io,
            Self { damage: true, .. } => Code::Damage,
            Self { removed: true, .. } => Code::NotFound,
            _ => code,
        }
    }
}
