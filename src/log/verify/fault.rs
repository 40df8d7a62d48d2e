//! The faults that verification reports.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::log::read::segment_reader::LinePosition;

/// The kind of a fault, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A line that is not an event.
    DamagedLine,
    /// A line whose checksum matches although runlog cannot have written it.
    Forged,
    /// A last line without `\n` that no process is writing.
    TornTail,
    /// Missing events.
    Gap,
    /// A sequence number that has occurred before.
    Repeated,
    /// An id that is not a ULID, or not greater than the previous one.
    Id,
    /// A malformed time.
    Time,
    /// Fields that do not match the event's type, or that belong to another run.
    Fields,
    /// A stage that may not follow the previous one.
    StageOrder,
    /// A segment that does not follow the one that its checkpoint describes.
    SegmentChain,
    /// A checkpoint or summary that differs from the state after the events before it.
    Checkpoint,
    /// Counts of jobs that differ from those of the events so far.
    JobCounts,
    /// Output that is shorter than the log says, because it was cut or lost in a power failure.
    OutputLost,
    /// Output of a job that is not in the log.
    OutputUnknown,
    /// An index of output that is malformed or missing, or that extends past the output.
    OutputIndex,
}

/// One fault in the files of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None` if the fault concerns the whole file.
    pub line: Option<u64>,
    /// The offset of the line, in bytes before compression.
    pub offset: Option<u64>,
    /// The sequence number of the event, if the line has one.
    pub seq: Option<u64>,
    /// A description for people.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        for number in [self.line, self.offset].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Fault {
    /// Creates a fault that concerns a whole file.
    pub(crate) fn in_file(kind: FaultKind, file: PathBuf, message: String) -> Self {
        Self {
            kind,
            file,
            line: None,
            offset: None,
            seq: None,
            message,
        }
    }
}

/// The faults that were found but not yet returned.
#[derive(Default)]
pub(crate) struct FaultList(Vec<Fault>);

impl FaultList {
    pub(crate) fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Returns a list for the faults of one event.
    pub(crate) fn at_event<'a>(
        &'a mut self,
        position: &'a LinePosition<'a>,
        seq: u64,
    ) -> EventFaults<'a> {
        EventFaults {
            list: self,
            position,
            seq,
        }
    }

    /// Removes and returns all faults.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Fault> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }
}

/// The faults of one event.
pub(crate) struct EventFaults<'a> {
    list: &'a mut FaultList,
    position: &'a LinePosition<'a>,
    seq: u64,
}

impl EventFaults<'_> {
    pub(crate) fn push(&mut self, kind: FaultKind, message: String) {
        self.list.push(Fault {
            kind,
            file: self.position.file.to_owned(),
            line: Some(self.position.line),
            offset: Some(self.position.offset),
            seq: Some(self.seq),
            message,
        });
    }
}
