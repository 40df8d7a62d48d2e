//! One line of runlog: how its envelope is written, checked and read.
//!
//! ```text
//! {"v":1,"seq":7,"id":"01k…","ts":"2026-11-21T21:49:00.123456Z","type":"note", … ,"crc":"9ae0daaf"}
//! ```
//!
//! The CRC-32C covers every byte before the last 18, which are `,"crc":"` + 8
//! lowercase hex digits + `"}`.

use std::fmt;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use ulid::Ulid;

use super::event_type::{EventKind, EventType};
use crate::volume::{JobId, parse_ts};

/// The version of the format that this code writes.
pub(crate) const FORMAT_VERSION: u64 = 1;
/// The prefix of every line of runlog.
pub(crate) const PREFIX: &[u8] = b"{\"v\":";
/// The length of the trailer after the part that the checksum covers, in bytes.
pub(crate) const TRAILER_LEN: usize = 18;
/// The maximum number of bytes that [`write_line`] adds to a body.
pub(crate) const FRAME_LEN: usize = 144;

/// The length of a timestamp, in bytes.
const TS_LEN: usize = 27;
/// The start of every line of this version, up to the sequence number.
const START: &[u8] = b"{\"v\":1,\"seq\":";
/// The text before the id, the timestamp and the type.
const ID_KEY: &[u8] = b",\"id\":\"";
const TS_KEY: &[u8] = b"\",\"ts\":\"";
const KIND_KEY: &[u8] = b"\",\"type\":\"";
/// The offsets of the id, the timestamp and the type from the end of the sequence number.
const ID_AT: usize = ID_KEY.len();
const TS_AT: usize = ID_AT + ulid::ULID_LEN + TS_KEY.len();
const KIND_AT: usize = TS_AT + TS_LEN + KIND_KEY.len();
/// The number of quotes in the text before the id, the timestamp and the type.
const QUOTES: u8 = 3 + 4 + 4;

/// The limit of sequence numbers: every JSON reader holds smaller ones exactly.
pub(crate) const MAX_SEQ: u64 = 1 << 53;
/// The number of digits of [`MAX_SEQ`].
const MAX_DIGITS: u32 = 16;

const CRC_KEY: &[u8] = b",\"crc\":\"";

/// The reason why a line is damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageReason {
    /// The line does not end in a checksum.
    NoChecksum,
    /// The checksum does not match the line.
    BadChecksum,
    /// The checksum matches, but the envelope is malformed.
    BadFrame,
    /// The line has another version of the format.
    Version,
    /// The checksum matches, but the line is not one JSON object.
    NotJson,
    /// The line is neither runlog's nor that of a known program.
    Unrecognized,
    /// The line has only white space.
    Blank,
    /// The line is longer than a reader accepts.
    TooLong,
    /// A compressed segment cannot be read past this point.
    Compression,
    /// The `seq` has occurred before, so the line is a copy.
    Repeated,
    /// Events before the line are missing.
    Gap,
}

impl fmt::Display for DamageReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoChecksum => "it does not end in a checksum",
            Self::BadChecksum => "its checksum does not match",
            Self::BadFrame => "its frame is malformed",
            Self::Version => "its format version is not supported",
            Self::NotJson => "it is not one JSON object",
            Self::Unrecognized => "it is not an event",
            Self::Blank => "it is blank",
            Self::TooLong => "it is longer than 16 MiB",
            Self::Compression => "the compressed data cannot be read past this point",
            Self::Repeated => "its sequence number has already occurred",
            Self::Gap => "events are missing before it",
        })
    }
}

