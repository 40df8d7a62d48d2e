//! Verification of a run's files against the format: checksums, sequence numbers, ids,
//! times, the order of stages, the chain of segments, checkpoints, and captured output.
//!
//! Each file is read once, forwards and without a lock. Only one line and the state of the run
//! are in memory.

pub(crate) mod chain;
pub(crate) mod checkpoint;
pub(crate) mod fault;
pub(crate) mod fields;
pub(crate) mod order;
pub(crate) mod outputs;
pub(crate) mod report;
#[cfg(test)]
mod tests;
pub(crate) mod torn_tail;
pub(crate) mod verifier;

use crate::log::error::StorageError;
use crate::log::lock::file_lock;
use crate::log::read::missing_active::ActiveCheck;
use crate::log::read::reader::Reader;
use crate::log::read::runtimo_wal::RuntimoWal;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::segment_set::open_segments;
use crate::log::verify::fault::Fault;
use crate::log::verify::report::VerifyReport;
use crate::log::verify::torn_tail::UnfinishedLine;
use crate::log::verify::verifier::Verifier;
use crate::volume::Dir;

/// Verifies the run in `dir`, and passes each fault to `each` in log order.
///
/// # Errors
/// A file cannot be read, or `each` failed.
pub fn verify<E: From<StorageError>>(
    dir: &Dir,
    mut each: impl FnMut(Fault) -> Result<(), E>,
) -> Result<VerifyReport, E> {
    let mut faults = 0;
    let (mut pass, unfinished, check) = loop {
        let segments = open_segments(dir)?;
        let check = ActiveCheck::new(dir, &segments)?;
        let mut pass = VerifyPass::new(segments, &mut each);
        pass.verifier.report.faults = faults;
        let unfinished = pass.read_lines()?;
        if !pass.reader.has_dropped() {
            break (pass, unfinished, check);
        }
        // All verified segments were dropped. The others are verified as a log of their own.
        faults = pass.verifier.report.faults;
    };
    if let Some(missing) = check.missing(pass.reader.has_checkpoint()) {
        pass.verifier.report_missing_active(&missing);
    }
    let verifier = &mut pass.verifier;
    verifier.finish_chain(dir);
    if let Some(unfinished) = unfinished {
        if unfinished.is_torn(dir)? {
            verifier.report_torn_tail(&unfinished, "the next writer repairs it");
        } else {
            verifier.report.in_flight = true;
        }
    }
    verifier.check_outputs(dir, pass.active.as_ref())?;
    pass.finish()
}

/// Verifies a log of runtimo, and passes each fault to `each` in log order.
///
/// # Errors
/// A file cannot be read, or `each` failed.
pub fn verify_wal<E: From<StorageError>>(
    wal: &RuntimoWal,
    each: impl FnMut(Fault) -> Result<(), E>,
) -> Result<VerifyReport, E> {
    let mut pass = VerifyPass::new(wal.segments()?, each);
    if let Some(unfinished) = pass.read_lines()? {
        let active = &unfinished.segment;
        // A writer of runtimo may hold this lock while it writes.
        let file = active.open()?.file;
        let is_held = file_lock::try_shared(&*file, &active.path)?.is_none();
        if is_held {
            pass.verifier.report.in_flight = true;
        } else {
            let repair = "its program never repairs it";
            pass.verifier.report_torn_tail(&unfinished, repair);
        }
    }
    pass.finish()
}

/// One pass over the lines of a log.
struct VerifyPass<F> {
    verifier: Verifier,
    reader: Reader,
    active: Option<Segment>,
    each: F,
}

impl<F> VerifyPass<F> {
    fn new(segments: Vec<Segment>, each: F) -> Self {
        Self {
            verifier: Verifier::new(&segments),
            active: segments.iter().find(|s| s.first_seq.is_none()).cloned(),
            reader: Reader::from_segments(segments),
            each,
        }
    }

    /// Verifies every line. Returns the last line of the active segment if it has no `\n`.
    fn read_lines<E: From<StorageError>>(&mut self) -> Result<Option<UnfinishedLine>, E>
    where
        F: FnMut(Fault) -> Result<(), E>,
    {
        while let Some((position, item)) = self.reader.next_with_position()? {
            self.verifier.check_item(&position, &item);
            if self.reader.has_dropped() {
                return Ok(None);
            }
            self.verifier.emit_faults(&mut self.each)?;
        }
        let end = self.reader.end_of_active();
        Ok(UnfinishedLine::find(self.active.as_ref(), end))
    }

    fn finish<E>(mut self) -> Result<VerifyReport, E>
    where
        F: FnMut(Fault) -> Result<(), E>,
    {
        self.verifier.emit_faults(&mut self.each)?;
        Ok(self.verifier.into_report())
    }
}
