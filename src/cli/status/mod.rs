//! `runlog status`.

mod runs;
mod screen;
mod watch;

use std::io;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::atomic_output::AtomicOutput;
use super::context::{Global, print_stderr, warn_damage};
use super::exit::Code;
use super::value_parsers::{parse_duration, parse_moment};
use crate::job::{RunStatus, inspect_run, inspect_runs};
use crate::log;
use crate::log::{ChangeWaiter, SelectError, StorageError, list};
use crate::render::export::csv::csv_jobs;
use crate::render::export::prometheus;
use crate::render::{Format, Human, JsonLines, RunRecord};
use crate::volume::{Dir, RunId, error_chain, parse_ts};

/// So many bytes are held before they are written.
const BUFFER: usize = 64 << 10;

/// Show the runs of the volume, or one run in detail
///
/// RUN is an id, the beginning of one, or `latest`. A finished run is told by its last
/// line, any other from its newest segments: `runlog replay --verify` finds older damage.
///
/// With --watch the runs are shown as they go on: what each job does, how far it is by what
/// former runs of its name took, and what it printed last. q or Ctrl-C ends it; with RUN it
/// ends with the run. A line with --json comes for each run, and then whenever its state or
/// one of its jobs gets on.
///
/// Exit codes: 0 fine; 2 wrong arguments; 3 no such volume or run; 5 damage in the log;
/// 7 I/O. With --wait, and with --watch RUN: 0 the run completed; 1 it failed, is lost or
/// unknown; 4 the time-out is over.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// The run to show in detail
    run: Option<String>,

    /// Only runs in this state
    #[arg(long, value_name = "STATE", value_parser = parse_state, conflicts_with = "run")]
    state: Vec<RunStatus>,
    /// Only runs of this name
    #[arg(long, conflicts_with = "run")]
    name: Option<String>,
    /// Only runs opened since then: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = parse_moment, conflicts_with = "run")]
    since: Option<Timestamp>,
    /// Only the newest N runs
    #[arg(short, long = "number", value_name = "N", conflicts_with = "run")]
    number: Option<usize>,
    /// The runs that gc removed, as they were
    #[arg(long)]
    retired: bool,
    /// Wait until the run has ended; its outcome is the exit code. An open run is waited for
    /// until it is closed
    #[arg(long, requires = "run", conflicts_with = "retired", group = "goes_on")]
    wait: bool,
    /// Show them as they go on, at a terminal or with --json
    #[arg(long, conflicts_with_all = ["retired", "export"], group = "goes_on")]
    watch: bool,
    /// Wait or watch no longer than this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "goes_on")]
    timeout: Option<Duration>,
    /// One line of JSON for each run
    #[arg(long)]
    json: bool,
    /// The runs as something that other tools take; of one run if it is named
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    export: Option<StatusFormat>,
    /// The file that --export writes, instead of stdout (`-`); it is there when it is whole,
    /// and what was there before stands until then
    #[arg(short, long, value_name = "FILE", requires = "export")]
    out: Option<PathBuf>,
}

/// What runs are exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StatusFormat {
    /// Metrics for the textfile collector of `node_exporter`
    Prometheus,
    /// A row for each job
    Csv,
}

