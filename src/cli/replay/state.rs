//! `--state`: the folded state of a run, now or at some point of its log.

use std::io;
use std::io::Write as _;

use anyhow::Result;
use jiff::Timestamp;

use super::source::ReplaySource;
use super::timeline::inspect_now;
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::replay::{Args, ReplayMode, read, warn};
use crate::cli::value_parsers::parse_moment;
use crate::job::{InspectedRun, RunVerdict, status_at};
use crate::log::{Damage, EventType, Fold, Item, RunSummary};
use crate::render::{Format, Human, JsonLines, ReportedAt, RunRecord, line_time};
use crate::volume::parse_ts;

/// A point in the life of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AtPoint {
    /// Behind the event of that number.
    Seq(u64),
    /// Before the first event that is later.
    Time(Timestamp),
}

impl AtPoint {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(seq) = text.trim().parse() {
            return Ok(Self::Seq(seq));
        }
        parse_moment(text).map(Self::Time).map_err(|_| {
            format!(
                "`{text}` is no point of a run; write the number of an event (7), a time \
                 (2026-11-21T21:49:00Z) or how long ago (15m)"
            )
        })
    }

    /// Whether the line is behind this point.
    fn is_before(self, item: &Item<'_>) -> bool {
        let ts = match (self, item) {
            (Self::Seq(point), Item::Event(env, _)) => return env.seq > point,
            (_, Item::Event(env, _)) => parse_ts(env.ts),
            (_, Item::Foreign(_, line)) => line_time(line),
            (_, Item::Damage(_)) => None,
        };
        matches!((self, ts), (Self::Time(point), Some(ts)) if ts > point)
    }
}

/// What was read until the point.
#[derive(Default)]
pub(crate) struct StateAt {
    pub fold: Fold,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    foreign: u64,
    /// Of the segment that was read last, in bytes.
    bytes: u64,
    damage: Vec<Damage>,
    at: ReportedAt,
    /// There is an event behind the point.
    goes_on: bool,
}

pub(crate) fn execute(args: &Args, global: &Global, source: &ReplaySource) -> Result<Code> {
    let mut past = StateAt::default();
    let code = read(args, source, |item| Ok(past.take(args.at, item)))?;
    past.damage.iter().for_each(warn);
    if let Some((code, why)) = args.at.and_then(|point| past.unknown(point)) {
        print_stderr(format_args!("error: run {}: {why}", source.run()));
        return Ok(code);
    }
    let inspected = match args.at {
        None => inspect_now(source.dir(), &past.fold.state)?,
        Some(_) => status_at(source.dir(), &past.fold.state),
    };
    let at = args.at.map(|_| std::mem::take(&mut past.at));
    let mut report = past.report(source, inspected);
    report.at = at;
    let format: Box<dyn Format> = if args.json {
        Box::new(JsonLines)
    } else {
        Box::new(Human(global.style()))
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    format.run(&mut out, &report)?;
    out.flush()?;
    Ok(code)
}

impl StateAt {
    /// The run as it was read.
    pub(crate) fn report(self, source: &ReplaySource, inspected: RunVerdict) -> RunRecord {
        let overview = RunSummary {
            events: self.last_seq.map_or(0, |seq| seq + 1) + self.foreign,
            bytes: self.fold.state.sealed_bytes + self.bytes,
            state: self.fold.state,
            damage: self.damage,
        };
        let examined = InspectedRun {
            summary: overview,
            verdict: inspected,
        };
        let folder = source.dir().path().to_owned();
        RunRecord::new(source.run().clone(), folder, examined)
    }

    /// Takes what comes next, unless it is behind the point.
    pub(crate) fn take(&mut self, point: Option<AtPoint>, item: &Item<'_>) -> ReplayMode {
        if let Item::Event(env, _) = item {
            self.first_seq.get_or_insert(env.seq);
        }
        if point.is_some_and(|point| point.is_before(item)) {
            self.goes_on = true;
            return ReplayMode::Stop;
        }
        self.fold.apply(item);
        let line = match item {
            Item::Event(env, line) => {
                if env.kind == EventType::LogRotated.as_str() {
                    self.bytes = 0;
                }
                self.last_seq = Some(env.seq);
                self.at.seq = Some(env.seq);
                self.at.ts = Some(env.ts.to_owned());
                line
            }
            Item::Foreign(_, line) => {
                self.foreign += 1;
                self.at.ts = line_time(line).map(|ts| format!("{ts:.6}"));
                line
            }
            Item::Damage(damage) => {
                self.damage.push(damage.clone());
                return ReplayMode::Read;
            }
        };
        self.bytes += line.len() as u64 + 1;
        match (point, item) {
            // What comes behind it does not concern it.
            (Some(AtPoint::Seq(seq)), Item::Event(env, _)) if env.seq == seq => ReplayMode::Stop,
            _ => ReplayMode::Read,
        }
    }

    /// Why the state at that point cannot be told.
    fn unknown(&self, point: AtPoint) -> Option<(Code, String)> {
        let first = self.first_seq.unwrap_or(0);
        let nothing = self.last_seq.is_none() && self.foreign == 0;
        match point {
            AtPoint::Seq(seq) if seq < first => Some((Code::Damage, dropped(first))),
            AtPoint::Seq(seq) if !self.goes_on && self.last_seq != Some(seq) => {
                let last = match self.last_seq {
                    Some(last) => format!("its last one is {last}"),
                    None => "its lines have no numbers".to_owned(),
                };
                Some((Code::Negative, format!("there is no event {seq}; {last}")))
            }
            AtPoint::Time(_) if nothing && first > 0 => Some((Code::Damage, dropped(first))),
            AtPoint::Time(_) if nothing => {
                Some((Code::Negative, "it had not begun at that time".to_owned()))
            }
            _ => None,
        }
    }
}

fn dropped(first: u64) -> String {
    format!("the events before {first} are gone, so the state at that point is not known")
}
