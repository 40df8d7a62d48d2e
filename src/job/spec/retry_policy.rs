//! Which failed attempts to retry, and how long after their end.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use rustix::rand::GetRandomFlags;

use crate::log::format::payload::{ErrorKind, JobEnded};

/// The longest pause before a retry: 100 years.
const MAX_DELAY: Duration = Duration::from_hours(100 * 8_766);

/// A kind of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryOn {
    /// An exit code in this range.
    Exit(RangeInclusive<i32>),
    /// A signal.
    Signal,
    /// The timeout of an attempt.
    Timeout,
    /// The OOM killer killed a process in the meantime.
    OutOfMemory,
}

/// Which failed attempts to retry, how many times, and when.
#[derive(Debug, Clone, Default)]
pub struct RetryPolicy {
    /// The maximum number of retries.
    pub max_retries: u32,
    /// The failures to retry; if empty, all of them.
    pub on: Vec<RetryOn>,
    /// The pause before the first retry.
    pub delay: Duration,
    /// The factor for each further pause; a value below 1 counts as 1.
    pub backoff: f64,
    /// The maximum length of a pause.
    pub max_delay: Option<Duration>,
    /// Whether each pause is shortened at random, to no less than half of it.
    pub jitter: bool,
}

impl RetryPolicy {
    /// Returns whether to retry a failed attempt.
    pub(crate) fn retries(&self, attempt: u32, failed: &JobEnded) -> bool {
        let matches = |on: &RetryOn| on.matches(failed);
        attempt <= self.max_retries && (self.on.is_empty() || self.on.iter().any(matches))
    }

    /// Returns the pause after an attempt. `random` is from 0 to 1.
    pub(crate) fn delay_after(&self, attempt: u32, random: f64) -> Duration {
        let retry = attempt.saturating_sub(1).min(i32::MAX as u32) as i32;
        let limit = self.max_delay.unwrap_or(MAX_DELAY).min(MAX_DELAY);
        let delay = match self.delay.as_secs_f64() * self.backoff.max(1.0).powi(retry) {
            // 0 times infinity is not a number.
            _ if self.delay.is_zero() => Duration::ZERO,
            seconds => Duration::try_from_secs_f64(seconds).map_or(limit, |d| d.min(limit)),
        };
        if self.jitter {
            delay.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
        } else {
            delay
        }
    }
}

/// Writes an item of `--retry-on`.
impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(codes) if codes.start() == codes.end() => write!(f, "{}", codes.start()),
            Self::Exit(codes) => write!(f, "{}-{}", codes.start(), codes.end()),
            Self::Signal => f.write_str("signal"),
            Self::Timeout => f.write_str("timeout"),
            Self::OutOfMemory => f.write_str("oom"),
        }
    }
}

impl RetryOn {
    fn matches(&self, failed: &JobEnded) -> bool {
        let kind = failed.error.as_ref().map(|error| error.kind);
        match self {
            Self::Exit(codes) => {
                kind == Some(ErrorKind::Exit)
                    && failed.exit_code.is_some_and(|code| codes.contains(&code))
            }
            Self::Signal => kind == Some(ErrorKind::Signal),
            Self::Timeout => kind == Some(ErrorKind::Timeout),
            Self::OutOfMemory => failed.oom_kills.is_some_and(|kills| kills > 0),
        }
    }
}

/// Returns a random number from 0 to 1, or 0 if the system has none.
pub(crate) fn random_fraction() -> f64 {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, GetRandomFlags::NONBLOCK).ok();
    f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::payload::JobError;

    fn failed(kind: ErrorKind, exit_code: Option<i32>, oom_kills: Option<u64>) -> JobEnded {
        let message = String::new();
        JobEnded {
            error: Some(JobError { kind, message }),
            exit_code,
            oom_kills,
            ..JobEnded::default()
        }
    }

    #[test]
    fn only_listed_failures_are_retried() {
        let exit = failed(ErrorKind::Exit, Some(105), Some(0));
        let timeout = failed(ErrorKind::Timeout, Some(105), None);
        let signal = failed(ErrorKind::Signal, None, None);
        let killed = failed(ErrorKind::Signal, None, Some(1));
        let retried = |on: &[RetryOn]| {
            let policy = RetryPolicy {
                max_retries: 1,
                on: on.to_vec(),
                ..RetryPolicy::default()
            };
            [&exit, &timeout, &signal, &killed].map(|event| policy.retries(1, event))
        };
        assert_eq!(retried(&[]), [true; 4]);
        assert_eq!(
            retried(&[RetryOn::Exit(75..=75), RetryOn::Exit(100..=110)]),
            [true, false, false, false]
        );
        assert_eq!(retried(&[RetryOn::Exit(75..=75)]), [false; 4]);
        assert_eq!(retried(&[RetryOn::Timeout]), [false, true, false, false]);
        assert_eq!(retried(&[RetryOn::Signal]), [false, false, true, true]);
        assert_eq!(
            retried(&[RetryOn::OutOfMemory]),
            [false, false, false, true]
        );
        let policy = RetryPolicy::default();
        assert!(!policy.retries(1, &exit), "no retries are left");
    }

    #[test]
    fn delays_grow_up_to_their_limit() {
        let policy = RetryPolicy {
            delay: Duration::from_millis(100),
            backoff: 2.5,
            max_delay: Some(Duration::from_secs(1)),
            ..RetryPolicy::default()
        };
        let delays = [1, 2, 3, 4, u32::MAX].map(|attempt| policy.delay_after(attempt, 1.0));
        assert_eq!(
            delays,
            [100, 250, 625, 1000, 1000].map(Duration::from_millis)
        );
        let endless = RetryPolicy {
            max_delay: None,
            ..policy.clone()
        };
        assert_eq!(endless.delay_after(u32::MAX, 0.0), MAX_DELAY);
        let none = RetryPolicy {
            delay: Duration::ZERO,
            ..policy
        };
        assert_eq!(none.delay_after(u32::MAX, 0.0), Duration::ZERO);
    }

    #[test]
    fn jitter_shortens_a_delay_to_at_least_half() {
        let policy = RetryPolicy {
            delay: Duration::from_secs(4),
            jitter: true,
            ..RetryPolicy::default()
        };
        let delays = [0.0, 0.5, 1.0].map(|random| policy.delay_after(1, random));
        assert_eq!(delays, [4, 3, 2].map(Duration::from_secs));
    }
}
