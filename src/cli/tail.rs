//! `runlog tail`.

use std::borrow::Cow;
use std::io::{self, Write};

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;

use super::Global;
use super::context::say;
use super::exit::Code;
use super::values::{parse_moment, parse_stream};
use crate::job::{Inspected, JobOutput, RunStateKind, SkipLines, StreamId, examine, inspect};
use crate::log::{Follower, Item, RunState, Waiter, fold, last_lines};
use crate::render::{Style, event_line};
use crate::volume::{Dir, JobId, parse_ts};

/// Lines that are shown where nothing else is asked for.
const DEFAULT_LINES: usize = 10;

/// Show the last events of a run, or what its jobs printed
///
/// RUN is an id, the beginning of one, or `latest`. With -f it goes on until the run
/// has ended: completed, failed, lost or unknown.
///
/// Exit codes: 0 fine; 2 wrong arguments; 3 no such volume or run; 5 damage in the log,
/// which was passed over; 7 I/O.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run
    #[arg(default_value = "latest")]
    run: String,

    /// How many of the last ones: a number, or `all` [default: 10; all with --output]
    #[arg(short, long = "lines", value_name = "N", value_parser = parse_lines)]
    n: Option<usize>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "output")]
    kind: Vec<String>,
    /// Only what concerns this job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Only events since then: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = parse_moment, conflicts_with = "output")]
    since: Option<Timestamp>,
    /// Only events until then: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = parse_moment, conflicts_with = "output")]
    until: Option<Timestamp>,
    /// The events as they are stored, byte for byte
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// What the jobs printed, instead of events
    #[arg(long)]
    output: bool,
    /// Only what they printed there
    #[arg(long, value_name = "STREAM", value_parser = parse_stream, requires = "output")]
    stream: Option<StreamId>,
    /// Go on as the run goes on, until it has ended
    #[arg(short, long)]
    follow: bool,
}

fn parse_lines(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        n => n
            .parse()
            .map_err(|_| format!("`{text}` is not a number; write one, or `all`")),
    }
}

pub(super) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let (_, dir) = global.run(&args.run)?;
    // Watched from before the first look, so that nothing comes in between unseen.
    let waiter = args.follow.then(|| Waiter::new(&dir));
    if args.output {
        return output(args, &dir, waiter.as_ref());
    }
    let n = args.n.unwrap_or(DEFAULT_LINES);
    let mut reader = last_lines(&dir, n, &|line| args.wants(line))?;
    let mut shown = Shown {
        args,
        style: global.style(),
        out: io::BufWriter::new(io::stdout().lock()),
        damaged: false,
    };
    while let Some(item) = reader.next_item()? {
        shown.item(&item)?;
    }
    shown.out.flush()?;
    if let Some(waiter) = waiter {
        let mut follower = Follower::behind(&reader, &dir);
        let mut end = EndOfRun::default();
        loop {
            let ended = end.is_reached(&dir)?;
            let any = follower.news(|item| -> Result<()> {
                end.take(&item);
                shown.item(&item)
            })?;
            shown.out.flush()?;
            if any {
                continue;
            }
            if let Some(ended) = ended {
                if matches!(ended.state, RunStateKind::Lost | RunStateKind::Unknown) {
                    say(format_args!(
                        "run is {}: {}",
                        ended.state.as_str(),
                        ended.because
                    ));
                }
                break;
            }
            waiter.wait(None);
        }
    }
    Ok(if shown.damaged {
        Code::Damage
    } else {
        Code::Ok
    })
}

/// What is printed of the events.
struct Shown<'a> {
    args: &'a Args,
    style: Style,
    out: io::BufWriter<io::StdoutLock<'static>>,
    damaged: bool,
}

