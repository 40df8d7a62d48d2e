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
/// The text before the sequence number, the id, the timestamp and the type.
const SEQ_KEY: &[u8] = b",\"seq\":";
const ID_KEY: &str = ",\"id\":\"";
const TS_KEY: &str = "\",\"ts\":\"";
const KIND_KEY: &str = "\",\"type\":\"";
/// The offset of the type from the end of the sequence number.
const KIND_AT: usize = ID_KEY.len() + ulid::ULID_LEN + TS_KEY.len() + TS_LEN + KIND_KEY.len();

/// The limit of sequence numbers: every JSON reader holds smaller ones exactly.
pub(crate) const MAX_SEQ: u64 = 1 << 53;

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
    Unrecognised,
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
            Self::Version => "it is of a format that this runlog does not know",
            Self::NotJson => "it is not one JSON object",
            Self::Unrecognised => "it is not an event",
            Self::Blank => "it is blank",
            Self::TooLong => "it is longer than 16 MiB",
            Self::Compression => "the compressed data cannot be read on from here",
            Self::Repeated => "its seq was there before",
            Self::Gap => "events are missing before it",
        })
    }
}

/// The envelope of a line of runlog whose checksum matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The sequence number.
    pub seq: u64,
    /// The ULID, 26 lowercase characters.
    pub id: &'a str,
    /// When the event was written, in RFC 3339 UTC with six decimals.
    pub ts: &'a str,
    /// The type.
    pub kind: EventKind<'a>,
    /// The other fields, each with the comma before it.
    body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Checks and parses a line without its `\n`.
    ///
    /// # Errors
    /// The line is damage, for the returned reason.
    pub fn parse(line: &'a [u8]) -> Result<Self, DamageReason> {
        let env = Self::parse_fields(check(line)?).ok_or(DamageReason::BadFrame)?;
        let fits = [env.id, env.ts, env.kind.as_str()]
            .into_iter()
            .all(needs_no_escape);
        fits.then_some(env).ok_or(DamageReason::BadFrame)
    }

    /// Parses the envelope of a line that was checked before.
    pub(crate) fn parse_checked(line: &'a [u8]) -> Option<Self> {
        let (_, rest) = line.strip_prefix(PREFIX).and_then(take_number)?;
        Self::parse_fields(rest)
    }

    /// Parses the fields at fixed offsets after the version.
    ///
    /// A reader calls this twice for each line, so it allocates nothing and checks UTF-8 once.
    fn parse_fields(rest: &'a [u8]) -> Option<Self> {
        let (seq, rest) = take_number(rest.strip_prefix(SEQ_KEY)?)?;
        let kind_len = memchr::memchr(b'"', rest.get(KIND_AT..)?)?;
        let (texts, behind) = rest.split_at_checked(KIND_AT + kind_len)?;
        let texts = std::str::from_utf8(texts).ok()?;
        let (id, texts) = texts
            .strip_prefix(ID_KEY)?
            .split_at_checked(ulid::ULID_LEN)?;
        let (ts, texts) = texts.strip_prefix(TS_KEY)?.split_at_checked(TS_LEN)?;
        let kind = texts.strip_prefix(KIND_KEY)?;
        let body = behind.strip_prefix(b"\"")?;
        (seq < MAX_SEQ).then_some(Self {
            seq,
            id,
            ts,
            kind: EventKind::new(kind),
            body,
        })
    }

    /// Returns when the event was written; `None` if `ts` is malformed.
    pub fn timestamp(&self) -> Option<Timestamp> {
        parse_ts(self.ts)
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
        Ulid::from_string(self.id).ok()
    }
}

