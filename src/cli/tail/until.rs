//! `--until`: a time, a state, or a type of event.
//!
//! If all named runs end without a match, the exit code is 1, so that
//! `tail --until state=completed && deploy` does not deploy. With `--all`, a run that had
//! already ended does not count, because an old volume always has a failed run.

use jiff::Timestamp;

use crate::cli::value_parsers::{parse_moment, parse_state};
use crate::job::RunStatus;

/// The condition that ends `tail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Until {
    /// Shows events until this time.
    Time(Timestamp),
    /// A run is in this state.
    State(RunStatus),
    /// An event of this type was written.
    Type(String),
}

/// Parses the value of `--until`.
pub(crate) fn parse_until(text: &str) -> Result<Until, String> {
    match text.split_once('=') {
        Some(("state", state)) => parse_state(state).map(Until::State),
        Some(("type", kind)) if !kind.is_empty() => Ok(Until::Type(kind.to_owned())),
        Some(_) => Err("write a time, state=STATE or type=TYPE".to_owned()),
        None => parse_moment(text).map(Until::Time),
    }
}

impl Until {
    /// Returns whether `tail` waits for this condition.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self, Self::Time(_))
    }

    /// Returns the message for a condition that was never met.
    pub(crate) fn never(&self) -> String {
        match self {
            Self::State(state) => format!("no run is in state `{}`", state.as_str()),
            Self::Type(kind) => format!("no event of type `{kind}` was found"),
            Self::Time(_) => String::new(),
        }
    }
}