impl Shown<'_> {
    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        let line = match item {
            Item::Event(_, line) | Item::Foreign(_, line) => line,
            Item::Damage(damage) => {
                self.out.flush()?;
                say(format_args!("warning: {damage}"));
                self.damaged = true;
                return Ok(());
            }
        };
        if !self.args.wants(line) {
            return Ok(());
        }
        if self.args.json {
            self.out.write_all(line)?;
        } else {
            self.out
                .write_all(event_line(line, self.style).as_bytes())?;
        }
        self.out.write_all(b"\n")?;
        Ok(())
    }
}

/// What the filters look at.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    job_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    node_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ts: Time<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Seconds(i64),
}

impl Args {
    fn wants(&self, line: &[u8]) -> bool {
        let all = self.kind.is_empty() && self.job.is_none();
        if all && self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Ok(head) = serde_json::from_slice::<Head<'_>>(line) else {
            return false;
        };
        let ts = match &head.ts {
            Time::Text(ts) => parse_ts(ts),
            Time::Seconds(s) => Timestamp::from_second(*s).ok(),
        };
        let job = head.job_id.or(head.node_id);
        (self.kind.is_empty() || self.kind.iter().any(|kind| *kind == head.kind))
            && self
                .job
                .as_deref()
                .is_none_or(|wanted| job.as_deref() == Some(wanted))
            && self
                .since
                .is_none_or(|since| ts.is_some_and(|ts| ts >= since))
            && self
                .until
                .is_none_or(|until| ts.is_some_and(|ts| ts <= until))
    }
}

/// Tells when a run that is followed has ended.
#[derive(Default)]
struct EndOfRun {
    state: Option<RunState>,
}

impl EndOfRun {
    fn take(&mut self, item: &Item<'_>) {
        if let Some(state) = &mut self.state {
            item.fold_into(state);
        }
    }

    fn is_reached(&mut self, dir: &Dir) -> Result<Option<Inspected>> {
        let state = match &self.state {
            Some(state) => state,
            None => self.state.insert(fold(dir)?),
        };
        let mut inspected = inspect(dir, state);
        if inspected.state == RunStateKind::Lost {
            // Its end may have been written just before the lease was looked at.
            inspected = examine(dir, false)?.inspected;
        }
        Ok(inspected.state.has_ended().then_some(inspected))
    }
}

/// `tail --output`.
fn output(args: &Args, dir: &Dir, waiter: Option<&Waiter>) -> Result<Code> {
    let mut out = io::stdout().lock();
    let mut jobs: Vec<(String, Option<JobOutput>, SkipLines)> = Vec::new();
    loop {
        let examined = examine(dir, true)?;
        for job in &examined.overview.state.jobs {
            let wanted = args.job.as_ref().is_none_or(|id| *id == job.job_id);
            if wanted && !jobs.iter().any(|(id, _, _)| *id == job.job_id) {
                jobs.push((job.job_id.clone(), None, SkipLines::default()));
            }
        }
        let mut any = false;
        for (id, output, skip) in &mut jobs {
            if output.is_none()
                && let Ok(job) = id.parse::<JobId>()
            {
                *output = JobOutput::open(dir, &job)?;
                if let (Some(output), Some(n)) = (&mut *output, args.n.filter(|n| *n < usize::MAX))
                {
                    *skip = output.skip_to_last(n, args.stream)?;
                }
            }
            if let Some(output) = output {
                any |= output.copy(&mut out, args.stream, skip)?;
            }
        }
        out.flush()?;
        let Some(waiter) = waiter else {
            for job in &examined.overview.state.jobs {
                let why = job.output.as_ref().and_then(|o| o.truncated.as_ref());
                if let Some(why) = why.filter(|_| jobs.iter().any(|(id, _, _)| *id == job.job_id)) {
                    say(format_args!("job {}: {why}", job.job_id));
                }
            }
            if let Some(job) = args.job.as_ref().filter(|_| jobs.is_empty()) {
                say(format_args!("error: the run has no job {job}"));
                return Ok(Code::NotFound);
            }
            return Ok(Code::Ok);
        };
        if any {
            continue;
        }
        if examined.inspected.state.has_ended() {
            return Ok(Code::Ok);
        }
        waiter.wait(None);
    }
}
