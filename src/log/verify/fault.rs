//! What is wrong with a run's files, as people and programs are told.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// What kind of fault it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A line that is no event.
    DamagedLine,
    /// A line whose checksum matches although runlog cannot have written it.
    Forged,
    /// The last line has no `\n`, and nobody is writing it.
    TornTail,
    /// Events are missing.
    Gap,
    /// A number that was there before.
    Repeated,
    /// An id that is no ULID, or not above the one before.
    Id,
    /// A time that is not as it has to be.
    Time,
    /// Fields that are not those of the event's type, or of another run.
    Fields,
    /// A stage that may not follow the one before.
    StageOrder,
    /// Segments that do not follow each other as they say.
    SegmentChain,
    /// A checkpoint or summary that is not what the events before it tell.
    Checkpoint,
    /// Output is shorter than the log says: lost with the power, or cut.
    OutputLost,
    /// Output that the log does not tell of.
    OutputUnknown,
    /// An index of output that is malformed, missing, or tells of more than there is.
    OutputIndex,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; `None` where the file as a whole is meant.
    pub line: Option<u64>,
    /// Where that line begins, in bytes before compression.
    pub offset: Option<u64>,
    /// The number of the event, where it has one.
    pub seq: Option<u64>,
    /// What is wrong, for people.
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
