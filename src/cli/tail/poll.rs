//! One look at a run that is shown: what is new in it, and whether it is over or gone.

use std::io;

use anyhow::{Error, Result};

use super::follow::{FollowedRun, Tailer};
use super::run_status::RunStatusTracker;
use super::stop_reason::StopReason;
use super::until::Until;
use crate::cli::context::print_stderr;
use crate::job::{RunStatus, RunVerdict};
use crate::log::{DamageReason, Gap, GapReason, Item, StorageError, Update, is_closed};
use crate::volume::{Dir, RunId, VolumeError};

/// What came of reading the news of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PollOutcome {
    /// There were none.
    Nothing,
    /// All of them were read.
    Something,
    /// Not all of them were read.
    Stopped(StopReason),
}

impl Tailer<'_> {
    /// Looks at a run; says whether it is time to end.
    ///
    /// # Errors
    /// What is shown cannot be written, or a run that was named cannot be read.
    pub(crate) fn poll(&mut self, run: &RunId) -> Result<Option<StopReason>> {
        let Some(mut followed) = self.followed.remove(run) else {
            return Ok(None);
        };
        let looked = match self.open(run) {
            Ok(None) => return self.report_removed(run, &followed).map(|()| None),
            Ok(Some(dir)) => self.poll_run(run, &dir, &mut followed),
            Err(e) => Err(e),
        };
        match looked {
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
                self.met.trouble = true;
                // Kept with its position, and read again at the next sweep.
                followed.follower.stat_changed();
                self.remove_run(run, followed);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn open(&self, run: &RunId) -> Result<Option<Dir>> {
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

    /// Looks at the run in `dir`; says whether it is time to end, and whether the run is
    /// to be looked at again.
    fn poll_run(
        &mut self,
        run: &RunId,
        dir: &Dir,
        followed: &mut FollowedRun,
    ) -> Result<(Option<StopReason>, bool)> {
        let by_name = !self.args.all;
        if let Some(watch) = &mut self.watch {
            // Watched from before the look, so that nothing comes in between unseen.
            followed.watched = watch.watch_run(run, dir);
            if followed.state.is_some() {
                watch.watch_leases(run, dir);
            }
        }
        // The state comes before the news, so that what it rests on is shown with it. A
        // run that was not begun yet has none.
        let state = match &mut followed.state {
            Some(state) if followed.follower.has_events() => Some(state.now(dir)?),
            _ => None,
        };
        let was_over = followed.over;
        let over =
            (self.ledger.is_used() || (self.args.all && self.watch.is_some())) && is_closed(dir)?;
        let read = self.read_update(run, dir, followed)?;
        followed.over = over && !matches!(read, PollOutcome::Stopped(_));
        let is_noted = read == PollOutcome::Nothing && was_over == followed.over;
        if !is_noted || self.ledger.cursor_of(run).is_none() {
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
            // It may have a new state.
            self.queue.insert(run.clone());
        } else if let Some(state) = state.filter(|state| by_name && state.state.has_ended()) {
            if matches!(state.state, RunStatus::Lost | RunStatus::Unknown) {
                self.write_out()?;
                let (name, because) = (state.state.as_str(), state.because);
                print_stderr(format_args!("run {run} is {name}: {because}"));
            }
            return Ok((None, false));
        }
        // A run that is over goes once its state was looked at.
        let settled = followed.state.is_none() || read == PollOutcome::Nothing;
        Ok((None, by_name || !followed.over || !settled))
    }

    /// Whether the run is in the state that is waited for. With `--all` a run that had
    /// ended before does not count until its state changes.
    fn is_awaited(&self, followed: &mut FollowedRun, now: &RunVerdict) -> bool {
        let old = std::mem::take(&mut followed.old);
        if self.args.all && old && now.state.has_ended() {
            followed.before = Some(now.state);
        }
        if followed.before != Some(now.state) {
            followed.before = None;
        }
        self.args.until == Some(Until::State(now.state)) && followed.before.is_none()
    }

    /// Shows what is new in a run.
    fn read_update(
        &mut self,
        run: &RunId,
        dir: &Dir,
        followed: &mut FollowedRun,
    ) -> Result<PollOutcome> {
        let filter = &self.filter;
        let news = followed.follower.poll(dir, &|line| filter.wants(line))?;
        let Some(Update { gaps, mut reader }) = news else {
            return Ok(PollOutcome::Nothing);
        };
        let mut read = PollOutcome::Nothing;
        if !gaps.is_empty() {
            let there = self.open(run)?;
            if there.is_none_or(|there| there.key() != dir.key()) {
                // It is being removed: the remaining files prove nothing.
                followed.follower.stat_changed();
                self.queue.insert(run.clone());
                return Ok(PollOutcome::Nothing);
            }
            for gap in gaps {
                if self.is_missing(run, followed, &gap)? {
                    self.met.damage = true;
                    self.shown.gap(run, &gap)?;
                }
            }
            followed.state = followed.state.as_ref().map(|_| RunStatusTracker::default());
            read = PollOutcome::Something;
        }
        loop {
            let item = match reader.next_item() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(e) => {
                    followed.follower.mark_read(&reader);
                    return Err(e.into());
                }
            };
            read = PollOutcome::Something;
            followed.over = false;
            if let Some(state) = &mut followed.state {
                state.apply(&item);
            }
            match item {
                Item::Event(_, line) | Item::Foreign(_, line) => {
                    let judged = self.filter.matches(line);
                    if judged.shown && followed.skip > 0 {
                        followed.skip -= 1;
                    } else if judged.shown {
                        self.shown.line(run, line);
                    }
                    if judged.last {
                        followed.follower.mark_read(&reader);
                        return Ok(PollOutcome::Stopped(StopReason::Until));
                    }
                }
                Item::Damage(damage) => {
                    self.met.damage = true;
                    self.write_out()?;
                    print_stderr(format_args!("warning: {damage}"));
                    if damage.reason == DamageReason::Gap {
                        // The line behind it comes next: there is no place in between.
                        continue;
                    }
                }
            }
            let is_full = self.shown.is_full();
            if is_full || self.shown.outlet.is_read_later() {
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

    /// Takes note of how far a run was read.
    fn has_read(&mut self, run: &RunId, followed: &FollowedRun) {
        let cursor = followed.follower.cursor(run, followed.end());
        if cursor.is_some() {
            self.ledger
                .record(self.shown.accepted(), run.clone(), cursor);
        }
    }

    /// Whether a gap is one: not where all of the run was read, and the log that has its
    /// name now is another one.
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

    /// Takes leave of a run that was removed.
    fn report_removed(&mut self, run: &RunId, followed: &FollowedRun) -> Result<()> {
        self.unwatch(run);
        let cursor = followed.follower.cursor(run, followed.end());
        self.read_removed()?;
        let missing = match &cursor {
            Some(cursor) => self.removed.gap_after(&self.volume, cursor)?,
            // Reported with its tombstone.
            None if self.args.cursor_file.is_some() => None,
            None => self.removed.gap_for_run(run),
        };
        if let Some(gap) = &missing {
            self.shown.gap(run, gap)?;
        }
        self.report_unshown()?;
        self.ledger.record(self.shown.accepted(), run.clone(), None);
        if cursor.is_none() && missing.is_none() && self.args.all {
            // It was only in the making.
            return Ok(());
        }
        if self.args.all || self.args.cursor_file.is_some() {
            self.met.damage |= missing.is_some();
        } else {
            self.met.removed |= missing.is_some() || cursor.is_none();
        }
        self.left.push(run.clone());
        Ok(())
    }

    /// Looks at a run no longer, or seldom.
    fn remove_run(&mut self, run: &RunId, followed: FollowedRun) {
        self.unwatch(run);
        if self.args.all && self.watch.is_some() {
            self.over.insert(run.clone(), followed);
        }
    }

    fn unwatch(&mut self, run: &RunId) {
        if let Some(watch) = &mut self.watch {
            watch.unwatch(run);
        }
    }
}

/// Whether the trouble is with a run, and not with what is written.
fn is_of_run(e: &Error) -> bool {
    e.is::<StorageError>() || e.is::<VolumeError>()
}
