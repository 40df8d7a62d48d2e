//! The flags of `runlog run` about retries.

use std::time::Duration;

use crate::cli::value_parsers::{
    RetryList, parse_count, parse_duration, parse_factor, parse_retry_list,
};
use crate::job::RetryPolicy;

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// Retry a failed command up to N times
    #[arg(
        long,
        value_name = "N",
        value_parser = parse_count::<u32>,
        default_value_t = 0,
        help_heading = "Supervision"
    )]
    pub(super) retries: u32,
    /// Wait DURATION before each retry
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s", help_heading = "Supervision")]
    retry_delay: Duration,
    /// Multiply the delay by FACTOR after each retry
    #[arg(long, value_name = "FACTOR", value_parser = parse_factor, default_value = "1", help_heading = "Supervision")]
    retry_backoff: f64,
    /// Wait at most DURATION before a retry
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
    /// Returns which failed attempts to retry, and when.
    pub(super) fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_retries: self.retries,
            on: self.retry_on.clone().map_or_else(Vec::new, |list| list.0),
            delay: self.retry_delay,
            backoff: self.retry_backoff,
            max_delay: self.retry_max_delay,
            jitter: self.retry_jitter,
        }
    }
}
