//! Retention: which runs may be removed.
//!
//! This is a pure function of the runs, the policy and the time. A dry run shows the plan that
//! the real run applies.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use ulid::Ulid;

use crate::log::state::run_status::RunStatus;
use crate::volume::RunId;

/// How long after its last change a run without events may still be about to start.
pub(crate) const CREATION_GRACE: Duration = Duration::from_hours(1);

/// Whether a run may be removed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eligibility {
    /// The run has ended, so any limit may remove it.
    Ended,
    /// It is unknown whether the run has ended. It is removed only if it is named and has not
    /// changed for a given time.
    Unsure,
    /// The run is live, or may be, so it is never removed.
    Live,
    /// The run has neither events nor output. It is removed once it has not changed for an hour.
    Empty,
}

/// The facts about a run's directory that retention needs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInfo {
    /// The id of the run.
    pub run_id: RunId,
    /// The name of the run.
    pub name: String,
    /// The state.
    pub state: RunStatus,
    /// Whether it may be removed at all.
    pub eligibility: Eligibility,
    /// The id of its first event.
    pub first_id: Option<Ulid>,
    /// The time of the first event.
    pub opened_ts: Option<Timestamp>,
    /// When the run was closed.
    pub closed_ts: Option<Timestamp>,
    /// When the run was closed, or else when it last changed.
    pub since: Timestamp,
    /// The number of events.
    pub events: u64,
    /// The disk usage of its directory, in bytes.
    pub bytes: u64,
    /// Whether the user named this run.
    pub named: bool,
}

/// The limits for removal. A limit of 0 means zero, not "no limit".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RetentionPolicy {
    /// Runs that ended at least this long ago are removed.
    pub max_age: Option<Duration>,
    /// Runs that have ended are removed, except the newest N of all runs.
    pub max_runs: Option<usize>,
    /// The oldest runs that have ended are removed until the rest use at most this many bytes.
    pub max_size: Option<u64>,
    /// Failed and lost runs that ended less than this ago are kept, whatever the limits are.
    pub keep_failed: Option<Duration>,
    /// Runs without events are removed, as with every other limit.
    pub orphans: bool,
    /// Named runs that have ended are removed, whatever the limits are.
    pub named: bool,
}

/// The reason why a run is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveReason {
    /// The run's age, and the limit that it reached.
    Age(Duration, Duration),
    /// There are more runs than this limit.
    Runs(usize),
    /// The runs use more bytes than this limit.
    Size(u64),
    /// The run has no events, and has not changed for this long.
    Orphan(Duration),
    /// The user named the run, without any limit.
    Named,
}

/// The reason why a run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// The run is within the limits.
    Fits,
    /// The run failed less than this ago.
    Failed(Duration),
    /// The run is live, or may be.
    Live,
    /// It is unknown whether the run has ended, and it was not named with an age.
    Unsure,
    /// The run has no events yet.
    Pending,
}

/// The decision about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionDecision {
    /// The run is kept.
    Keep(KeepReason),
    /// The run is removed.
    Remove(RemoveReason),
}

impl RetentionPolicy {
    /// Returns whether any limit is set.
    pub(crate) fn has_limit(&self) -> bool {
        self.max_age.is_some()
            || self.max_runs.is_some()
            || self.max_size.is_some()
            || self.orphans
            || self.named
    }

    /// Decides what happens to each run, in the order of `runs`.
    pub(crate) fn plan(&self, runs: &[RunInfo], now: Timestamp) -> Vec<RetentionDecision> {
        let mut decisions: Vec<_> = runs.iter().map(|run| self.by_age(run, now)).collect();
        self.by_room(runs, now, &mut decisions);
        decisions
    }

    fn by_age(&self, run: &RunInfo, now: Timestamp) -> RetentionDecision {
        let age = age(run.since, now);
        let over = self.max_age.filter(|limit| age >= *limit);
        match run.eligibility {
            Eligibility::Live => RetentionDecision::Keep(KeepReason::Live),
            Eligibility::Ended if self.named && run.named => {
                RetentionDecision::Remove(RemoveReason::Named)
            }
            Eligibility::Empty if self.has_limit() && age >= CREATION_GRACE => {
                RetentionDecision::Remove(RemoveReason::Orphan(age))
            }
            Eligibility::Empty => RetentionDecision::Keep(KeepReason::Pending),
            Eligibility::Unsure if !run.named || self.max_age.is_none() => {
                RetentionDecision::Keep(KeepReason::Unsure)
            }
            Eligibility::Ended | Eligibility::Unsure => match (over, self.kept_failed(run, age)) {
                (_, Some(limit)) => RetentionDecision::Keep(KeepReason::Failed(limit)),
                (Some(limit), None) => RetentionDecision::Remove(RemoveReason::Age(age, limit)),
                (None, None) => RetentionDecision::Keep(KeepReason::Fits),
            },
        }
    }

