//! Saves cursors of lines that were read, during the run of `tail` and at its end.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::follow::Tailer;
use super::stop_reason::StopReason;

/// How long a reader gets for lines that are already written, after a signal or `--timeout`.
const READER_GRACE: Duration = Duration::from_secs(1);

impl Tailer<'_> {
    /// Writes the buffered lines, and keeps saving cursors while the reader is slow.
    pub(crate) fn write_out(&mut self) -> Result<()> {
        while !self.writer.write(&self.stops, self.cursors.due())? {
            self.ack_and_save()?;
        }
        Ok(())
    }

    /// Records how much was read, and saves the cursors if a save is due.
    pub(crate) fn ack_and_save(&mut self) -> Result<()> {
        self.cursors.ack(self.writer.sink.read());
        self.cursors.save_in_time()
    }

    /// Waits until all output is read. If `tail` ended on its own, the wait has no limit; a
    /// signal or the exit of the reader ends it.
    pub(crate) fn wait_for_reader(&mut self, stop: StopReason) -> Result<StopReason> {
        let until = match stop {
            StopReason::Done | StopReason::Until => None,
            StopReason::Timeout | StopReason::Signal(_) => Some(Instant::now() + READER_GRACE),
            StopReason::Closed => Some(Instant::now()),
        };
        loop {
            self.ack_and_save()?;
            let now = Instant::now();
            let Some(next) = self.cursors.due().filter(|_| self.cursors.is_waiting()) else {
                return Ok(stop);
            };
            if until.is_some_and(|until| until <= now) {
                return Ok(stop);
            }
            let next = until.map_or(next, |until| until.min(next));
            match self
                .stops
                .wait_for_reader(next.saturating_duration_since(now))
            {
                None => {}
                Some(StopReason::Closed) => {
                    self.ack_and_save()?;
                    return Ok(stop);
                }
                Some(signal) => return Ok(signal),
            }
        }
    }
}
