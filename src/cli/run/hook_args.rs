//! The flags of `runlog run` about hooks.

use crate::job::{Hooks, OutputDelivery};

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// Run CMD with `sh -c` after the job completed; the line of `status --json` is on its stdin
    #[arg(long = "on-success", value_name = "CMD", help_heading = "Hooks")]
    success: Option<String>,
    /// Run CMD with `sh -c` after the job failed, timed out or was interrupted, or its output
    /// could not be passed on
    #[arg(long = "on-failure", value_name = "CMD", help_heading = "Hooks")]
    failure: Option<String>,
    /// Run CMD with `sh -c` after the job ended, however it ended
    #[arg(long = "on-end", value_name = "CMD", help_heading = "Hooks")]
    end: Option<String>,
}

impl HookArgs {
    /// Returns the commands, with the fate of their output.
    pub(super) fn hooks(&self, delivery: OutputDelivery) -> Hooks {
        Hooks {
            on_success: self.success.clone(),
            on_failure: self.failure.clone(),
            on_end: self.end.clone(),
            delivery,
        }
    }
}
