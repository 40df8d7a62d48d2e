//! The flags of `runlog run` about locks.

use std::time::Duration;

use clap::ValueEnum;

use crate::cli::usage_error::UsageError;
use crate::cli::value_parsers::parse_duration;
use crate::volume::LockName;

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// Start only if no other run holds the lock NAME, and hold it until the job, its
    /// rollback and its hooks have ended [default: the name of the run]
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        overrides_with = "no_lock",
        help_heading = "Run"
    )]
    #[expect(
        clippy::option_option,
        reason = "the flag and its value are both optional"
    )]
    lock: Option<Option<LockName>>,
    /// Turn off a lock of the settings
    #[arg(long, hide = true, overrides_with = "lock")]
    no_lock: bool,
    /// What to do if another run holds the lock [default: fail]
    #[arg(long, value_name = "WHAT", help_heading = "Run")]
    pub if_locked: Option<IfLocked>,
    /// Wait at most DURATION for the lock; 0 means no limit [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Run")]
    pub lock_timeout: Option<Duration>,
}

/// The action if another run holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IfLocked {
    /// Do not start, and exit with 75
    Fail,
    /// Wait for the lock
    Wait,
    /// Do not start, note `start_skipped` in the other run, and exit with 0
    Skip,
    /// Stop the other run first, as `runlog stop` does
    Replace,
}

impl LockArgs {
    /// Checks that the flags that the user typed have an effect: `self` with the defaults of the
    /// settings is `effective`. Settings alone may be about locks of other commands.
    ///
    /// # Errors
    ///
    /// Returns an error if a typed flag is about a lock, and there is none.
    pub(in crate::cli) fn check_use(&self, effective: &Self) -> Result<(), UsageError> {
        let has_lock = effective.lock.is_some() || self.no_lock;
        if (self.if_locked.is_some() || self.lock_timeout.is_some()) && !has_lock {
            return Err(UsageError {
                message: "--if-locked and --lock-timeout need --lock".to_owned(),
                hint: "add --lock for a lock with the name of the run, or --lock=NAME",
            });
        }
        Ok(())
    }

    /// Returns whether the lock has the name of the run.
    pub(super) fn is_unnamed(&self) -> bool {
        matches!(self.lock, Some(None))
    }

    /// Returns the name that was given, if any.
    pub(super) fn given_name(&self) -> Option<&LockName> {
        self.lock.as_ref()?.as_ref()
    }

    /// Returns the name of the lock of a run, if it needs one.
    pub(super) fn name(&self, run_name: &str) -> Option<LockName> {
        let name = self.lock.clone()?;
        Some(name.unwrap_or_else(|| LockName::from_run_name(run_name)))
    }
}
