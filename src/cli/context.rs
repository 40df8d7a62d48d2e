//! What every command uses: the global options, the volume, stderr.

use std::io;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::usage_error::UsageError;
use crate::cli::terminal_style;
use crate::job::{JOB_VOLUME_VARIABLE, JOBS_VARIABLE, OnWarning, enclosing_jobs};
use crate::log::format::payload::RunOpened;
use crate::log::{
    Damage, DamageList, Gap, MatchedBy, RunLog, SelectError, SelectedRun, find_run, select,
};
use crate::render::{Sanitizer, Style, UnfinishedLines, escape_controls};
use crate::volume::{Dir, RunId, Volume, VolumeError, boot_id, uptime_ms};

/// The minimum number of ULID characters in a prefix that names a run to change.
const MIN_ULID_CHARS: usize = 6;

/// Options that every command takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Use the volume in DIR [default: `RUNLOG_VOLUME`, or the nearest parent directory with
    /// `.omne`]
    #[arg(
        short = 'C',
        long,
        global = true,
        help_heading = "Global",
        value_name = "DIR"
    )]
    volume: Option<PathBuf>,
    /// When to use color; auto: on a terminal, unless the environment says otherwise (`NO_COLOR`,
    /// `CLICOLOR`, `CLICOLOR_FORCE`, `FORCE_COLOR`, `TERM=dumb`)
    #[arg(
        long,
        global = true,
        help_heading = "Global",
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false
    )]
    color: ColorWhen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorWhen {
    Auto,
    Always,
    Never,
}

impl Global {
    /// Returns the volume named by the option or the environment; empty counts as unset.
    fn named_volume(&self) -> Option<PathBuf> {
        let named = self.volume.clone().map(PathBuf::into_os_string);
        let named = named.or_else(|| std::env::var_os("RUNLOG_VOLUME"));
        named.filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// Opens the named volume, or the nearest one.
    pub(crate) fn volume(&self) -> Result<Volume> {
        if let Some(root) = self.named_volume() {
            return Ok(Volume::open(&root)?);
        }
        Ok(match (Volume::discover(&current_dir()?), job_volume()) {
            // A job may run anywhere, but a volume around its directory takes precedence.
            (Err(VolumeError::NotFound { .. }), Some(root)) => Volume::open(&root)?,
            (found, _) => found?,
        })
    }

    /// Opens the volume of the enclosing job, if there is one and `--volume` does not name
    /// another.
    pub(crate) fn enclosing_volume(&self) -> Result<Option<Volume>> {
        let root = job_volume().filter(|_| self.volume.is_none());
        Ok(root.map(|root| Volume::open(&root)).transpose()?)
    }

    /// Opens the volume, or creates it at the named path, by default in the current directory.
    pub(crate) fn make_volume(&self) -> Result<Volume> {
        if let Some(root) = self.named_volume() {
            return Ok(Volume::create(&root)?);
        }
        let here = current_dir()?;
        Ok(match (Volume::discover(&here), job_volume()) {
            (Err(VolumeError::NotFound { .. }), Some(root)) => Volume::open(&root)?,
            (Err(VolumeError::NotFound { .. }), None) => Volume::create(&here)?,
            (found, _) => found?,
        })
    }

    /// Finds a run by its ID, `latest`, its name, or a prefix of its ID.
    pub(crate) fn run(&self, text: &str) -> Result<(RunId, Dir)> {
        Ok(select(&self.volume()?, text)?)
    }

    /// Finds a run to change, and prints its ID unless the user typed it.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such run, or `text` is a prefix that is too short to
    /// be sure which run is meant.
    pub(crate) fn run_to_change(&self, text: &str) -> Result<(RunId, Dir)> {
        let found = find_exact_run(&self.volume()?, text)?;
        if found.matched_by != MatchedBy::Id {
            print_stderr(format_args!("run_id={}", found.run));
        }
        Ok((found.run, found.dir))
    }

    /// Finds the runs to change, each of them once.
    ///
    /// # Errors
    ///
    /// Returns an error like [`Global::run_to_change`] for the first name; then nothing has been
    /// changed yet.
    pub(crate) fn runs_to_change(&self, names: &[String]) -> Result<Vec<RunId>> {
        let mut found = Vec::new();
        for name in names {
            // Many open directories would reach the limit on open files.
            let (run, _) = self.run_to_change(name)?;
            if !found.contains(&run) {
                found.push(run);
            }
        }
        Ok(found)
    }

    /// Opens the log of a run by its exact ID.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such run; it suggests a run with that name.
    pub(crate) fn open_exact(volume: &Volume, run: &RunId) -> Result<RunLog, SelectError> {
        RunLog::open(volume, run).map_err(|e| match (e, select(volume, run.as_str())) {
            (SelectError::NoSuchRun { .. }, Ok((newest, _))) if newest != *run => {
                SelectError::NotAnId {
                    name: run.clone(),
                    newest,
                }
            }
            (e, _) => e,
        })
    }

    /// Returns the style for human-readable lines on stdout.
    pub(crate) fn style(&self) -> Style {
        Style {
            color: self.has_color(&io::stdout()),
            width: terminal_width(),
            glyphs: terminal_style::glyphs(),
        }
    }

    /// Returns the style for human-readable lines on stderr.
    pub(crate) fn stderr_style(&self) -> Style {
        Style {
            color: self.has_color(&io::stderr()),
            width: None,
            glyphs: terminal_style::glyphs(),
        }
    }

    fn has_color(&self, stream: &impl IsTerminal) -> bool {
        match self.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal_style::wants_color(stream),
        }
    }

