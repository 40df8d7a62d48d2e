//! The last lines of a run: found backwards from its end, then read forwards, so that
//! no more than one line is held however many are asked for.

use std::io;

use super::LogError;
use super::backward::Backward;
use super::dialect::Class;
use super::lines::RawLine;
use super::reader::Reader;
use super::segments::{Segment, open_segments};
use super::tail::classify_raw;
use crate::volume::{Dir, IoContext};

/// A reader that begins so that `n` of the sound lines that `want` says yes to are left in
/// the run in `dir`, or all of them if there are fewer.
///
/// # Errors
/// A segment cannot be read.
pub fn last_lines(dir: &Dir, n: usize, want: &dyn Fn(&[u8]) -> bool) -> Result<Reader, LogError> {
    let mut segments = open_segments(dir)?;
    let mut missing = n;
    let mut start = None;
    for (at, segment) in segments.iter().enumerate().rev() {
        let offset = if segment.compressed {
            find_forwards(segment, &mut missing, want)
        } else {
            find_backwards(segment, &mut missing, want).at("read", &segment.path)?
        };
        start = Some((at, offset));
        if missing == 0 {
            break;
        }
    }
    let (at, offset) = start.unwrap_or_default();
    segments.drain(..at);
    Ok(Reader::starting(segments, offset, None))
}

/// Where the reading of a segment begins; `missing` is lowered by what is behind it.
fn find_backwards(
    segment: &Segment,
    missing: &mut usize,
    want: &dyn Fn(&[u8]) -> bool,
) -> io::Result<u64> {
    let mut back = Backward::new(&segment.file, segment.len);
    let mut start = segment.len;
    loop {
        let line = match back.prev_line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(0),
            // A segment that shrinks meanwhile is being mended: what is left is read.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            Err(e) => return Err(e),
        };
        let in_flight = !line.whole && segment.first_seq.is_none();
        if !in_flight {
            if *missing == 0 {
                return Ok(start);
            }
            if sound(&line) && want(line.bytes) {
                *missing -= 1;
            }
        }
        start = line.offset;
    }
}

fn find_forwards(segment: &Segment, missing: &mut usize, want: &dyn Fn(&[u8]) -> bool) -> u64 {
    let mut wanted = Vec::new();
    let mut lines = segment.lines();
    // What cannot be decompressed is told when it is read.
    while let Ok(Some(line)) = lines.next_line() {
        if sound(&line) && want(line.bytes) {
            wanted.push(line.offset);
        }
    }
    let skip = wanted.len().saturating_sub(*missing);
    *missing -= wanted.len() - skip;
    let first = wanted.get(skip).copied();
    first.filter(|_| skip > 0).unwrap_or(0)
}

fn sound(line: &RawLine<'_>) -> bool {
    !matches!(classify_raw(line), Class::Damage(_))
}
