//! The last lines of a run, found backward from its end and then read forward, so that only one
//! line is held at a time, however many are requested.

use std::fs::File;
use std::io;

use super::missing_active::ActiveCheck;
use super::reader::{Item, Reader};
use crate::log::error::StorageError;
use crate::log::format::classify::LineClass;
use crate::log::format::envelope::peek_frame;
use crate::log::segment::line_reader::classify_raw;
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::segment::segment_file::{Segment, SegmentFile};
use crate::log::segment::segment_set::open_segments;
use crate::log::segment::sequence::TAIL_CHECK_BYTES;
use crate::volume::{Dir, IoContext};

/// Returns a reader of the last `n` valid lines that `want` selects in the run in `dir`, or of
/// all of them if there are fewer.
///
/// # Errors
/// A segment cannot be read.
pub fn last_lines(
    dir: &Dir,
    n: usize,
    want: &dyn Fn(&[u8]) -> bool,
) -> Result<Reader, StorageError> {
    let mut segments = open_segments(dir)?;
    let check = ActiveCheck::new(dir, &segments)?;
    let mut missing = n;
    let mut start = None;
    let mut later = None;
    for (at, segment) in segments.iter().enumerate().rev() {
        // The segment was pruned since it was listed, and so were all earlier ones.
        let Some(segment) = segment.to_held()? else {
            break;
        };
        let opened = segment.open()?;
        let offset = if segment.compressed {
            find_forward(&opened, &mut missing, want)
        } else {
            match find_backward(&segment, &opened.file, &mut missing, &mut later, want)
                .at("read", &segment.path)?
            {
                Some(offset) => offset,
                None => return last_in_order(dir, n, want),
            }
        };
        start = Some((at, offset));
        if missing == 0 {
            break;
        }
    }
    let (at, offset) = start.unwrap_or_default();
    segments.drain(..at);
    Ok(Reader::starting_at(segments, offset, None).checking(check))
}

/// Finds the last lines of a run with lines that are out of order: only reading it from its
/// start shows which of them count.
fn last_in_order(
    dir: &Dir,
    n: usize,
    want: &dyn Fn(&[u8]) -> bool,
) -> Result<Reader, StorageError> {
    let wanted = |item: &Item<'_>| match item {
        Item::Event(_, line) | Item::Foreign(_, line) => want(line),
        Item::Damage(_) | Item::Dropped(_) => false,
    };
    let mut total = 0_usize;
    let mut counter = Reader::open(dir)?;
    while let Some(item) = counter.next_item()? {
        total += usize::from(wanted(&item));
    }
    let mut skip = total.saturating_sub(n);
    let mut reader = Reader::open(dir)?;
    while skip > 0
        && let Some(item) = reader.next_item()?
    {
        skip -= usize::from(wanted(&item));
    }
    Ok(reader)
}

/// Finds where to start reading a segment. Decreases `missing` by the number of lines found
/// there. `later` is the number of the event after the searched lines. Returns `None` if the
/// lines are not in order, or not what they seem.
fn find_backward(
    segment: &Segment,
    file: &File,
    missing: &mut usize,
    later: &mut Option<u64>,
    want: &dyn Fn(&[u8]) -> bool,
) -> io::Result<Option<u64>> {
    let mut back = RevLineReader::new(file, segment.len);
    // The start of the lines searched so far, and the start of the requested lines.
    let mut end = segment.len;
    let mut start = None;
    loop {
        if let Some(start) = start.filter(|_| segment.len - end >= TAIL_CHECK_BYTES) {
            return Ok(Some(start));
        }
        let line = match back.prev_line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(Some(start.unwrap_or(0))),
            // A segment that shrinks in the meantime is being repaired. Read all that remains.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(0)),
            Err(e) => return Err(e),
        };
        let in_flight = !line.whole && segment.first_seq.is_none();
        if !in_flight {
            if *missing == 0 {
                start.get_or_insert(end);
            }
            // Check the lines to return in full. For the lines before them, only the order
            // matters, and their envelopes show it.
            let seq = if start.is_some()
                && let Some(seen) = peek_frame(line.bytes)
                && *later == seen.seq.checked_add(1)
            {
                Some(seen.seq)
            } else {
                let class = classify_raw(&line);
                let sound = !matches!(class, LineClass::Damage(_));
                if start.is_none() && sound && want(line.bytes) {
                    *missing -= 1;
                }
                match class {
                    LineClass::Ours(env) => Some(env.seq),
                    LineClass::Foreign(_) | LineClass::Damage(_) => None,
                }
            };
            if let Some(seq) = seq
                && later.replace(seq).is_some_and(|later| later <= seq)
            {
                return Ok(None);
            }
        }
        end = line.offset;
    }
}

fn find_forward(segment: &SegmentFile, missing: &mut usize, want: &dyn Fn(&[u8]) -> bool) -> u64 {
    let mut wanted = Vec::new();
    let mut lines = segment.lines();
    // The reader reports data that cannot be decompressed.
    while let Ok(Some(line)) = lines.next_line() {
        if !matches!(classify_raw(&line), LineClass::Damage(_)) && want(line.bytes) {
            wanted.push(line.offset);
        }
    }
    let skip = wanted.len().saturating_sub(*missing);
    *missing -= wanted.len() - skip;
    let first = wanted.get(skip).copied();
    first.filter(|_| skip > 0).unwrap_or(0)
}
