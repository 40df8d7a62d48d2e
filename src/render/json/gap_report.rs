//! Lines that cannot be shown any more, as a line of JSON and as a line for people.

use serde::Serialize;

use crate::log::{Gap, GapReason};
use crate::render::human::text::{Role, Style, precise_time};
use crate::volume::{RunId, now_ts};

/// Some of a run's lines are missing.
#[derive(Debug, Serialize)]
pub struct GapReport<'a> {
    /// Tells it from an event: always `gap`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When it was found.
    ts: String,
    /// The run.
    run_id: &'a RunId,
    /// The number of the first missing event, where it is known.
    from_seq: Option<u64>,
    /// The number of the last missing event, where it is known.
    to_seq: Option<u64>,
    /// Why they are missing: `dropped`, `changed`, `removed`.
    reason: &'static str,
    /// The same for people.
    message: String,
}

impl<'a> GapReport<'a> {
    /// Tells of a gap that was found now.
    pub fn new(run: &'a RunId, gap: &Gap) -> Self {
        Self {
            kind: "gap",
            ts: now_ts(),
            run_id: run,
            from_seq: gap.from_seq,
            to_seq: gap.to_seq,
            reason: gap.why.as_str(),
            message: message(gap),
        }
    }

    /// The line for people.
    pub fn people(&self, style: Style) -> String {
        let what = style.paint(Role::Bad, "✗ gap");
        let ts = style.paint(Role::Faint, &precise_time(&self.ts));
        let seq = style.paint(Role::Faint, "    -");
        format!("{ts} {seq}  {what}           {}", self.message)
    }
}

fn message(gap: &Gap) -> String {
    let which = match (gap.from_seq, gap.to_seq) {
        (Some(from), Some(to)) if from == to => format!("event {from} is missing"),
        (Some(from), Some(to)) => format!("events {from} to {to} are missing"),
        (Some(from), None) => format!("events from {from} on may be missing"),
        (None, _) => "events may be missing".to_owned(),
    };
    let why = match gap.why {
        GapReason::Dropped => "their segment was dropped",
        GapReason::Changed => {
            "the log does not hold what was read last any more; what there is follows"
        }
        GapReason::Removed => "the run was removed",
    };
    format!("{which}: {why}")
}