/// The envelope of a line of runlog whose checksum matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The sequence number.
    pub seq: u64,
    /// The type.
    pub kind: EventKind<'a>,
    /// The text between the sequence number and the type, in ASCII.
    head: &'a [u8; KIND_AT],
    /// The other fields, each with the comma before it.
    body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Checks and parses a line without its `\n`.
    ///
    /// # Errors
    /// The line is damage, for the returned reason.
    pub fn parse(line: &'a [u8]) -> Result<Self, DamageReason> {
        check_frame(line)?;
        Self::parse_checked(line).ok_or(DamageReason::BadFrame)
    }

    /// Parses the envelope of a line that was checked before; `None` if it is malformed.
    ///
    /// Every field is at a fixed offset. A reader parses each line, so this allocates nothing.
    #[inline]
    pub(crate) fn parse_checked(line: &'a [u8]) -> Option<Self> {
        let (seq, rest) = line.strip_prefix(START).and_then(take_number)?;
        let (head, rest) = rest.split_first_chunk::<KIND_AT>()?;
        let (kind, rest) = rest.split_at_checked(memchr::memchr(b'"', rest)?)?;
        let kind = match EventType::from_bytes(kind) {
            Some(kind) => EventKind::Known(kind),
            None => EventKind::Unknown(unescaped(kind)?),
        };
        let body = rest.strip_prefix(b"\"")?;
        (seq < MAX_SEQ && is_head(head)).then_some(Self {
            seq,
            kind,
            head,
            body,
        })
    }

    /// Returns the ULID, 26 lowercase characters.
    pub fn id(&self) -> &'a str {
        self.text(ID_AT, ulid::ULID_LEN)
    }

    /// Returns when the event was written, in RFC 3339 UTC with six decimals.
    pub fn ts(&self) -> &'a str {
        self.text(TS_AT, TS_LEN)
    }

    fn text(&self, at: usize, len: usize) -> &'a str {
        let text = self.head.get(at..at + len).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Returns when the event was written; `None` if `ts` is malformed.
    pub fn timestamp(&self) -> Option<Timestamp> {
        parse_ts(self.ts())
    }

    /// Returns when the event was written, or the time in its id if `ts` is malformed.
    ///
    /// The checksum still matches, so the event counts: a malformed time must not make a closed
    /// run look open.
    pub(crate) fn time(&self) -> Timestamp {
        let of_id = || i64::try_from(self.ulid()?.timestamp_ms()).ok();
        self.timestamp()
            .or_else(|| Timestamp::from_millisecond(of_id()?).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Returns the job that the event concerns.
    pub fn job_id(&self) -> Option<JobId> {
        let rest = self.body.strip_prefix(b",\"run_id\":\"")?;
        let rest = rest.get(memchr::memchr(b'"', rest)?..)?;
        let id = rest.strip_prefix(b"\",\"job_id\":\"")?;
        let id = id.get(..memchr::memchr(b'"', id)?)?;
        std::str::from_utf8(id).ok()?.parse().ok()
    }

    /// Returns the id as a comparable number; `None` if it is not a ULID.
    pub fn ulid(&self) -> Option<Ulid> {
        Ulid::from_string(self.id()).ok()
    }
}

/// Checks the version and the checksum of a line without its `\n`.
pub(crate) fn check_frame(line: &[u8]) -> Result<(), DamageReason> {
    let (checked, trailer) = line.split_last_chunk().ok_or(DamageReason::NoChecksum)?;
    let digits = crc_digits(trailer).ok_or(DamageReason::NoChecksum)?;
    // Parsing the digits would take an unpredictable branch for each.
    if digits != hex(crc32c::crc32c(checked)) {
        let is_crc = digits
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        return Err(if is_crc {
            DamageReason::BadChecksum
        } else {
            DamageReason::NoChecksum
        });
    }
    match checked.strip_prefix(PREFIX).and_then(take_number) {
        Some((FORMAT_VERSION, _)) => Ok(()),
        Some(_) => Err(DamageReason::Version),
        None => Err(DamageReason::BadFrame),
    }
}

/// The envelope at the start of a line that looks like one of runlog's.
pub(crate) struct Frame<'a> {
    pub(crate) seq: u64,
    id: &'a [u8],
    /// The text at the offset of the type.
    pub(crate) kind: &'a [u8],
}

impl Frame<'_> {
    /// Returns the id as a comparable number; `None` if it is not a ULID.
    pub(crate) fn ulid(&self) -> Option<Ulid> {
        Ulid::from_string(std::str::from_utf8(self.id).ok()?).ok()
    }

    /// Returns whether the event has this type.
    pub(crate) fn has_type(&self, kind: EventType) -> bool {
        let rest = self.kind.strip_prefix(kind.as_str().as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"\""))
    }
}

/// Parses the start of a line without checking the checksum.
pub(crate) fn peek_frame(line: &[u8]) -> Option<Frame<'_>> {
    let (seq, rest) = line.strip_prefix(START).and_then(take_number)?;
    let (frame, kind) = rest.split_at_checked(KIND_AT)?;
    let id = frame.get(ID_AT..)?.get(..ulid::ULID_LEN)?;
    Some(Frame { seq, id, kind })
}

