//! `--speed`: how long to wait before something is shown.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// How fast a run is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// So many times its own pace.
    Times(f64),
    /// Without waiting.
    Max,
}

impl Speed {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.strip_suffix('x').unwrap_or(text);
        let times = number.parse().ok();
        // Less would be waited for longer than anybody lives.
        times
            .filter(|times| (0.001..=1e9).contains(times))
            .map(Self::Times)
            .ok_or_else(|| {
                format!("`{text}` is no speed; write a number from 0.001 on, such as 1, 0.5 or 10, or `max`")
            })
    }
}

/// Waits so that things come at their own pace.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: Speed,
    /// The time of the first thing, and when it was shown.
    start: Option<(Timestamp, Instant)>,
}

impl Pace {
    pub(crate) fn new(speed: Speed) -> Self {
        Self { speed, start: None }
    }

    /// How long to wait for something of that time; what is earlier than what was shown
    /// before comes at once.
    pub(crate) fn until(&mut self, ts: Option<Timestamp>) -> Option<Duration> {
        let (Speed::Times(times), Some(ts)) = (self.speed, ts) else {
            return None;
        };
        let (first, shown) = *self.start.get_or_insert_with(|| (ts, Instant::now()));
        let since = ts.duration_since(first);
        if !since.is_positive() {
            return None;
        }
        let due = Duration::try_from_secs_f64(since.as_secs_f64() / times).ok()?;
        due.checked_sub(shown.elapsed())
            .filter(|wait| !wait.is_zero())
    }
}

/// Waits.
pub(crate) fn wait(duration: Duration) {
    thread::sleep(duration);
}
