//! Cursors: a position in a run as text, from which another process can continue later.
//!
//! ```text
//! 1:build-01k…:01k…:0:4711:9ae0daaf:12:0:-:5c1e7d02
//! ```
//!
//! `docs/format.md` describes the fields. The id of the first event distinguishes the run from a
//! later one that got the same id after the first one was removed.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;

use super::position::Position;
use crate::log::format::envelope::MAX_SEQ;
use crate::log::segment::sequence::Sequence;
use crate::volume::{RunId, format_ulid, parse_ulid};

/// The version that this code writes.
const CURSOR_VERSION: u32 = 1;

/// A position in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    run: RunId,
    first_id: Option<Ulid>,
    pub(crate) position: Position,
    end: RunEnd,
}

/// Whether a position is at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// The run was closed, and all of it was read.
    Reached,
    /// More events may follow.
    Open,
}

/// The reason why a text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The text is not a cursor, or is incomplete.
    #[error("{} is not a cursor, or not all of one", shown(text))]
    Malformed {
        /// The text.
        text: String,
    },
    /// The cursor has a version that this runlog does not know.
    #[error("{} is the cursor of a newer runlog", shown(text))]
    Newer {
        /// The cursor.
        text: String,
    },
}

/// Returns the start of a text, for messages.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("`{start}{more}`")
}

impl Cursor {
    pub(crate) fn new(run: RunId, first_id: Option<Ulid>, position: Position, end: RunEnd) -> Self {
        Self {
            run,
            first_id,
            position,
            end,
        }
    }

    /// Returns whether the position is at the end of a closed run. If so, nothing is missing
    /// when the run is removed.
    pub fn is_at_end(&self) -> bool {
        self.end == RunEnd::Reached
    }

    /// Returns the id of the run's first event, if it has one.
    pub fn first_id(&self) -> Option<Ulid> {
        self.first_id
    }

    /// Returns the run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Returns the sequence number of the next event, if it is known.
    pub fn next_seq(&self) -> Option<u64> {
        self.position.sequence.map(|sequence| sequence.next())
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position {
            first_seq,
            offset,
            crc,
            sequence,
        } = &self.position;
        let (next, damaged) = match sequence {
            None => ("-".to_owned(), 0),
            Some(sequence) => {
                let next = sequence.last().map_or(0, |last| last + 1);
                (next.to_string(), sequence.next() - next)
            }
        };
        let run = &self.run;
        let first_id = match self.first_id {
            Some(id) => format_ulid(id),
            None => "-".to_owned(),
        };
        let end = match self.end {
            RunEnd::Reached => '+',
            RunEnd::Open => '-',
        };
        let text = format!(
            "{CURSOR_VERSION}:{run}:{first_id}:{first_seq}:{offset}:{crc:08x}:{next}:{damaged}:{end}"
        );
        write!(f, "{text}:{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let version = text.split(':').next().and_then(|v| v.parse::<u32>().ok());
        if version.is_some_and(|version| version > CURSOR_VERSION) {
            let text = text.to_owned();
            return Err(CursorError::Newer { text });
        }
        parse(text).ok_or_else(|| CursorError::Malformed {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let (checked, crc) = text.rsplit_once(':')?;
    if hex(crc)? != crc32c::crc32c(checked.as_bytes()) {
        return None;
    }
    let fields: Vec<&str> = checked.split(':').collect();
    let [_, run, first_id, first_seq, offset, crc, next, damaged, end] = fields[..] else {
        return None;
    };
    let sequence = match next {
        "-" => None,
        next => Some(Sequence::resumed(number(next)?, number(damaged)?)),
    };
    let first_id = match first_id {
        "-" => None,
        id => Some(parse_ulid(id)?),
    };
    let position = Position {
        first_seq: number(first_seq)?,
        offset: number(offset)?,
        crc: hex(crc)?,
        sequence,
    };
    let end = match end {
        "+" => RunEnd::Reached,
        "-" => RunEnd::Open,
        _ => return None,
    };
    Some(Cursor::new(run.parse().ok()?, first_id, position, end))
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n| *n < MAX_SEQ)
}

fn hex(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequence: Option<Sequence>) -> Cursor {
        let position = Position {
            first_seq: 7,
            offset: 4711,
            crc: 0xab,
            sequence,
        };
        let (first_id, end) = match sequence {
            None => (None, RunEnd::Reached),
            Some(_) => (Some(Ulid::from_parts(1, 2)), RunEnd::Open),
        };
        Cursor::new("build-1.x_y".parse().unwrap(), first_id, position, end)
    }

    #[test]
    fn cursor_roundtrips() {
        let mut damaged = Sequence::before(3);
        damaged.push_damage();
        for sequence in [None, Some(Sequence::default()), Some(damaged)] {
            let cursor = cursor(sequence);
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn every_change_and_truncation_is_detected() {
        let text = cursor(Some(Sequence::before(12))).to_string();
        for at in 0..text.len() {
            let cut = &text[..at];
            assert!(cut.parse::<Cursor>().is_err(), "{cut}");
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed.parse::<Cursor>().is_err(), "{changed}");
        }
        for other in ["", "x", "1:::::::", "-", "\0", "events.jsonl"] {
            assert!(other.parse::<Cursor>().is_err(), "{other}");
        }
    }

    #[test]
    fn newer_version_is_distinguished_from_garbage() {
        let newer = "2:whatever".parse::<Cursor>();
        assert!(matches!(newer, Err(CursorError::Newer { .. })), "{newer:?}");
        let garbage = "1:whatever".parse::<Cursor>();
        assert!(matches!(garbage, Err(CursorError::Malformed { .. })));
    }
}