/// Returns whether the text before the type is what runlog writes: the keys, and an id and a
/// timestamp in ASCII without escapes.
#[inline]
fn is_head(head: &[u8; KIND_AT]) -> bool {
    let (mut quotes, mut others) = (0_u8, false);
    let mut count = |bytes: &[u8]| {
        // Without an early exit, the compiler compares many bytes at once.
        for &byte in bytes {
            quotes += u8::from(byte == b'"');
            others |= needs_escape(byte) || !byte.is_ascii();
        }
    };
    // In whole vectors. Two bytes of the timestamp are counted twice; neither may be a quote.
    count(head.first_chunk::<64>().unwrap_or(&[0; 64]));
    count(head.last_chunk::<16>().unwrap_or(&[0; 16]));
    let has = |at: usize, key: &[u8]| head.get(at - key.len()..at) == Some(key);
    has(ID_AT, ID_KEY)
        && has(TS_AT, TS_KEY)
        && has(KIND_AT, KIND_KEY)
        && quotes == QUOTES
        && !others
}

/// Returns the text of a JSON string; `None` if it has escapes or is not UTF-8.
fn unescaped(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    (!text.bytes().any(needs_escape)).then_some(text)
}

/// Returns whether a JSON string can hold this byte, which is not a quote, only as an escape.
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'\\'
}

/// Returns whether a line is one JSON object in UTF-8.
///
/// A line with a matching checksum is what runlog wrote, so only `--verify` needs this check.
pub(crate) fn is_json_object(line: &[u8]) -> bool {
    line.starts_with(b"{")
        && std::str::from_utf8(line)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Returns the digits of the checksum at the end of a line.
fn crc_digits(trailer: &[u8; TRAILER_LEN]) -> Option<[u8; 8]> {
    let digits = trailer.strip_prefix(CRC_KEY)?.strip_suffix(b"\"}")?;
    digits.try_into().ok()
}

/// Returns a checksum as lowercase hex digits.
fn hex(crc: u32) -> [u8; 8] {
    // Spread to one digit per byte, then turned into characters all at once.
    let mut digits = u64::from(crc);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    let to_letter = u64::from(b'a' - b'0' - 10);
    (digits + 0x3030_3030_3030_3030 + letters * to_letter).to_be_bytes()
}

/// Returns the number without leading zeros at the start of `bytes`, and the rest; `None` if there
/// is none, or it has more than [`MAX_DIGITS`] digits.
#[inline]
fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number: u64 = 0;
    let mut digits = 0;
    let mut rest = bytes;
    while let Some((digit @ b'0'..=b'9', behind)) = rest.split_first() {
        number = number * 10 + u64::from(digit - b'0');
        digits += 1;
        if digits > MAX_DIGITS {
            return None;
        }
        rest = behind;
    }
    let canonical = digits == 1 || digits > 1 && bytes.first() != Some(&b'0');
    canonical.then_some((number, rest))
}

/// Appends one whole line, including its `\n`, to `out`. `body` is the text between `ts` and
/// `crc`: `"type":"…",…`.
pub(crate) fn write_line(out: &mut Vec<u8>, seq: u64, id: Ulid, ts: &str, body: &[u8]) {
    let start = out.len();
    out.reserve(body.len() + FRAME_LEN);
    let mut id_text = [0; ulid::ULID_LEN];
    let id_text = id.array_to_str(&mut id_text);
    id_text.make_ascii_lowercase();
    out.extend_from_slice(START);
    push_number(out, seq);
    out.extend_from_slice(ID_KEY);
    out.extend_from_slice(id_text.as_bytes());
    out.extend_from_slice(TS_KEY);
    out.extend_from_slice(ts.as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(body);
    seal(out, start);
}

/// Ends the object that starts at `start` in `out` with its checksum, `"}` and `\n`.
pub(crate) fn seal(out: &mut Vec<u8>, start: usize) {
    let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(CRC_KEY);
    out.extend_from_slice(&hex(crc));
    out.extend_from_slice(b"\"}\n");
}

/// Appends a number without the overhead of `write!`: this runs for every event, under the lock.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let start = out.len();
    let mut rest = number;
    loop {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
