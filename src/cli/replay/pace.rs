//! `--speed`: how long to wait before the next item is shown.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// How fast a run is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// This many times the original speed.
    Times(f64),
    /// Without delays.
    Max,
}

impl Speed {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.strip_suffix('x').unwrap_or(text);
        let times = number.parse().ok();
        // A lower speed would make even the shortest run take forever.
        times
            .filter(|times| (0.001..=1e9).contains(times))
            .map(Self::Times)
            .ok_or_else(|| {
                format!("`{text}` is not a speed; write a number from 0.001, such as 1, 0.5 or 10, or `max`")
            })
    }
}

/// Computes the delays that keep items at their original pace.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: Speed,
    /// The time of the first item, and when it was shown.
    start: Option<(Timestamp, Instant)>,
}

impl Pace {
    pub(crate) fn new(speed: Speed) -> Self {
        Self { speed, start: None }
    }

    /// Returns how long to wait before showing an item of time `ts`; an item earlier than the
    /// first is due at once.
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

/// Sleeps until the next item is due.
pub(crate) fn wait(duration: Duration) {
    thread::sleep(duration);
}
