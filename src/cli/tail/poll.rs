//! Polls a run: shows its new lines, and checks whether it was closed or removed.

use std::io;

use anyhow::{Error, Result};

use super::follow::{FollowedRun, Progress, Tailer};
use super::run_status::RunStatusTracker;
use super::stop_reason::StopReason;
use super::until::Until;
use crate::cli::context::print_stderr;
use crate::job::{RunStatus, RunVerdict};
use crate::log::{DamageReason, Gap, GapReason, Item, StorageError, Update, is_closed};
use crate::volume::{Dir, RunId, VolumeError};

/// The result of reading the new lines of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PollOutcome {
    /// There were no new lines.
    Nothing,
    /// All new lines were read.
    Something,
    /// Reading stopped before the last new line.
    Stopped(StopReason),
}

impl Tailer<'_> {
    /// Polls a run; returns the reason to stop, if there is one.
    ///
    /// # Errors
    /// Returns an error if stdout cannot be written or a run named by the user cannot be read.
    pub(crate) fn poll(&mut self, run: &RunId) -> Result<Option<StopReason>> {
        let Some(mut followed) = self.followed.remove(run) else {
            return Ok(None);
        };
        let polled = match self.open(run) {
            Ok(None) => return self.report_removed(run, &followed).map(|()| None),
            Ok(Some(dir)) => self.poll_run(run, &dir, &mut followed),
            Err(e) => Err(e),
        };
        match polled {
            Ok((stop, true)) => {
                followed.error = None;
                self.followed.insert(run.clone(), followed);
                Ok(stop)
            }
            Ok((stop, false)) => {
                self.remove_run(run, followed);
                Ok(stop)
            }
            // One run that cannot be read does not hide the others.
            Err(e) if self.args.all && is_of_run(&e) => {
                self.write_out()?;
                let error = format!("{e:#}");
                if followed.error.as_ref() != Some(&error) {
                    print_stderr(format_args!("warning: run {run}: {error}"));
                }
                followed.error = Some(error);
                self.problems.unreadable = true;
                // Keep the run with its position, and read it again at the next sweep.
                followed.follower.invalidate();
                self.remove_run(run, followed);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Opens the directory of a run; `None` if there is none.
    pub(super) fn open(&self, run: &RunId) -> Result<Option<Dir>> {
        let Some(runs) = &self.runs else {
            return Ok(None);
        };
        match runs.open_dir(run.as_str()) {
            Ok(dir) => Ok(Some(dir)),
            Err(VolumeError::NotADirectory { .. }) if self.args.all => Ok(None),
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Polls the run in `dir`; returns the reason to stop, if there is one, and whether to poll
    /// the run again.
    fn poll_run(
        &mut self,
        run: &RunId,
        dir: &Dir,
        followed: &mut FollowedRun,
    ) -> Result<(Option<StopReason>, bool)> {
        let by_name = !self.args.all;
        if let Some(watch) = &mut self.watch {
            // Watch before reading, so that no change is missed in between.
            followed.watched = watch.watch_run(run, dir);
            if followed.state.is_some() {
                watch.watch_leases(run, dir);
            }
        }
        // Read the state before the new lines, so that the events it depends on are shown with
        // it. A run that has not started has no state.
        let state = match &mut followed.state {
            Some(state) if followed.follower.has_events() => Some(state.now(dir)?),
            _ => None,
        };
        let before = followed.progress;
        let is_closed =
            (self.cursors.is_used() || (self.args.all && self.watch.is_some())) && is_closed(dir)?;
        let read = self.read_update(run, dir, followed)?;
        if followed.progress != Progress::Held {
            let is_complete = is_closed && !matches!(read, PollOutcome::Stopped(_));
            followed.progress = if is_complete {
                Progress::Finished
            } else {
                Progress::Current
            };
        }
        let is_noted = read == PollOutcome::Nothing && before == followed.progress;
        if !is_noted || self.cursors.cursor_of(run).is_none() {
            self.has_read(run, followed);
        }
        if let PollOutcome::Stopped(stop) = read {
            return Ok((Some(stop), true));
        }
        if self.watch.is_none() {
            return Ok((None, false));
        }
        if let Some(state) = &state
            && self.is_awaited(followed, state)
        {
            return Ok((Some(StopReason::Until), true));
        }
        if read == PollOutcome::Something && followed.state.is_some() {
            // The run may have a new state.
            self.queue.insert(run.clone());
        } else if let Some(state) = state.filter(|state| by_name && state.state.has_ended()) {
            if matches!(state.state, RunStatus::Lost | RunStatus::Unknown) {
                self.write_out()?;
                let (name, because) = (state.state.as_str(), state.because);
                print_stderr(format_args!("run {run} is {name}: {because}"));
            }
            return Ok((None, false));
        }
        // Keep a closed run until its state was checked.
        let settled = followed.state.is_none() || read == PollOutcome::Nothing;
        Ok((
            None,
            by_name || followed.progress != Progress::Finished || !settled,
        ))
    }

    /// Returns whether the run has reached the state that `--until` waits for. With `--all`, a
    /// run that had already ended does not count until its state changes.
    fn is_awaited(&self, followed: &mut FollowedRun, now: &RunVerdict) -> bool {
        let existed = std::mem::take(&mut followed.existed);
        if self.args.all && existed && now.state.has_ended() {
            followed.before = Some(now.state);
        }
        if followed.before != Some(now.state) {
            followed.before = None;
        }
        self.args.until == Some(Until::State(now.state)) && followed.before.is_none()
    }

    /// Shows the new lines of a run.
    fn read_update(
        &mut self,
        run: &RunId,
        dir: &Dir,
        followed: &mut FollowedRun,
    ) -> Result<PollOutcome> {
        let filter = &self.filter;
        let update = followed.follower.poll(dir, &|line| filter.wants(line))?;
        let Some(Update { gaps, mut reader }) = update else {
            return Ok(PollOutcome::Nothing);
        };
        let mut read = PollOutcome::Nothing;
        if !gaps.is_empty() {
            let current = self.open(run)?;
            if current.is_none_or(|current| current.key() != dir.key()) {
                // The run is being removed, so the remaining files prove nothing.
                followed.follower.invalidate();
                self.queue.insert(run.clone());
                return Ok(PollOutcome::Nothing);
            }
            for gap in gaps {
                if self.is_missing(run, followed, &gap)? {
                    self.problems.damage = true;
                    self.writer.gap(run, &gap)?;
                }
            }
            followed.state = followed.state.as_ref().map(|_| RunStatusTracker::default());
            read = PollOutcome::Something;
        }
        followed.progress = Progress::Current;
        loop {
            let item = match reader.next_item() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(e) => {
                    followed.follower.mark_read(&reader);
                    return Err(e.into());
                }
            };
            // A cursor cannot leave out a line that is not shown yet, so this line and all after
            // it, whatever their times are, stay for the next call.
            if self.cursors.is_used()
                && let Item::Event(_, line) | Item::Foreign(_, line) = &item
                && self.filter.is_too_late(line)
            {
                followed.progress = Progress::Held;
                return Ok(read);
            }
            read = PollOutcome::Something;
            if let Some(state) = &mut followed.state {
                state.apply(&item);
            }
            match item {
                Item::Event(_, line) | Item::Foreign(_, line) => {
                    let matched = self.filter.matches(line);
                    if matched.shown && followed.skip > 0 {
                        followed.skip -= 1;
                    } else if matched.shown {
                        self.writer.line(run, line);
                    }
                    if matched.last {
                        followed.follower.mark_read(&reader);
                        return Ok(PollOutcome::Stopped(StopReason::Until));
                    }
                }
                Item::Dropped(gap) => {
                    self.problems.damage = true;
                    self.writer.gap(run, &gap)?;
                    continue;
                }
                Item::Damage(damage) => {
                    self.problems.damage = true;
                    self.write_out()?;
                    self.warnings.warn(&damage);
                    if damage.reason == DamageReason::Gap {
                        // The line after the damage comes next; no cursor can point between the
                        // two.
                        continue;
                    }
                }
            }
            let is_full = self.writer.is_full();
            // Any line may turn out to be the last that stdout accepts.
            if is_full || self.cursors.is_used() {
                followed.follower.mark_read(&reader);
                self.has_read(run, followed);
            }
            if is_full {
                self.flush()?;
                if let Some(stop) = self.stops.due() {
                    return Ok(PollOutcome::Stopped(stop));
                }
            }
        }
        followed.follower.mark_read(&reader);
        Ok(read)
    }

    /// Records how far a run was read.
    fn has_read(&mut self, run: &RunId, followed: &FollowedRun) {
        let cursor = followed.follower.cursor(run, followed.end());
        if cursor.is_some() {
            self.cursors
                .record(self.writer.accepted(), run.clone(), cursor);
        }
    }

    /// Returns whether events are missing at a gap. None are missing if the run was read
    /// completely and a new run now has its name.
    fn is_missing(&mut self, run: &RunId, followed: &FollowedRun, gap: &Gap) -> Result<bool> {
        if gap.why != GapReason::Changed {
            return Ok(true);
        }
        let Some(cursor) = followed.follower.cursor(run, followed.end()) else {
            return Ok(true);
        };
        self.read_removed()?;
        Ok(self.removed.gap_after(&self.volume, &cursor)?.is_some())
    }

    /// Reports a run that was removed.
    fn report_removed(&mut self, run: &RunId, followed: &FollowedRun) -> Result<()> {
        self.unwatch(run);
        let cursor = followed.follower.cursor(run, followed.end());
        self.read_removed()?;
        let missing = match &cursor {
            Some(cursor) => self.removed.gap_after(&self.volume, cursor)?,
            // The run is reported with its tombstone.
            None if self.args.cursor_file.is_some() => None,
            None => self.removed.gap_for_run(run),
        };
        if let Some(gap) = &missing {
            self.writer.gap(run, gap)?;
        }
        self.report_unshown()?;
        self.cursors
            .record(self.writer.accepted(), run.clone(), None);
        if cursor.is_none() && missing.is_none() && self.args.all {
            // The run was never completely created.
            return Ok(());
        }
        if self.args.all || self.args.cursor_file.is_some() {
            self.problems.damage |= missing.is_some();
        } else {
            self.problems.removed |= missing.is_some() || cursor.is_none();
        }
        self.newly_removed.push(run.clone());
        Ok(())
    }

    /// Stops polling a run, or polls it seldom.
    fn remove_run(&mut self, run: &RunId, followed: FollowedRun) {
        self.unwatch(run);
        if self.args.all && self.watch.is_some() {
            self.finished.insert(run.clone(), followed);
        }
    }

    fn unwatch(&mut self, run: &RunId) {
        if let Some(watch) = &mut self.watch {
            watch.unwatch(run);
        }
    }
}

/// Returns whether an error concerns a run and not stdout.
fn is_of_run(e: &Error) -> bool {
    e.is::<StorageError>() || e.is::<VolumeError>()
}