pub(crate) fn parse_state(text: &str) -> Result<RunStatus, String> {
    RunStatus::parse(text).ok_or_else(|| {
        let all: Vec<_> = RunStatus::ALL.iter().map(|state| state.as_str()).collect();
        format!("a state is one of {}", all.join(", "))
    })
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    if let Some(form) = args.export {
        return export(args, global, form);
    }
    if args.watch {
        return watch::watch(args, global);
    }
    let format: Box<dyn Format> = if args.json {
        Box::new(JsonLines)
    } else {
        Box::new(Human(global.style()))
    };
    let mut out = io::BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let code = if args.retired {
        let (reports, code) = select_retired(args, global)?;
        match reports.as_slice() {
            [only] if args.run.is_some() => format.run(&mut out, only)?,
            _ => {
                let wanted = reports.into_iter().filter(|run| args.wants(run));
                let listed: io::Result<_> = wanted
                    .map(|run| Listed::new(run, |run| format.row(run)))
                    .collect();
                format.rows(&mut out, &args.apply_filters(listed?))?;
            }
        }
        code
    } else if let Some(name) = &args.run {
        let (report, code) = show_one(args, global, name)?;
        format.run(&mut out, &report)?;
        code
    } else {
        let row = |run: RunRecord| Listed::new(run, |run| format.row(run));
        let (listed, code) = select_runs(args, global, &row)?;
        format.rows(&mut out, &args.apply_filters(listed))?;
        code
    };
    out.flush().context("stdout cannot be written")?;
    Ok(code)
}

/// `--export`.
fn export(args: &Args, global: &Global, form: StatusFormat) -> Result<Code> {
    let mut out = AtomicOutput::create(args.out.as_deref(), global)?;
    let (runs, code) = if args.retired {
        let (runs, code) = select_retired(args, global)?;
        let wanted = runs.into_iter().filter(|run| args.wants(run));
        (
            args.apply_filters(wanted.map(Listed::whole).collect()),
            code,
        )
    } else if let Some(name) = &args.run {
        let (report, code) = show_one(args, global, name)?;
        (vec![report], code)
    } else {
        let (listed, code) = select_runs(args, global, &|run| Ok(Listed::whole(run)))?;
        (args.apply_filters(listed), code)
    };
    out.with(|out| match form {
        StatusFormat::Prometheus => prometheus(out, &runs),
        StatusFormat::Csv => csv_jobs(out, &runs),
    })?;
    out.finish()?;
    Ok(code)
}

/// The run of that name, as it is now or once it has ended.
fn show_one(args: &Args, global: &Global, name: &str) -> Result<(RunRecord, Code)> {
    let (run, dir) = global.run(name)?;
    if args.wait {
        wait(args, &run, &dir)
    } else {
        show_once(run, &dir)
    }
}

/// One run as it is now; damage is warned of.
fn show_once(run: RunId, dir: &Dir) -> Result<(RunRecord, Code)> {
    let examined = inspect_run(dir, true)?;
    warn_damage(&examined.summary.damage);
    let code = if examined.summary.damage.is_empty() {
        Code::Ok
    } else {
        Code::Damage
    };
    Ok((RunRecord::new(run, dir.path().to_owned(), examined), code))
}

/// Waits for the end of a run.
fn wait(args: &Args, run: &RunId, dir: &Dir) -> Result<(RunRecord, Code)> {
    let deadline = args.timeout.map(|t| Instant::now() + t);
    let waiter = ChangeWaiter::new(dir, false);
    loop {
        let examined = inspect_run(dir, true)?;
        let code = match examined.verdict.state {
            RunStatus::Completed => Code::Ok,
            RunStatus::Failed | RunStatus::Lost | RunStatus::Unknown => Code::Negative,
            RunStatus::Running | RunStatus::Open => {
                if deadline.is_some_and(|at| at <= Instant::now()) {
                    Code::Running
                } else {
                    waiter.wait_for_change(deadline);
                    continue;
                }
            }
        };
        warn_damage(&examined.summary.damage);
        let folder = dir.path().to_owned();
        return Ok((RunRecord::new(run.clone(), folder, examined), code));
    }
}

/// One of several runs, and what tells where it stands between the others: its age.
struct Listed<T> {
    first_id: Option<String>,
    run_id: RunId,
    row: T,
}

impl<T> Listed<T> {
    fn new(run: RunRecord, row: impl FnOnce(&RunRecord) -> io::Result<T>) -> io::Result<Self> {
        Ok(Self {
            row: row(&run)?,
            first_id: run.first_id,
            run_id: run.run_id,
        })
    }
}

