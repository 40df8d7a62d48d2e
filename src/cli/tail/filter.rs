//! Which lines to show, and which one is the last.

use jiff::Timestamp;

use super::until::Until;
use crate::cli::tail::Args;
use crate::log::EventHead;

/// The conditions that the options set for a line.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    args: &'a Args,
    until: Option<Timestamp>,
    last: Option<&'a str>,
}

/// The result of matching a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matched {
    /// Whether the line is shown.
    pub shown: bool,
    /// Whether nothing is shown after the line.
    pub last: bool,
}

impl<'a> Filter<'a> {
    pub(crate) fn new(args: &'a Args) -> Self {
        let (until, last) = match &args.until {
            Some(Until::Time(until)) => (Some(*until), None),
            Some(Until::Type(kind)) => (None, Some(kind.as_str())),
            Some(Until::State(_)) | None => (None, None),
        };
        Self { args, until, last }
    }

    /// Returns whether to show a line.
    pub(crate) fn wants(&self, line: &[u8]) -> bool {
        self.matches(line).shown
    }

    /// Returns whether a line was written after the time of `--until`.
    pub(crate) fn is_too_late(&self, line: &[u8]) -> bool {
        self.until.is_some_and(|until| {
            let ts = EventHead::parse(line).and_then(|head| head.ts);
            ts.is_some_and(|ts| ts > until)
        })
    }

    /// Matches a line. The event that ends `tail` need not have one of the types that are shown.
    pub(crate) fn matches(&self, line: &[u8]) -> Matched {
        let args = self.args;
        let any_type = args.kind.is_empty() && self.last.is_none();
        if any_type && args.job.is_none() && args.since.is_none() && self.until.is_none() {
            let (shown, last) = (true, false);
            return Matched { shown, last };
        }
        let Some(head) = EventHead::parse(line) else {
            let (shown, last) = (false, false);
            return Matched { shown, last };
        };
        let ts = head.ts;
        let concerns = args
            .job
            .as_deref()
            .is_none_or(|wanted| head.job.as_ref().is_some_and(|job| *job == *wanted))
            && args
                .since
                .is_none_or(|since| ts.is_some_and(|ts| ts >= since))
            && self
                .until
                .is_none_or(|until| ts.is_some_and(|ts| ts <= until));
        let of_type =
            args.kind.is_empty() || args.kind.iter().any(|kind| kind == head.kind.as_str());
        Matched {
            shown: concerns && of_type,
            last: concerns && self.last == Some(head.kind.as_str()),
        }
    }
}
