//! The time stamps of the log.

use jiff::Timestamp;

/// The wall clock as RFC 3339 UTC with exactly six decimals.
pub fn now_ts() -> String {
    format!("{:.6}", Timestamp::now())
}

/// Reads a time stamp of an event; `None` where it is not RFC 3339.
pub fn parse_ts(ts: &str) -> Option<Timestamp> {
    ts.parse().ok()
}