    /// Returns the sanitizer for job output on a terminal, which must not interpret it, and with
    /// `--color always`. Everything else gets the output byte for byte.
    pub(crate) fn sanitizer(&self) -> Option<Sanitizer> {
        let is_terminal = io::stdout().is_terminal();
        let unfinished = if is_terminal && !terminal_style::is_dumb_terminal() {
            UnfinishedLines::Overwrite
        } else {
            UnfinishedLines::Repeat
        };
        let is_shown = is_terminal || self.color == ColorWhen::Always;
        is_shown.then(|| Sanitizer::new(self.style(), unfinished))
    }
}

/// Finds a run to change or to run again.
///
/// # Errors
///
/// Returns an error if there is no such run, or `text` is a prefix that is too short to be sure
/// which run is meant.
pub(crate) fn find_exact_run(volume: &Volume, text: &str) -> Result<SelectedRun> {
    let found = find_run(volume, text)?;
    match found.matched_by {
        MatchedBy::Prefix { ulid_chars } if ulid_chars < MIN_ULID_CHARS => Err(UsageError {
            message: format!("`{text}` is too short to act on run `{}`", found.run),
            hint: "give the whole ID, or at least 6 characters after the name",
        }
        .into()),
        _ => Ok(found),
    }
}

/// Returns the volume of the enclosing job; empty counts as unset.
fn job_volume() -> Option<PathBuf> {
    let root = std::env::var_os(JOB_VOLUME_VARIABLE)?;
    (!root.is_empty()).then(|| root.into())
}

fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().context("cannot determine the current directory")
}

/// Returns the width of the terminal in columns; `None` if stdout is not a terminal.
fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Returns the payload of the first event of a run that does not stay open.
pub(crate) fn opening(name: String) -> RunOpened {
    RunOpened {
        name,
        keep_open: false,
        host: host_name(),
        runlog: Some(env!("CARGO_PKG_VERSION").to_owned()),
        boot_id: boot_id(),
        uptime_ms: Some(uptime_ms()),
        parent: std::env::var_os(JOBS_VARIABLE)
            .and_then(|jobs| enclosing_jobs(&jobs).next().flatten()),
        trace: None,
        rerun_of: None,
    }
}

/// Returns the name of this host, if it is known.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned())
}

/// Prints lines to stderr, with control characters escaped.
pub(crate) fn print_stderr(text: impl std::fmt::Display) {
    let text = text.to_string();
    let lines: Vec<_> = text.lines().map(escape_controls).collect();
    // Use one write, so that neither a job nor a killed process leaves half a line.
    let printed = lines.join("\n") + "\n";
    // A closed stderr cannot be reported anywhere.
    drop(io::stderr().write_all(printed.as_bytes()));
}

/// Returns a callback that prints warnings about a running job.
pub(crate) fn warning_printer() -> OnWarning {
    Arc::new(|text| print_stderr(format_args!("warning: {text}")))
}

/// Warns about damage that was skipped.
pub(crate) fn warn_damage(damage: &DamageList) {
    for one in damage.first() {
        print_stderr(format_args!("warning: {one}"));
    }
    warn_omitted(damage);
}

/// Warns about events that were dropped while the log was read.
pub(crate) fn warn_gap(gap: &Gap) {
    print_stderr(format_args!("warning: {gap}"));
}

/// Warns about the damaged places that a list counts but does not keep.
fn warn_omitted(damage: &DamageList) {
    if let Some(more) = damage.omission() {
        print_stderr(format_args!("warning: {more}"));
    }
}

/// Warns about damage as it is read: about the first thousand damaged places each, then about
/// the number of the others.
#[derive(Debug, Default)]
pub(crate) struct DamageWarnings(DamageList);

impl DamageWarnings {
    /// Warns about a damaged place, unless there were too many.
    pub(crate) fn warn(&mut self, damage: &Damage) {
        self.0.push(damage.clone());
        if self.0.omitted() == 0 {
            print_stderr(format_args!("warning: {damage}"));
        }
    }

    /// Warns about the number of the others.
    pub(crate) fn finish(&self) {
        warn_omitted(&self.0);
    }
}
