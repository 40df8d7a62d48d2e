//! The chain of segments: whether each segment is the one that the next checkpoint describes.

use std::path::PathBuf;

use jiff::Timestamp;

use super::fault::{EventFaults, Fault, FaultKind, FaultList};
use crate::log::format::envelope::Envelope;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::Sealed;
use crate::log::read::segment_reader::LinePosition;
use crate::log::segment::segment_checksum::SegmentChecksum;
use crate::log::segment::segment_file::Segment;
use crate::volume::Dir;

/// A segment and the contents of its lines.
struct SegmentScan {
    name: String,
    path: PathBuf,
    first_seq: Option<u64>,
    compressed: bool,
    /// The length before compression, up to the point that was read.
    bytes: Option<u64>,
    events: u64,
    last_seq: Option<u64>,
    last_ts: Option<Timestamp>,
    checksum: SegmentChecksum,
    /// The number of the last line that was read, from 1.
    line: u64,
    damaged: bool,
}

/// The segments of a run, checked line by line.
pub(crate) struct Chain {
    segments: Vec<SegmentScan>,
    /// The index of the segment that is being read.
    current: usize,
}

impl Chain {
    pub(crate) fn new(segments: &[Segment]) -> Self {
        let scan = |segment: &Segment| SegmentScan {
            name: segment.name.clone(),
            path: segment.path.clone(),
            first_seq: segment.first_seq,
            compressed: segment.compressed,
            bytes: (!segment.compressed).then_some(segment.len),
            events: 0,
            last_seq: None,
            last_ts: None,
            checksum: SegmentChecksum::default(),
            line: 0,
            damaged: false,
        };
        Self {
            segments: segments.iter().map(scan).collect(),
            current: 0,
        }
    }

    /// Returns the number of lines in the last segment.
    pub(crate) fn lines_of_last(&self) -> u64 {
        self.segments.last().map_or(0, |s| s.line)
    }

    /// Advances to the segment that contains a line.
    fn advance_to(&mut self, position: &LinePosition<'_>) {
        while self
            .segments
            .get(self.current)
            .is_some_and(|s| s.path != position.file)
            && self.current + 1 < self.segments.len()
        {
            self.current += 1;
        }
        if let Some(current) = self.segments.get_mut(self.current) {
            current.line = position.line;
            if current.compressed {
                current.bytes = Some(position.end);
            }
        }
    }

    /// Adds a damaged line.
    pub(crate) fn damage(&mut self, position: &LinePosition<'_>) {
        self.advance_to(position);
        if let Some(current) = self.segments.get_mut(self.current) {
            current.damaged = true;
        }
    }

    /// Adds the bytes of an event, or of a line of another program.
    pub(crate) fn line(&mut self, position: &LinePosition<'_>, bytes: &[u8]) {
        self.advance_to(position);
        if let Some(current) = self.segments.get_mut(self.current) {
            current.checksum.push(bytes);
            if position.end > position.offset + bytes.len() as u64 {
                current.checksum.push(b"\n");
            }
        }
    }

    /// Checks an event. For a `log_rotated`, `sealed` describes the segment before it.
    pub(crate) fn event(
        &mut self,
        position: &LinePosition<'_>,
        env: &Envelope<'_>,
        sealed: Option<&Sealed>,
        faults: &mut EventFaults<'_>,
    ) {
        let at = self.current.min(self.segments.len());
        let (before, rest) = self.segments.split_at_mut(at);
        let Some(current) = rest.first_mut() else {
            return;
        };
        current.events += 1;
        current.last_seq = Some(env.seq);
        current.last_ts = env.timestamp().or(current.last_ts);
        let mut broken = |message| faults.push(FaultKind::SegmentChain, message);
        if position.line == 1
            && let Some(first_seq) = current.first_seq.filter(|n| *n != env.seq)
        {
            broken(format!(
                "the file is named after event {first_seq}, but starts with event {}",
                env.seq
            ));
        }
        let kind = env.kind.known();
        let rotated = kind == Some(EventType::LogRotated);
        let is_first = current.events == 1;
        if rotated && !is_first {
            broken("log_rotated is not the first event of a segment".to_owned());
        }
        if !is_first {
            return;
        }
        match before.last() {
            None => {}
            Some(previous) => match sealed {
                Some(sealed) => compare_with_sealed(previous, sealed, &mut broken),
                // A writer repairs a tail that was torn during a rotation first.
                None if rotated || current.damaged => {}
                None if kind == Some(EventType::LogRepaired) => {}
                None => broken(
                    "the segment after a sealed one does not start with log_rotated".to_owned(),
                ),
            },
        }
    }

    /// Reports sealed segments without lines, after all lines were added.
    pub(crate) fn finish(&self, dir: &Dir, faults: &mut FaultList) {
        for segment in self.segments.iter().filter(|s| s.first_seq.is_some()) {
            if segment.line == 0 && !segment.damaged {
                let path = dir.path().join(&segment.name);
                let message = "a sealed segment without a line".to_owned();
                faults.push(Fault::in_file(FaultKind::SegmentChain, path, message));
            }
        }
    }
}

/// Compares a segment with its description from the time of its sealing.
fn compare_with_sealed(previous: &SegmentScan, sealed: &Sealed, broken: &mut dyn FnMut(String)) {
    let plain = |name: &str| name.strip_suffix(".gz").unwrap_or(name).to_owned();
    if plain(&sealed.file) != plain(&previous.name) {
        broken(format!(
            "it was written after {}, but follows {}",
            sealed.file, previous.name
        ));
        return;
    }
    if previous.first_seq != Some(sealed.first_seq) {
        broken(format!(
            "it says that {} starts with event {}",
            previous.name, sealed.first_seq
        ));
    }
    // A damaged line may have been an event of the segment.
    if previous.damaged {
        return;
    }
    if previous.last_seq != sealed.last_seq {
        let number = |n: Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
        broken(format!(
            "the last event of {} was {} when it was sealed, and is {}",
            previous.name,
            number(sealed.last_seq),
            number(previous.last_seq)
        ));
    }
    if let Some(bytes) = previous.bytes.filter(|n| *n != sealed.bytes) {
        broken(format!(
            "{} had {} bytes when it was sealed, and has {bytes}",
            previous.name, sealed.bytes
        ));
        return;
    }
    if sealed.last_ts.is_some() && previous.last_ts != sealed.last_ts {
        broken(format!(
            "the last event of {} had another time when it was sealed",
            previous.name
        ));
    }
    let checksum = previous.checksum.to_hex();
    if let (Some(now), Some(then)) = (checksum, &sealed.crc32c)
        && now != *then
    {
        broken(format!(
            "{} had the checksum {then} when it was sealed, and has {now}",
            previous.name
        ));
    }
}
