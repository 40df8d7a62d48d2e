//! `--at`: a point of a run.

use jiff::Timestamp;

use crate::cli::value_parsers::parse_moment;
use crate::log::Item;
use crate::render::line_time;

/// A point of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AtPoint {
    /// After the event with this sequence number.
    Seq(u64),
    /// Before the first event with a later time.
    Time(Timestamp),
}

impl AtPoint {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(seq) = text.trim().parse() {
            return Ok(Self::Seq(seq));
        }
        parse_moment(text).map(Self::Time).map_err(|_| {
            format!(
                "`{text}` is not a point of a run; write the sequence number of an event (7), a \
                 time (2026-11-21T21:49:00Z) or how long ago (15m)"
            )
        })
    }

    /// Returns whether a line comes after this point.
    pub(super) fn is_before(self, item: &Item<'_>) -> bool {
        let ts = match (self, item) {
            (Self::Seq(point), Item::Event(env, _)) => return env.seq > point,
            (_, Item::Event(env, _)) => env.timestamp(),
            (_, Item::Foreign(_, line)) => line_time(line),
            (_, Item::Damage(_) | Item::Dropped(_)) => None,
        };
        matches!((self, ts), (Self::Time(point), Some(ts)) if ts > point)
    }
}
