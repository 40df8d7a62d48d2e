//! `--as` and `--export`: writes the run for another program.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::output::report_lost;
use super::source::ReplaySource;
use super::state::StateAt;
use super::timeline::inspect_now;
use crate::cli::atomic_output::{AtomicOutput, belongs_to};
use crate::cli::context::{DamageWarnings, Global, warn_gap};
use crate::cli::exit::Code;
use crate::cli::replay::args::{Args, ExportFormat, InteropFormat};
use crate::cli::replay::{ReadControl, read, report_skipped};
use crate::cli::usual_duration::add_usual;
use crate::job::{PlaybackItem, UsualDuration, play};
use crate::log::{Item, fresh_ulid};
use crate::render::export::asciicast::Asciicast;
use crate::render::export::chrome_trace::ChromeTrace;
use crate::render::export::csv::CsvEvents;
use crate::render::export::github::Github;
use crate::render::export::html::Html;
use crate::render::export::junit::Junit;
use crate::render::export::markdown::Markdown;
use crate::render::export::otlp::Otlp;
use crate::render::export::prometheus::Prometheus;
use crate::render::export::{Export, OutputChunk, markdown};
use crate::render::{AsOmne, AsRuntimo, RunRecord};
use crate::volume::{Dir, RunId};

impl InteropFormat {
    pub(crate) fn export(self, run: &RunId) -> Box<dyn Export> {
        match self {
            Self::Omne => Box::new(AsOmne::new(run.clone())),
            Self::Runtimo => Box::new(AsRuntimo::default()),
        }
    }
}

impl ExportFormat {
    pub(crate) fn export(self, run: &RunId) -> Box<dyn Export> {
        match self {
            Self::Html => Box::new(Html::default()),
            Self::ChromeTrace => Box::new(ChromeTrace::new(run)),
            Self::Junit => Box::new(Junit::default()),
            Self::Github => Box::new(Github::new(unguessable_token())),
            Self::Markdown => Box::new(Markdown),
            Self::Otlp => Box::new(Otlp::new(run.clone())),
            Self::Asciicast => Box::new(Asciicast::default()),
            Self::Prometheus => Box::new(Prometheus),
            Self::Csv => Box::new(CsvEvents::default()),
        }
    }
}

/// Returns a token that the output of a job cannot contain.
fn unguessable_token() -> String {
    format!("runlog-{}", fresh_ulid())
}

pub(crate) fn execute(
    args: &Args,
    global: &Global,
    source: &ReplaySource,
    mut export: Box<dyn Export>,
) -> Result<Code> {
    if let Some(path) = args.out.as_deref().filter(|path| source.contains(path)) {
        return Err(belongs_to(path, "the log that is being read"));
    }
    let mut out = AtomicOutput::create(args.out.as_deref(), global)?;
    let mut state_at = StateAt::default();
    let mut code = Code::Ok;
    let mut warnings = DamageWarnings::default();
    match source {
        ReplaySource::Run(_, dir) if export.wants_output() => {
            play(dir, None, |ts, played| {
                match played {
                    PlaybackItem::Item(Item::Damage(damage)) => {
                        code = report_skipped(args, damage)?;
                        warnings.warn(damage);
                    }
                    PlaybackItem::Item(Item::Dropped(gap)) => {
                        code = Code::Damage;
                        warn_gap(gap);
                    }
                    _ => {}
                }
                export_played(&mut *export, &mut out, &mut state_at, ts, &played)
            })?;
        }
        _ => {
            code = read(args, source, |item| {
                match item {
                    Item::Damage(damage) => warnings.warn(damage),
                    Item::Dropped(gap) => warn_gap(gap),
                    Item::Event(..) | Item::Foreign(..) => {}
                }
                state_at.apply(None, item);
                out.with(|out| export.item(out, item, &state_at.fold.state))?;
                Ok(ReadControl::Continue)
            })?;
        }
    }
    warnings.finish();
    let verdict = inspect_now(source.dir(), &state_at.fold.state)?;
    let mut report = state_at.report(source.run(), source.dir(), verdict);
    if args.mode.export == Some(ExportFormat::Html)
        && let ReplaySource::Run(..) = source
    {
        add_usual(&mut report, &global.volume()?);
    }
    out.with(|out| export.end(out, &report))?;
    out.finish()?;
    if args.mode.export == Some(ExportFormat::Github) {
        let mut summary = Vec::new();
        markdown(&mut summary, &report)?;
        add_summary(&summary)?;
    }
    Ok(code)
}

/// Writes a run with its output in another format, and returns the run. `usual` is how long such
/// runs take. Damage is skipped with a warning.
pub(crate) fn export_with_output(
    dir: &Dir,
    run: &RunId,
    usual: Option<UsualDuration>,
    export: &mut dyn Export,
    out: &mut AtomicOutput,
) -> Result<RunRecord> {
    let mut state_at = StateAt::default();
    let mut warnings = DamageWarnings::default();
    play(dir, None, |ts, played| {
        match played {
            PlaybackItem::Item(Item::Damage(damage)) => warnings.warn(damage),
            PlaybackItem::Item(Item::Dropped(gap)) => warn_gap(gap),
            _ => {}
        }
        export_played(export, out, &mut state_at, ts, &played)
    })?;
    warnings.finish();
    let verdict = inspect_now(dir, &state_at.fold.state)?;
    let mut record = state_at.report(run, dir, verdict);
    record.set_usual(usual);
    out.with(|out| export.end(out, &record))?;
    Ok(record)
}

fn export_played(
    export: &mut dyn Export,
    out: &mut AtomicOutput,
    state_at: &mut StateAt,
    ts: Option<Timestamp>,
    played: &PlaybackItem<'_>,
) -> Result<()> {
    match *played {
        PlaybackItem::Item(item) => {
            state_at.apply(None, item);
            out.with(|out| export.item(out, item, &state_at.fold.state))
        }
        PlaybackItem::Output { job, stream, bytes } => {
            let chunk = OutputChunk {
                job,
                stream,
                ts,
                bytes,
            };
            out.with(|out| export.output(out, chunk))
        }
        PlaybackItem::OutputLost { job, left, stored } => {
            report_lost(job, left, stored);
            Ok(())
        }
    }
}

/// Appends the summary: the steps of a workflow share one file.
fn add_summary(summary: &[u8]) -> Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let path = Path::new(&path);
    let context = || format!("cannot write `{}`", path.display());
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).open(path);
    let mut file = file.with_context(context)?;
    file.write_all(summary).with_context(context)
}
