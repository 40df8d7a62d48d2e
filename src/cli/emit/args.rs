//! The arguments of `emit`, and what they take from the environment of a job.

use std::str::FromStr;

use anyhow::Result;
use serde_json::value::RawValue;

use crate::cli::context::{Global, print_stderr};
use crate::cli::usage_error::UsageError;
use crate::cli::value_parsers::pairs;
use crate::job::{JOB_VARIABLE, RUN_VARIABLE};
use crate::log::format::note_data;
use crate::log::format::note_data::Mask;
use crate::log::{
    DraftError, Durability, ForeignPolicy, MAX_LINE_BYTES, RunLog, SelectError, allocate_ulid,
};
use crate::volume::{IdError, JobId, RunId, Volume};

/// The number of bytes that a note's line needs in addition to its data.
const OVERHEAD: usize = 1 << 10;
/// The maximum size of a note's data, in bytes.
pub(super) const MAX_DATA_BYTES: usize = MAX_LINE_BYTES - OVERHEAD;

/// Add a note to a run, from inside a job or from outside
///
/// Inside a job, the volume, the run and the job come from the environment. When the command
/// exits with 0, the note is durable: it survives a power loss.
///
/// Exit codes: 0 stored; 1 the run is closed, or a line was rejected; 2 invalid arguments;
/// 3 no such volume or run; 5 damaged log, or a newer version wrote to it; 6 timed out waiting for
/// the lock; 7 not stored, or not durable.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// Name of the note, which is not empty
    #[arg(required_unless_present = "lines")]
    name: Option<String>,
    /// Data of the note; values are strings (numbers: --data)
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// Data of the note as JSON; KEY=VALUE pairs are added to an object
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Add one note per line of stdin: JSON as is, other text as {"text": …}
    #[arg(long, conflicts_with_all = ["data", "pairs"])]
    pub lines: bool,
    /// Print each stored event once it is durable
    #[arg(long)]
    pub ack: bool,
    /// Run to add the note to [default: `RUNLOG_RUN_ID`, the run of the enclosing job]
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// Job that the note belongs to [default: `RUNLOG_JOB_ID`, the enclosing job]
    #[arg(long, value_name = "JOB")]
    job: Option<JobId>,
    /// Create the run, named after its ID, and the volume if they do not exist; the run stays open
    /// until `run --run ID --close`
    #[arg(long)]
    pub open: bool,
    /// Do not wait for the disk: the note survives a crash of any process, but not a power
    /// loss
    #[arg(long)]
    pub no_sync: bool,
    /// Also append to a run that another program started
    #[arg(long)]
    pub force: bool,
}

/// Parses an ID from the environment of a job; empty counts as unset.
fn id_from_env<T: FromStr<Err = IdError>>(variable: &str) -> Result<Option<T>, UsageError> {
    let Some(text) = std::env::var_os(variable).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.to_string_lossy()
        .parse()
        .map(Some)
        .map_err(|e| UsageError {
            message: format!("{variable}: {e}"),
            hint: "unset it and name the run with --run; `runlog run` sets it for its job",
        })
}

impl Args {
    /// Returns whether the command appends to a run that another program started.
    pub(super) fn foreign_policy(&self) -> ForeignPolicy {
        if self.force {
            ForeignPolicy::Accept
        } else {
            ForeignPolicy::Refuse
        }
    }

    /// Returns the durability of an acknowledged note.
    pub(super) fn durability(&self) -> Durability {
        if self.no_sync {
            Durability::Process
        } else {
            Durability::Power
        }
    }

    /// Returns the name of the note.
    ///
    /// # Errors
    ///
    /// Returns an error if it is empty.
    pub(super) fn name(&self) -> Result<&str, UsageError> {
        match self.name.as_deref() {
            Some("") => Err(UsageError {
                message: "the name of the note is empty".to_owned(),
                hint: "put the name first, as in `runlog emit progress percent=50`",
            }),
            name => Ok(name.unwrap_or("line")),
        }
    }

    /// Returns the name of a run that is created: its ID or, without one, the name of the note.
    pub(super) fn run_name(&self, note: &str) -> Result<String, UsageError> {
        let run = self.run()?;
        Ok(run.map_or_else(|| note.to_owned(), |run| run.to_string()))
    }

    /// Returns the data of the note, compacted and masked.
    pub(super) fn data(&self, mask: Option<Mask<'_>>) -> Result<Option<Box<RawValue>>> {
        let pairs = pairs("KEY=VALUE", &self.pairs)?;
        let stored = |e| DraftError::from(e);
        let made = match (&self.data, pairs.is_empty()) {
            (None, true) => return Ok(None),
            (None, false) => note_data::object_from_pairs(&pairs).map_err(stored)?,
            (Some(text), true) => {
                return Ok(Some(
                    note_data::compact(text, MAX_DATA_BYTES, mask).map_err(stored)?,
                ));
            }
            (Some(text), false) => note_data::with_pairs(
                &note_data::compact(text, MAX_DATA_BYTES, None).map_err(stored)?,
                &pairs,
            )
            .map_err(stored)?,
        };
        Ok(Some(
            note_data::compact(made.get(), MAX_DATA_BYTES, mask).map_err(stored)?,
        ))
    }

    /// Returns the named run, or that of the enclosing job.
    fn run(&self) -> Result<Option<RunId>, UsageError> {
        match &self.run {
            Some(run) => Ok(Some(run.clone())),
            None => id_from_env(RUN_VARIABLE),
        }
    }

    /// Returns the named job, or the enclosing job if the note goes to its run.
    pub(super) fn job(&self) -> Result<Option<JobId>, UsageError> {
        match &self.job {
            Some(job) => Ok(Some(job.clone())),
            None if self.run()? == id_from_env(RUN_VARIABLE)? => id_from_env(JOB_VARIABLE),
            None => Ok(None),
        }
    }

    /// Opens the log of the run, or creates it with `--open`.
    pub(super) fn open_log(&self, volume: &Volume, name: &str) -> Result<RunLog> {
        if !self.open {
            let run = self.run()?.ok_or_else(|| UsageError {
                message: "no run given".to_owned(),
                hint: "name a run with --run ID, create one with --open, or call it inside a job",
            })?;
            return Ok(Global::open_exact(volume, &run)?);
        }
        let Some(run) = &self.run()? else {
            let log = RunLog::create(volume, name)?;
            print_stderr(format_args!("run_id={}", log.run_id()));
            return Ok(log);
        };
        match RunLog::open(volume, run) {
            Err(SelectError::NoSuchRun { .. }) => Ok(RunLog::open_or_create(
                volume,
                run,
                Some(allocate_ulid(volume)?),
            )?),
            opened => Ok(opened?),
        }
    }
}