    fn kept_failed(&self, run: &RunInfo, age: Duration) -> Option<Duration> {
        let failed = matches!(
            run.state,
            RunStatus::Failed | RunStatus::Lost | RunStatus::Unknown
        );
        self.keep_failed.filter(|limit| failed && age < *limit)
    }

    /// Removes the runs that ended first: all but the newest N, and until the rest fits into the
    /// size. All kept runs count, whatever the reason for keeping them.
    ///
    /// If a run ended in the future, the clock was set back, and times say nothing about the
    /// order. Then the runs that were opened first are removed.
    fn by_room(&self, runs: &[RunInfo], now: Timestamp, decisions: &mut [RetentionDecision]) {
        let mut kept: Vec<_> = runs
            .iter()
            .zip(decisions)
            .filter(|(run, decision)| {
                run.eligibility != Eligibility::Empty
                    && matches!(decision, RetentionDecision::Keep(_))
            })
            .collect();
        let clock_was_set_back = kept
            .iter()
            .any(|(run, _)| run.eligibility == Eligibility::Ended && run.since > now);
        kept.sort_by_key(|(run, _)| {
            let at = (!clock_was_set_back).then(|| run.place());
            (at, &run.first_id, &run.run_id)
        });
        let mut bytes: u64 = kept.iter().map(|(run, _)| run.bytes).sum();
        let newer = (0..kept.len()).rev();
        for (newer, (run, decision)) in newer.zip(kept) {
            if run.eligibility != Eligibility::Ended
                || *decision != RetentionDecision::Keep(KeepReason::Fits)
            {
                continue;
            }
            let why = match (self.max_runs, self.max_size) {
                (Some(limit), _) if newer >= limit => RemoveReason::Runs(limit),
                (_, Some(limit)) if bytes > limit => RemoveReason::Size(limit),
                _ => break,
            };
            *decision = RetentionDecision::Remove(why);
            bytes -= run.bytes;
        }
    }
}

impl RunInfo {
    /// Returns the time that orders the run among the others: its end, or its start if it is
    /// live, so that a job that runs for long does not push out newer runs.
    fn place(&self) -> Timestamp {
        let opened = self
            .opened_ts
            .filter(|_| self.eligibility == Eligibility::Live);
        opened.unwrap_or(self.since)
    }
}

/// Returns the time from `then` to `now`; zero if the clock was set back.
fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

impl RemoveReason {
    /// Returns the name of the limit in the settings.
    pub fn policy(&self) -> &'static str {
        match self {
            Self::Age(..) => "max_age",
            Self::Runs(_) => "max_runs",
            Self::Size(_) => "max_size",
            Self::Orphan(_) => "orphans",
            Self::Named => "named",
        }
    }
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(age, limit) => {
                write!(f, "{} old, the limit is {}", span(*age), span(*limit))
            }
            Self::Runs(1) => f.write_str("more than 1 run"),
            Self::Runs(limit) => write!(f, "more than {limit} runs"),
            Self::Size(limit) => write!(f, "the runs use more than {limit} bytes"),
            Self::Orphan(age) => write!(f, "no event, and not touched for {}", span(*age)),
            Self::Named => f.write_str("it was named"),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fits => f.write_str("it is within the limits"),
            Self::Failed(limit) => write!(f, "it failed less than {} ago", span(*limit)),
            Self::Live => f.write_str("it has not ended"),
            Self::Unsure => f.write_str(
                "it is unknown whether it has ended; name it and give --max-age to remove it",
            ),
            Self::Pending => {
                f.write_str("it has no event yet; it is removed one hour after its last change")
            }
        }
    }
}

/// Formats a duration in its two largest units, as the command line accepts it.
fn span(time: Duration) -> String {
    let two = |n, unit, rest, of| match rest {
        0 => format!("{n}{unit}"),
        _ => format!("{n}{unit}{rest}{of}"),
    };
    match (time.as_secs(), time.as_millis()) {
        (0, 0) => "0s".to_owned(),
        (0, ms) => format!("{ms}ms"),
        (s @ 1..60, _) => format!("{s}s"),
        (s @ 60..3_600, _) => two(s / 60, "m", s % 60, "s"),
        (s @ 3_600..86_400, _) => two(s / 3_600, "h", s / 60 % 60, "m"),
        (s, _) => two(s / 86_400, "d", s / 3_600 % 24, "h"),
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
