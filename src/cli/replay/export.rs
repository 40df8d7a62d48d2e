//! `--as` and `--export`: the run for another program.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::output::report_lost;
use super::source::ReplaySource;
use super::state::StateAt;
use super::timeline::inspect_now;
use crate::cli::atomic_output::{AtomicOutput, belongs_to};
use crate::cli::context::Global;
use crate::cli::exit::Code;
use crate::cli::replay::{Args, ReplayMode, read, report_skipped, warn};
use crate::job::{PlaybackItem, play};
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
use crate::render::{AsOmne, AsRuntimo};
use crate::volume::RunId;

/// A program that reads logs of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportTarget {
    /// omne-cli 0.2: `.omne/var/runs/<id>/events.jsonl`
    Omne,
    /// runtimo-core 0.1 and 0.10: its write-ahead log
    Runtimo,
}

/// What a run is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InteropFormat {
    /// One page with timeline, charts, output and events; needs nothing else
    Html,
    /// Trace events: Perfetto, about:tracing
    ChromeTrace,
    /// XML report: a case for each job
    Junit,
    /// Workflow commands; the summary is added to `$GITHUB_STEP_SUMMARY` where that is set
    Github,
    /// The summary of the run as Markdown
    Markdown,
    /// OTLP JSON Lines: a trace, and events and output as logs
    Otlp,
    /// asciicast v2: the output as it came, for asciinema
    Asciicast,
    /// Metrics in the text format; `status --export prometheus` has those of all runs
    Prometheus,
    /// A row for each event; `status --export csv` has one for each job
    Csv,
}

impl ExportTarget {
    pub(crate) fn export(self, run: &RunId) -> Box<dyn Export> {
        match self {
            Self::Omne => Box::new(AsOmne::new(run.clone())),
            Self::Runtimo => Box::new(AsRuntimo::default()),
        }
    }
}

impl InteropFormat {
    pub(crate) fn export(self, run: &RunId) -> Box<dyn Export> {
        match self {
            Self::Html => Box::new(Html::default()),
            Self::ChromeTrace => Box::new(ChromeTrace::new(run)),
            Self::Junit => Box::new(Junit::default()),
            Self::Github => Box::new(Github::new(token())),
            Self::Markdown => Box::new(Markdown),
            Self::Otlp => Box::new(Otlp::new(run.clone())),
            Self::Asciicast => Box::new(Asciicast::default()),
            Self::Prometheus => Box::new(Prometheus),
            Self::Csv => Box::new(CsvEvents::default()),
        }
    }
}

/// What nobody could put into what a job printed.
fn token() -> String {
    format!("runlog-{}", fresh_ulid())
}

pub(crate) fn execute(
    args: &Args,
    global: &Global,
    source: &ReplaySource,
    mut export: Box<dyn Export>,
) -> Result<Code> {
    if let Some(path) = args.out.as_deref().filter(|path| source.has_flag(path)) {
        return Err(belongs_to(path, "the log that is read"));
    }
    let mut out = AtomicOutput::create(args.out.as_deref(), global)?;
    let mut past = StateAt::default();
    let mut code = Code::Ok;
    match source {
        ReplaySource::Run(_, dir) if export.wants_output() => {
            play(dir, None, |ts, played| -> Result<()> {
                match played {
                    PlaybackItem::Item(item) => {
                        if let Item::Damage(damage) = item {
                            code = report_skipped(args, damage)?;
                            warn(damage);
                        }
                        past.take(None, item);
                        out.with(|out| export.item(out, item, &past.fold.state))
                    }
                    PlaybackItem::Output { job, stream, bytes } => {
                        let piece = OutputChunk {
                            job,
                            stream,
                            ts,
                            bytes,
                        };
                        out.with(|out| export.output(out, piece))
                    }
                    PlaybackItem::OutputLost { job, left, stored } => {
                        report_lost(job, left, stored);
                        Ok(())
                    }
                }
            })?;
        }
        _ => {
            code = read(args, source, |item| {
                if let Item::Damage(damage) = item {
                    warn(damage);
                }
                past.take(None, item);
                out.with(|out| export.item(out, item, &past.fold.state))?;
                Ok(ReplayMode::Read)
            })?;
        }
    }
    let inspected = inspect_now(source.dir(), &past.fold.state)?;
    let report = past.report(source, inspected);
    out.with(|out| export.end(out, &report))?;
    out.finish()?;
    if args.mode.export == Some(InteropFormat::Github) {
        let mut summary = Vec::new();
        markdown(&mut summary, &report)?;
        add_summary(&summary)?;
    }
    Ok(code)
}

/// Steps of a workflow add to one file: it is not replaced.
fn add_summary(summary: &[u8]) -> Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let path = Path::new(&path);
    let context = || format!("cannot write {}", path.display());
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).open(path);
    let mut file = file.with_context(context)?;
    file.write_all(summary).with_context(context)
}
