//! Timestamps of the log.

use jiff::Timestamp;

/// Returns the time now in whole microseconds, the precision of the log.
pub fn now_ts() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
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
        let now = Timestamp::now();
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
    use super::*;

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
