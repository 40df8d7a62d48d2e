//! Whether the segments of a run follow each other as they say.

use std::path::PathBuf;

use super::fault::FaultKind;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::Sealed;
use crate::log::read::reader::LinePosition;
use crate::log::segment::segment_set::Segment;

/// A segment as it was opened, and what was found in it.
struct Found {
    name: String,
    path: PathBuf,
    first_seq: Option<u64>,
    compressed: bool,
    /// Its length before compression, as far as it is known.
    bytes: Option<u64>,
    events: u64,
    last_seq: Option<u64>,
    /// The line that was read last.
    line: u64,
    damaged: bool,
}

/// Follows the segments while their lines are read.
pub(crate) struct Chain {
    segments: Vec<Found>,
    at: usize,
}

/// A fault, and the file where it concerns one as a whole.
pub(crate) type Finding = (Option<PathBuf>, FaultKind, String);

impl Chain {
    pub(crate) fn new(segments: &[Segment]) -> Self {
        let found = |segment: &Segment| Found {
            name: segment.name.clone(),
            path: segment.path.clone(),
            first_seq: segment.first_seq,
            compressed: segment.compressed,
            bytes: (!segment.compressed).then_some(segment.len),
            events: 0,
            last_seq: None,
            line: 0,
            damaged: false,
        };
        Self {
            segments: segments.iter().map(found).collect(),
            at: 0,
        }
    }

    /// How many lines were found in the last segment.
    pub(crate) fn lines_of_last(&self) -> u64 {
        self.segments.last().map_or(0, |s| s.line)
    }

    /// Goes to the segment in which a line stands.
    fn move_to_segment(&mut self, place: &LinePosition<'_>) {
        while self
            .segments
            .get(self.at)
            .is_some_and(|s| s.path != place.file)
            && self.at + 1 < self.segments.len()
        {
            self.at += 1;
        }
        if let Some(current) = self.segments.get_mut(self.at) {
            current.line = place.line;
            if current.compressed {
                current.bytes = Some(place.end);
            }
        }
    }

    /// A damaged line.
    pub(crate) fn damage(&mut self, place: &LinePosition<'_>) {
        self.move_to_segment(place);
        if let Some(current) = self.segments.get_mut(self.at) {
            current.damaged = true;
        }
    }

    /// A line of another program.
    pub(crate) fn foreign(&mut self, place: &LinePosition<'_>) {
        self.move_to_segment(place);
    }

    /// An event; `sealed` is what it says if it is a `log_rotated`.
    pub(crate) fn event(
        &mut self,
        place: &LinePosition<'_>,
        env: &Envelope<'_>,
        sealed: Option<&Sealed>,
        tell: &mut dyn FnMut(Finding),
    ) {
        self.move_to_segment(place);
        let at = self.at.min(self.segments.len());
        let (before, rest) = self.segments.split_at_mut(at);
        let Some(current) = rest.first_mut() else {
            return;
        };
        current.events += 1;
        current.last_seq = Some(env.seq);
        let mut wrong = |message| tell((None, FaultKind::SegmentChain, message));
        if place.line == 1
            && let Some(first_seq) = current.first_seq.filter(|n| *n != env.seq)
        {
            wrong(format!(
                "the file is named after event {first_seq}, and begins with event {}",
                env.seq
            ));
        }
        let kind = EventType::parse(env.kind);
        let rotated = kind == Some(EventType::LogRotated);
        // Behind damage it may be anything.
        let is_first = current.events == 1;
        if rotated && !is_first {
            wrong("log_rotated, but not as the first event of a segment".to_owned());
        }
        if !is_first {
            return;
        }
        match before.last() {
            None if env.seq > 0 && !rotated && !current.damaged => tell((
                None,
                FaultKind::Gap,
                format!(
                    "the events before {} are missing, and no checkpoint tells of them",
                    env.seq
                ),
            )),
            None => {}
            Some(previous) => match sealed {
                Some(sealed) => of_sealed(previous, sealed, &mut wrong),
                // An end that was torn in the middle of a rotation is mended first.
                None if rotated || current.damaged => {}
                None if kind == Some(EventType::LogRepaired) => {}
                None => wrong(
                    "a segment that follows a sealed one begins with log_rotated, this does not"
                        .to_owned(),
                ),
            },
        }
    }

    /// What can be told only when all was read.
    pub(crate) fn end(&self, tell: &mut dyn FnMut(Finding)) {
        for segment in self.segments.iter().filter(|s| s.first_seq.is_some()) {
            if segment.line == 0 && !segment.damaged {
                let message = "a sealed segment without a line".to_owned();
                tell((Some(segment.path.clone()), FaultKind::SegmentChain, message));
            }
        }
    }
}

/// Compares what was sealed with what is there.
fn of_sealed(previous: &Found, sealed: &Sealed, wrong: &mut dyn FnMut(String)) {
    let plain = |name: &str| name.strip_suffix(".gz").unwrap_or(name).to_owned();
    if plain(&sealed.file) != plain(&previous.name) {
        wrong(format!(
            "it was written behind {}, and stands behind {}",
            sealed.file, previous.name
        ));
        return;
    }
    if previous.first_seq != Some(sealed.first_seq) {
        wrong(format!(
            "it says that {} begins with event {}",
            previous.name, sealed.first_seq
        ));
    }
    // What is damaged may have been one of its events.
    if previous.damaged {
        return;
    }
    if previous.last_seq != sealed.last_seq {
        let number = |n: Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
        wrong(format!(
            "the last event of {} was {} when it was sealed, and is {}",
            previous.name,
            number(sealed.last_seq),
            number(previous.last_seq)
        ));
    }
    if let Some(bytes) = previous.bytes.filter(|n| *n != sealed.bytes) {
        wrong(format!(
            "{} had {} bytes when it was sealed, and has {bytes}",
            previous.name, sealed.bytes
        ));
    }
}