/// Checks the version and the checksum of a line without its `\n`, and returns the text between
/// them.
pub(crate) fn check(line: &[u8]) -> Result<&[u8], DamageReason> {
    let (checked, crc) = split_trailer(line).ok_or(DamageReason::NoChecksum)?;
    if crc32c::crc32c(checked) != crc {
        return Err(DamageReason::BadChecksum);
    }
    let (version, rest) = checked
        .strip_prefix(PREFIX)
        .and_then(take_number)
        .ok_or(DamageReason::BadFrame)?;
    if version == FORMAT_VERSION {
        Ok(rest)
    } else {
        Err(DamageReason::Version)
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
    let (version, rest) = line.strip_prefix(PREFIX).and_then(take_number)?;
    let (seq, rest) = take_number(rest.strip_prefix(SEQ_KEY)?)?;
    let (frame, kind) = rest.split_at_checked(KIND_AT)?;
    let id = frame.get(ID_KEY.len()..)?.get(..ulid::ULID_LEN)?;
    (version == FORMAT_VERSION).then_some(Frame { seq, id, kind })
}

/// Returns whether a JSON string can hold this text without escapes.
fn needs_no_escape(text: &str) -> bool {
    // Without an early exit, the compiler compares many bytes at once.
    let escaped = |byte: u8| byte < 0x20 || byte == b'\\' || byte == b'"';
    !text
        .bytes()
        .fold(false, |found, byte| found | escaped(byte))
}

/// Returns whether a line is one JSON object in UTF-8.
///
/// A line with a matching checksum is what runlog wrote, so only `--verify` needs this check.
pub(crate) fn is_json_object(line: &[u8]) -> bool {
    line.starts_with(b"{")
        && std::str::from_utf8(line)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn split_trailer(line: &[u8]) -> Option<(&[u8], u32)> {
    let at = line.len().checked_sub(TRAILER_LEN)?;
    let (checked, trailer) = line.split_at_checked(at)?;
    let hex = trailer.strip_prefix(CRC_KEY)?.strip_suffix(b"\"}")?;
    let lower = hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let crc = u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
    lower.then_some((checked, crc))
}

fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number: u64 = 0;
    let mut rest = bytes;
    while let Some((digit @ b'0'..=b'9', behind)) = rest.split_first() {
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        rest = behind;
    }
    let digits = bytes.len() - rest.len();
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
    out.extend_from_slice(PREFIX);
    push_number(out, FORMAT_VERSION);
    out.extend_from_slice(SEQ_KEY);
    push_number(out, seq);
    out.extend_from_slice(ID_KEY.as_bytes());
    out.extend_from_slice(id_text.as_bytes());
    out.extend_from_slice(TS_KEY.as_bytes());
    out.extend_from_slice(ts.as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(body);
    seal(out, start);
}

/// Ends the object that starts at `start` in `out` with its checksum, `"}` and `\n`.
pub(crate) fn seal(out: &mut Vec<u8>, start: usize) {
    let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(CRC_KEY);
    for shift in (0..8).rev() {
        let digit = (crc >> (shift * 4)) & 0xf;
        out.extend(char::from_digit(digit, 16).map(|c| c as u8));
    }
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
mod tests {
    use super::*;
    use crate::log::format::event_type::EventType;

    fn line() -> Vec<u8> {
        let mut out = Vec::new();
        let id = Ulid::from_parts(1_800_000_000_000, 42);
        write_line(
            &mut out,
            7,
            id,
            "2026-11-21T21:49:00.123456Z",
            br#""type":"note","run_id":"r""#,
        );
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    #[test]
    fn line_roundtrips() {
        let line = line();
        let env = Envelope::parse(&line).unwrap();
        assert_eq!(
            (env.seq, env.kind, env.ts),
            (
                7,
                EventKind::Known(EventType::Note),
                "2026-11-21T21:49:00.123456Z"
            )
        );
        assert_eq!(env.ulid(), Some(Ulid::from_parts(1_800_000_000_000, 42)));
        assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
        let (checked, trailer) = line.split_at(line.len() - TRAILER_LEN);
        assert!(trailer.starts_with(b",\"crc\":\""));
        let hex = format!("{:08x}", crc32c::crc32c(checked));
        assert_eq!(&trailer[8..16], hex.as_bytes());
    }

    #[test]
    fn every_changed_byte_is_detected() {
        let line = line();
        for at in 0..line.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bad = line.clone();
                bad[at] ^= flip;
                assert!(Envelope::parse(&bad).is_err(), "byte {at} ^ {flip:#x}");
            }
            assert!(Envelope::parse(&line[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn crc32c_matches_check_value() {
        // RFC 3720, B.4: 32 bytes of zeroes.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
