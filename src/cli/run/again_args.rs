//! The flags of `runlog run` about running a job again.

use crate::job::RerunOf;

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct AgainArgs {
    /// Run again what RUN recorded: command, directory, variables, inputs, labels, probes, limits,
    /// retries, guards, samples, masking, whether output is stored, rollback, lock and hooks; not
    /// --if-locked, --if-killed, or how output is passed on. Options that are given take precedence.
    /// RUN is named as for `runlog stop`
    #[arg(id = "again", long = "again", value_name = "RUN", help_heading = "Run")]
    pub run: Option<String>,
    /// With --again: run all failed jobs of RUN again, one after the other
    #[arg(
        long,
        requires = "again",
        conflicts_with_all = ["job", "run", "close"],
        help_heading = "Run"
    )]
    pub failed: bool,
    /// What is run again, once it is known.
    #[arg(skip)]
    pub rerun: Option<Rerun>,
}

/// The job that is run again.
#[derive(Debug, Clone)]
pub(crate) struct Rerun {
    pub of: RerunOf,
    /// Whether it is the first job of a new run, which is announced.
    pub is_first: bool,
}
