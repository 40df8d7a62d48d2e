//! Which runs may go: a pure function of the runs, the policy and the time. What
//! `--dry-run` shows is what the real run then does.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::log::state::run_status::RunStatus;
use crate::volume::RunId;

/// A run folder without any event that was touched within this time is a run in the
/// making.
pub(crate) const CREATION_GRACE: Duration = Duration::from_hours(1);

/// Whether a run is one that can go at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eligibility {
    /// It has ended: any limit may take it.
    Ended,
    /// Whether it has ended cannot be told: it goes only when it is named, and was not
    /// touched for a given time.
    Unsure,
    /// It goes on, or may go on: it never goes.
    Live,
    /// A folder without any event.
    Empty,
}

/// What is known of a run folder.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInfo {
    /// Its id.
    pub run_id: RunId,
    /// Its name for people.
    pub name: String,
    /// Its state; `None` for a folder without any event.
    pub state: Option<RunStatus>,
    /// Whether it can go at all.
    pub standing: Eligibility,
    /// The id of its first event.
    pub first_id: Option<String>,
    /// When its first event was written.
    pub opened_ts: Option<String>,
    /// When it was closed.
    pub closed_ts: Option<String>,
    /// When it was closed, or else touched last.
    pub since: Timestamp,
    /// How many events it has.
    pub events: u64,
    /// All of its folder on disk, in bytes.
    pub bytes: u64,
    /// Somebody asked for this very run.
    pub named: bool,
}

/// What may go. A limit of 0 is zero, not "no limit".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Runs that ended so long ago go.
    pub max_age: Option<Duration>,
    /// All but so many of the runs go, as far as they have ended.
    pub max_runs: Option<usize>,
    /// Runs that have ended go until the rest takes no more bytes on disk.
    pub max_size: Option<u64>,
    /// Failed and lost runs that ended less long ago stay, whatever else is said.
    pub keep_failed: Option<Duration>,
    /// Folders without any event go, an hour after they were touched last.
    pub orphans: bool,
}

/// Why a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveReason {
    /// It ended so long ago, which is over the limit.
    Age(Duration, Duration),
    /// There are more runs than the limit.
    Runs(usize),
    /// The runs take more bytes than the limit.
    Size(u64),
    /// It has no event, and was not touched for so long.
    Orphan(Duration),
}

/// Why a run stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// No limit asks for it.
    Fits,
    /// It failed less long ago than is asked for.
    Failed(Duration),
    /// It goes on, or may go on.
    Live,
    /// Whether it has ended cannot be told, and it was not named with an age.
    Unsure,
    /// It has no event yet.
    Making,
}

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionDecision {
    /// It stays.
    Keep(KeepReason),
    /// It goes.
    Remove(RemoveReason),
}

impl Policy {
    /// Whether anything may go at all.
    pub(crate) fn limits(&self) -> bool {
        self.max_age.is_some() || self.max_runs.is_some() || self.max_size.is_some() || self.orphans
    }

    /// What becomes of each of the runs, in their order.
    pub(crate) fn plan(&self, runs: &[RunInfo], now: Timestamp) -> Vec<RetentionDecision> {
        let mut verdicts: Vec<_> = runs.iter().map(|run| self.by_age(run, now)).collect();
        self.by_room(runs, &mut verdicts);
        verdicts
    }

    fn by_age(&self, run: &RunInfo, now: Timestamp) -> RetentionDecision {
        let age = age(run.since, now);
        let over = self.max_age.filter(|limit| age >= *limit);
        match run.standing {
            Eligibility::Live => RetentionDecision::Keep(KeepReason::Live),
            Eligibility::Empty if self.orphans && age >= CREATION_GRACE => {
                RetentionDecision::Remove(RemoveReason::Orphan(age))
            }
            Eligibility::Empty => RetentionDecision::Keep(KeepReason::Making),
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
            Some(RunStatus::Failed | RunStatus::Lost | RunStatus::Unknown)
        );
        self.keep_failed.filter(|limit| failed && age < *limit)
    }

    /// The runs that ended first go until the rest fits. What stays counts, whatever
    /// keeps it.
    fn by_room(&self, runs: &[RunInfo], verdicts: &mut [RetentionDecision]) {
        let mut staying: Vec<_> = runs
            .iter()
            .zip(verdicts)
            .filter(|(run, verdict)| {
                run.standing != Eligibility::Empty && matches!(verdict, RetentionDecision::Keep(_))
            })
            .collect();
        let mut count = staying.len();
        let mut bytes: u64 = staying.iter().map(|(run, _)| run.bytes).sum();
        staying.retain(|(run, verdict)| {
            run.standing == Eligibility::Ended
                && **verdict == RetentionDecision::Keep(KeepReason::Fits)
        });
        staying.sort_by_key(|(run, _)| (run.since, &run.first_id, &run.run_id));
        for (run, verdict) in staying {
            let why = match (self.max_runs, self.max_size) {
                (Some(limit), _) if count > limit => RemoveReason::Runs(limit),
                (_, Some(limit)) if bytes > limit => RemoveReason::Size(limit),
                _ => break,
            };
            *verdict = RetentionDecision::Remove(why);
            count -= 1;
            bytes -= run.bytes;
        }
    }
}

/// Time from then to now; a clock that was turned back makes nothing old.
fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

impl RemoveReason {
    /// The limit's name, as in the settings.
    pub fn policy(&self) -> &'static str {
        match self {
            Self::Age(..) => "max_age",
            Self::Runs(_) => "max_runs",
            Self::Size(_) => "max_size",
            Self::Orphan(_) => "orphans",
        }
    }
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(age, limit) => {
                write!(f, "{} old, the limit is {}", span(*age), span(*limit))
            }
            Self::Runs(limit) => write!(f, "one run more than {limit}"),
            Self::Size(limit) => write!(f, "the runs take more than {limit} bytes"),
            Self::Orphan(age) => write!(f, "no event, and not touched for {}", span(*age)),
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
                "whether it has ended cannot be told; it goes only when it is named with an age",
            ),
            Self::Making => f.write_str("it has no event yet"),
        }
    }
}

/// A length of time in its two largest units, as the command line takes it.
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
