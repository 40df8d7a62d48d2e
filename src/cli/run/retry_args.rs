//! The flags of `runlog run` about retries.

use std::time::Duration;

use crate::cli::usage_error::UsageError;
use crate::cli::value_parsers::{
    RetryList, parse_count, parse_duration, parse_factor, parse_retry_list,
};
use crate::job::RetryPolicy;

/// The pause before a retry, by default.
const DEFAULT_DELAY: Duration = Duration::from_secs(1);

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// Retry a failed command up to N times [default: 0]
    #[arg(
        long,
        value_name = "N",
        value_parser = parse_count::<u32>,
        help_heading = "Supervision"
    )]
    retries: Option<u32>,
    /// Wait DURATION before each retry [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    retry_delay: Option<Duration>,
    /// Multiply the delay by FACTOR after each retry [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = parse_factor, help_heading = "Supervision")]
    retry_backoff: Option<f64>,
    /// Wait at most DURATION before a retry [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    retry_max_delay: Option<Duration>,
    /// Shorten the delay before each retry at random, to no less than half of it
    #[arg(long, help_heading = "Supervision")]
    retry_jitter: bool,
    /// Retry only these failures: exit codes, ranges of them, `timeout`, `signal` and `oom`, such
    /// as 75,100-110,timeout [default: all]
    #[arg(long, value_name = "LIST", value_parser = parse_retry_list, help_heading = "Supervision")]
    retry_on: Option<RetryList>,
}

impl RetryArgs {
    /// Returns the maximum number of retries.
    pub(super) fn max_retries(&self) -> u32 {
        self.retries.unwrap_or(0)
    }

    /// Checks that the flags that the user typed have an effect: `self` with the defaults of the
    /// settings is `effective`. Settings alone may be about retries of other commands.
    ///
    /// # Errors
    /// A typed flag is about retries, and nothing says how many there are.
    pub(in crate::cli) fn check_use(&self, effective: &Self) -> Result<(), UsageError> {
        let typed = [
            ("--retry-on", self.retry_on.is_some()),
            ("--retry-delay", self.retry_delay.is_some()),
            ("--retry-backoff", self.retry_backoff.is_some()),
            ("--retry-max-delay", self.retry_max_delay.is_some()),
            ("--retry-jitter", self.retry_jitter),
        ];
        let unused = typed.into_iter().find(|(_, is_typed)| *is_typed);
        match (effective.retries, unused) {
            (None, Some((flag, _))) => Err(UsageError {
                message: format!("{flag} has no effect without --retries"),
                hint: "say how often to retry with --retries N",
            }),
            _ => Ok(()),
        }
    }

    /// Returns which failed attempts to retry, and when.
    pub(super) fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_retries: self.max_retries(),
            on: self.retry_on.clone().map_or_else(Vec::new, |list| list.0),
            delay: self.retry_delay.unwrap_or(DEFAULT_DELAY),
            backoff: self.retry_backoff.unwrap_or(1.0),
            max_delay: self.retry_max_delay,
            jitter: self.retry_jitter,
        }
    }
}
