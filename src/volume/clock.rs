//! Timestamps of the log.

use std::sync::OnceLock;
use std::time::SystemTime;

use jiff::Timestamp;

/// Returns the current time. A clock that is set past the last day of the calendar (in the year
/// 9999) stands still there.
pub fn wall_clock() -> Timestamp {
    timestamp(SystemTime::now())
}

fn timestamp(now: SystemTime) -> Timestamp {
    let limit = match now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => Timestamp::MAX,
        Err(_) => Timestamp::MIN,
    };
    Timestamp::try_from(now).unwrap_or(limit)
}

/// Returns the current time in whole microseconds, the precision of the log.
pub fn now_ts() -> Timestamp {
    let now = wall_clock();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Returns the milliseconds since the boot, including the time that the system was suspended
/// (`CLOCK_BOOTTIME`, `clock_gettime(2)`). This clock cannot be set.
pub fn uptime_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// A detector of changes to the wall clock.
#[derive(Debug, Default)]
pub struct ClockWatch {
    /// The wall clock and the uptime in milliseconds, at the last check.
    last: Option<(Timestamp, u64)>,
}

impl ClockWatch {
    /// Returns by how many milliseconds the wall clock, which says `now`, was set since the last
    /// call.
    pub fn set_since_last(&mut self, now: Timestamp) -> i64 {
        let uptime = uptime_ms();
        let (then, uptime_then) = self.last.replace((now, uptime)).unwrap_or((now, uptime));
        let steady = i64::try_from(uptime.saturating_sub(uptime_then)).unwrap_or(0);
        let wall = i64::try_from(now.duration_since(then).as_millis()).unwrap_or(0);
        match wall.saturating_sub(steady) {
            set if set.unsigned_abs() <= TOLERANCE_MS => 0,
            set => set,
        }
    }
}

/// The maximum difference, in milliseconds, between the wall clock and the clock that cannot be
/// set. A larger one means that the wall clock was set.
const TOLERANCE_MS: u64 = 100;

/// Returns the milliseconds between the wall-clock times `start` and `now`; `None` if unknown.
///
/// `start_uptime_ms` is the uptime at `start`, if that was in this boot. It shows whether the
/// wall clock was set in the meantime.
pub fn elapsed_ms(
    start: Option<Timestamp>,
    now: Timestamp,
    start_uptime_ms: Option<u64>,
) -> Option<u64> {
    let wall = start.and_then(|start| u64::try_from(now.duration_since(start).as_millis()).ok());
    let steady = start_uptime_ms.and_then(|start| uptime_ms().checked_sub(start));
    match (wall, steady) {
        (Some(wall), Some(steady)) if wall.abs_diff(steady) <= TOLERANCE_MS => Some(wall),
        (wall, steady) => steady.or(wall),
    }
}

/// Returns the random id of this boot (`/proc/sys/kernel/random/boot_id`).
pub fn boot_id() -> Option<String> {
    // The boot id never changes during the life of a process.
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Some(id.clone());
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| ID.get_or_init(|| id.to_owned()).clone())
}

/// Returns whether a recorded boot id is that of this boot; `false` if none was recorded.
pub fn is_this_boot(id: Option<&String>) -> bool {
    id.is_some() && id == boot_id().as_ref()
}

/// A clock that formats timestamps and caches everything but the fraction, so that the
/// calendar is computed at most once per second.
#[derive(Debug, Default)]
pub struct Clock {
    second: i64,
    /// The most recent timestamp.
    text: String,
    millisecond: u64,
}

impl Clock {
    /// Returns the wall-clock time as RFC 3339 UTC with exactly six decimals.
    pub fn now(&mut self) -> &str {
        let now = wall_clock();
        let (second, micros) = (now.as_second(), now.subsec_microsecond());
        // Before 1970 the fraction is negative. Always format those times in full.
        let same = self.second == second && !self.text.is_empty() && micros >= 0;
        // `…SS` without the fraction and the `Z`.
        match self.text.len().checked_sub(7).filter(|_| same) {
            None => self.text = format!("{now:.6}"),
            Some(keep) => {
                self.text.truncate(keep);
                let mut place = 100_000;
                while place > 0 {
                    let digit = (micros / place % 10) as u32;
                    self.text.extend(char::from_digit(digit, 10));
                    place /= 10;
                }
                self.text.push('Z');
            }
        }
        self.second = second;
        self.millisecond = u64::try_from(now.as_millisecond()).unwrap_or(0);
        &self.text
    }

    /// Returns the most recent timestamp in milliseconds since 1970, the unit of a ULID.
    pub fn millisecond(&self) -> u64 {
        self.millisecond
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_after_end_of_calendar_is_its_end() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(timestamp(at(0)), Timestamp::UNIX_EPOCH);
        assert_eq!(timestamp(at(1 << 40)), Timestamp::MAX);
        assert_eq!(format!("{:.6}", timestamp(at(1 << 40))).len(), 27);
    }

    #[test]
    fn cached_second_matches_full_format() {
        let mut clock = Clock::default();
        for _ in 0..50_000 {
            let before = format!("{:.6}", Timestamp::now());
            let cached = clock.now().to_owned();
            let after = format!("{:.6}", Timestamp::now());
            assert_eq!(cached.len(), 27);
            assert!(
                before <= cached && cached <= after,
                "{before} {cached} {after}"
            );
        }
    }
}
