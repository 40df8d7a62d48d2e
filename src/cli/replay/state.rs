//! `--state`: shows the state of a run, now or at a point of its log.
//!
//! An integer is the sequence number of an event. Unix seconds are not accepted, because they
//! would be indistinguishable from one. The state at a time ends before the first event that is
//! later, so that a clock that stepped back does not produce a state that the run never had. A
//! job that has no end at the point counts as running, because the log does not say whether its
//! supervisor was alive then.

use anyhow::Result;

use super::at_point::AtPoint;
use super::source::ReplaySource;
use super::timeline::inspect_now;
use crate::cli::context::{Global, print_stderr, warn_damage};
use crate::cli::exit::Code;
use crate::cli::replay::{Args, ReadControl, read};
use crate::cli::stdout_report::StdoutReport;
use crate::job::{InspectedRun, RunVerdict, status_at};
use crate::log::{DamageList, EventType, Fold, Item, RunSummary};
use crate::render::{Human, JsonLines, ReportedAt, RunPrinter as _, RunRecord, line_time};

use crate::volume::{Dir, RunId};

/// The state of a run, folded up to a point.
#[derive(Default)]
pub(crate) struct StateAt {
    pub fold: Fold,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    foreign: u64,
    /// The number of bytes read from the last segment.
    bytes: u64,
    damage: DamageList,
    at: ReportedAt,
    /// Whether there is an event after the point.
    has_more: bool,
}

pub(crate) fn execute(args: &Args, global: &Global, source: &ReplaySource) -> Result<Code> {
    let mut state_at = StateAt::default();
    let code = read(args, source, |item| Ok(state_at.apply(args.at, item)))?;
    warn_damage(&state_at.damage);
    if let Some((code, why)) = args.at.and_then(|point| state_at.unknown(point)) {
        print_stderr(format_args!("error: run {}: {why}", source.run()));
        return Ok(code);
    }
    let verdict = match args.at {
        None => inspect_now(source.dir(), &state_at.fold.state)?,
        Some(_) => status_at(source.dir(), &state_at.fold.state),
    };
    let at = args.at.map(|_| std::mem::take(&mut state_at.at));
    let mut report = state_at.report(source.run(), source.dir(), verdict);
    if let Some(ts) = at.as_ref().and_then(|at| at.ts) {
        report.set_elapsed(ts);
    }
    report.at = at;
    let mut out = StdoutReport::new();
    out.print(|out| {
        if args.json {
            JsonLines.run(out, &report)
        } else {
            Human(global.style()).run(out, &report)
        }
    });
    out.finish(code)
}

impl StateAt {
    /// Returns the record of the run as it was read.
    pub(crate) fn report(self, run: &RunId, dir: &Dir, verdict: RunVerdict) -> RunRecord {
        let summary = RunSummary {
            events: self.last_seq.map_or(0, |seq| seq + 1) + self.foreign,
            bytes: self.fold.state.sealed_bytes + self.bytes,
            is_uncertain: self.fold.is_uncertain(),
            state: self.fold.state,
            damage: self.damage,
        };
        let inspected = InspectedRun { summary, verdict };
        RunRecord::new(run.clone(), dir.path().to_owned(), inspected)
    }

    /// Folds the next item, unless it is after the point.
    pub(crate) fn apply(&mut self, point: Option<AtPoint>, item: &Item<'_>) -> ReadControl {
        if let Item::Event(env, _) = item {
            self.first_seq.get_or_insert(env.seq);
        }
        if point.is_some_and(|point| point.is_before(item)) {
            self.has_more = true;
            return ReadControl::Stop;
        }
        self.fold.apply(item);
        let line = match item {
            Item::Event(env, line) => {
                if env.kind == EventType::LogRotated {
                    self.bytes = 0;
                }
                self.last_seq = Some(env.seq);
                self.at.seq = Some(env.seq);
                // Parsing the time of every event would take a fifth of the total time.
                if point.is_some() {
                    self.at.ts = env.timestamp();
                }
                line
            }
            Item::Foreign(_, line) => {
                self.foreign += 1;
                self.at.ts = line_time(line);
                line
            }
            Item::Damage(damage) => {
                self.damage.push(damage.clone());
                return ReadControl::Continue;
            }
            Item::Dropped(_) => {
                // Continue like a reader that opens the log now.
                *self = Self::default();
                return ReadControl::Continue;
            }
        };
        self.bytes += line.len() as u64 + 1;
        match (point, item) {
            // Later lines do not matter.
            (Some(AtPoint::Seq(seq)), Item::Event(env, _)) if env.seq == seq => ReadControl::Stop,
            _ => ReadControl::Continue,
        }
    }

    /// Returns why the state at the point is unknown, if it is.
    fn unknown(&self, point: AtPoint) -> Option<(Code, String)> {
        let first = self.first_seq.unwrap_or(0);
        let nothing = self.last_seq.is_none() && self.foreign == 0;
        match point {
            AtPoint::Seq(seq) if seq < first => Some((Code::Damage, dropped(first))),
            AtPoint::Seq(seq) if !self.has_more && self.last_seq != Some(seq) => {
                let last = match self.last_seq {
                    Some(last) => format!("the last one is {last}"),
                    None => "its lines have no sequence numbers".to_owned(),
                };
                Some((Code::Negative, format!("there is no event {seq}; {last}")))
            }
            AtPoint::Time(_) if nothing && first > 0 => Some((Code::Damage, dropped(first))),
            AtPoint::Time(_) if nothing => {
                Some((Code::Negative, "it had not started at that time".to_owned()))
            }
            _ => None,
        }
    }
}

fn dropped(first: u64) -> String {
    format!("the events before {first} were dropped, so the state at that point is unknown")
}