impl Listed<RunRecord> {
    fn whole(run: RunRecord) -> Self {
        Self {
            first_id: run.first_id.clone(),
            run_id: run.run_id.clone(),
            row: run,
        }
    }
}

fn select_runs<T: Send>(
    args: &Args,
    global: &Global,
    take: &(impl Fn(RunRecord) -> io::Result<Listed<T>> + Sync),
) -> Result<(Vec<Listed<T>>, Code)> {
    let volume = global.volume()?;
    let mut listed = Vec::new();
    let mut code = Code::Ok;
    let Some(runs) = volume.runs()? else {
        return Ok((listed, code));
    };
    let ids = list(&volume)?;
    let all_jobs = args.json || args.export.is_some();
    let looked = inspect_runs(&runs, &ids, all_jobs, |run, examined| {
        let damage = examined.summary.damage.clone();
        let folder = runs.path().join(run.as_str());
        let report = RunRecord::new(run.clone(), folder, examined);
        let wanted = args.wants(&report).then(|| take(report));
        (wanted.transpose(), damage)
    });
    let mut found = 0;
    for (run, looked) in ids.iter().zip(looked) {
        match looked {
            // Not a run yet, or removed while we looked.
            Ok(None) | Err(StorageError::RunRemoved { .. }) => {}
            Ok(Some((wanted, damage))) => {
                warn_damage(&damage);
                if !damage.is_empty() && code == Code::Ok {
                    code = Code::Damage;
                }
                found += 1;
                listed.extend(wanted?);
            }
            // One run that cannot be read does not hide the others.
            Err(e) => {
                print_stderr(format_args!("warning: run {run}: {}", error_chain(&e)));
                code = Code::Io;
            }
        }
    }
    if found == 0 && !args.json && args.export.is_none() {
        print_stderr(format_args!("no runs in {}", volume.path().display()));
    }
    Ok((listed, code))
}

/// The runs that gc removed; damage is warned of.
fn select_retired(args: &Args, global: &Global) -> Result<(Vec<RunRecord>, Code)> {
    let volume = global.volume()?;
    let (retired, damage) = log::read_tombstones(&volume)?;
    warn_damage(&damage);
    let code = if damage.is_empty() {
        Code::Ok
    } else {
        Code::Damage
    };
    let of = |run| RunRecord::of_retired(&volume, run);
    let mut reports: Vec<_> = retired.into_iter().map(of).collect();
    if let Some(name) = &args.run {
        let is_exact = reports.iter().any(|run| run.run_id.as_str() == name);
        reports.retain(|run| {
            let id = run.run_id.as_str();
            id == name || !is_exact && id.starts_with(name.as_str())
        });
        if reports.is_empty() {
            let run = name.clone();
            return Err(SelectError::NotRemoved { run }.into());
        }
    }
    if reports.is_empty() && !args.json {
        let volume = volume.path().display();
        print_stderr(format_args!("gc has removed no run of {volume}"));
    }
    Ok((reports, code))
}

impl Args {
    /// The newest ones that were asked for, oldest first.
    fn apply_filters<T>(&self, mut listed: Vec<Listed<T>>) -> Vec<T> {
        listed.sort_by(|a, b| (&a.first_id, &a.run_id).cmp(&(&b.first_id, &b.run_id)));
        let number = self.number.unwrap_or(usize::MAX);
        let older = listed.len().saturating_sub(number);
        listed.into_iter().skip(older).map(|run| run.row).collect()
    }

    fn wants(&self, run: &RunRecord) -> bool {
        self.wants_one(run.state, &run.name, run.opened_ts.as_deref())
    }

    fn wants_one(&self, state: RunStatus, name: &str, opened_ts: Option<&str>) -> bool {
        let opened = || opened_ts.and_then(parse_ts);
        (self.state.is_empty() || self.state.contains(&state))
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
            && self
                .since
                .is_none_or(|since| opened().is_some_and(|at| at >= since))
    }
}
