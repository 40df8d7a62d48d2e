//! The runs that `--watch` shows. It reads a finished run once, and any other whenever its
//! directory changes, and at intervals.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::job::{InspectedRun, LiveRun, RunStatus, RunVerdict, TypicalDurations, inspect_runs};
use crate::log::{Changes, DamageList, JobScope, RunState, StorageError, Watcher, list};
use crate::render::{RunRecord, WatchedRun};
use crate::volume::{Dir, RunId, Volume, VolumeError, error_chain};

/// How often to read live runs without a notification: the death of a supervisor and changes on
/// a network file system cause none.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Rechecks are spaced at this many times their own duration, to bound their share of the CPU.
const BACKOFF_FACTOR: u32 = 20;

/// Whether to make a record of each run that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportChanges {
    /// Yes, for `--json`.
    Yes,
    /// No, because the screen shows the runs themselves.
    No,
}

/// The runs of a volume, or one of them.
#[derive(Debug)]
pub(crate) struct WatchedRuns {
    volume: Volume,
    runs_dir: Option<Dir>,
    only: Option<RunId>,
    changes: ReportChanges,
    pub watch: Watcher,
    /// Whether new and removed runs cause notifications.
    watches_list: bool,
    /// Finished runs.
    pub finished: HashMap<RunId, WatchedRun>,
    pub live: BTreeMap<RunId, WatchedLiveRun>,
    pub durations: TypicalDurations,
    queue: BTreeSet<RunId>,
    /// The runs that cannot be read at the moment, and why.
    unreadable: BTreeMap<RunId, String>,
    next_recheck: Instant,
    /// The runs that changed, with [`ReportChanges::Yes`].
    pub changed: Vec<RunRecord>,
    pub problems: WatchProblems,
}

/// A run that has not finished.
#[derive(Debug, Default)]
pub(crate) struct WatchedLiveRun {
    pub run: LiveRun,
    /// The run and its status; `None` before the first read.
    pub now: Option<(WatchedRun, RunVerdict)>,
    /// The hash of the last reported status.
    key: u64,
    /// The amount of damage reported so far.
    damaged: u64,
}

/// Problems to report at the end, or when the screen is free.
#[derive(Debug, Default)]
pub(crate) struct WatchProblems {
    /// Lines for stderr.
    pub warnings: Vec<String>,
    /// Whether damage was skipped.
    pub damage: bool,
    /// Whether a run could not be read.
    pub unreadable: bool,
    /// Reported runs that were removed.
    pub removed: Vec<RunId>,
}

impl WatchedRuns {
    /// Creates the set without reading any run.
    pub(crate) fn new(volume: Volume, only: Option<RunId>, changes: ReportChanges) -> Self {
        Self {
            volume,
            runs_dir: None,
            only,
            changes,
            watch: Watcher::default(),
            watches_list: false,
            finished: HashMap::new(),
            live: BTreeMap::new(),
            durations: TypicalDurations::default(),
            queue: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            next_recheck: Instant::now(),
            changed: Vec::new(),
            problems: WatchProblems::default(),
        }
    }

    /// Reads the finished runs, and queues the others.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory of the runs cannot be read.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let ids = self.list()?;
        let Some(runs) = &self.runs_dir else {
            return Ok(());
        };
        let only = self.only.clone();
        let is_needed = |run: &RunId| only.as_ref().is_none_or(|only| only == run);
        let reported = self.changes == ReportChanges::Yes;
        let ids: Vec<RunId> = if reported {
            ids.into_iter().filter(is_needed).collect()
        } else {
            // The durations of finished runs give an estimate for these.
            ids
        };
        let scope = if reported {
            JobScope::All
        } else {
            JobScope::Summarized
        };
        let inspected_runs = inspect_runs(runs, &ids, scope, |run, inspected| {
            let state = &inspected.summary.state;
            if !state.is_closed() {
                return None;
            }
            let brief = WatchedRun::new(run.clone(), state, inspected.verdict.state);
            let damage = inspected.summary.damage.clone();
            let path = || runs.path().join(run.as_str());
            let report = reported.then(|| RunRecord::new(run.clone(), path(), inspected));
            Some((brief, damage, report))
        });
        for (run, result) in ids.into_iter().zip(inspected_runs) {
            let needed = is_needed(&run);
            match result {
                Ok(Some(Some((brief, damage, report)))) => {
                    self.record_duration(&brief);
                    if needed {
                        self.problems.damage(&damage);
                        self.changed.extend(report);
                        self.finished.insert(run, brief);
                    }
                }
                Ok(Some(None) | None) if needed => self.add_run(run),
                Err(e) if needed && self.only.is_some() => return Err(e.into()),
                Err(e) if needed => self.warn_unreadable(&run, &e),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Lists all runs, and watches for new and removed ones.
    fn list(&mut self) -> Result<Vec<RunId>> {
        if self.runs_dir.is_none() {
            self.runs_dir = self.volume.runs()?;
        }
        if let Some(runs) = &self.runs_dir {
            // Watch before listing, so that no run is missed in between.
            self.watches_list = self.watches_list || self.watch.watch_runs(runs);
        }
        Ok(list(&self.volume)?)
    }

    /// Warns about a run that cannot be read. It is read again, from its start, at the next
    /// recheck.
    fn warn_unreadable(&mut self, run: &RunId, e: &StorageError) {
        self.problems.unreadable = true;
        let why = error_chain(e);
        if self.unreadable.get(run) != Some(&why) {
            (self.problems.warnings).push(format!("warning: run {run}: {why}"));
            self.unreadable.insert(run.clone(), why);
        }
        self.watch.unwatch(run);
        let live = self.live.entry(run.clone()).or_default();
        (live.run, live.now) = (LiveRun::default(), None);
    }

    fn add_run(&mut self, run: RunId) {
        self.live.insert(run.clone(), WatchedLiveRun::default());
        self.queue.insert(run);
    }

    /// Reads the queued runs.
    ///
    /// # Errors
    ///
    /// Returns an error if the only watched run cannot be read.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        for run in std::mem::take(&mut self.queue) {
            match self.refresh_run(&run) {
                Ok(()) => {}
                Err(e) if self.only.is_some() => return Err(e.into()),
                // One unreadable run does not hide the others.
                Err(e) => self.warn_unreadable(&run, &e),
            }
        }
        Ok(())
    }

    fn refresh_run(&mut self, run: &RunId) -> Result<(), StorageError> {
        let Some(dir) = self.open(run)? else {
            self.remove_run(run);
            return Ok(());
        };
        let Some(live) = self.live.get_mut(run) else {
            return Ok(());
        };
        // Watch before reading, so that no change is missed in between.
        self.watch.watch_run(run, &dir);
        self.watch.watch_leases(run, &dir);
        let verdict = live.run.poll(&dir)?;
        self.unreadable.remove(run);
        if dir.is_removed() {
            self.remove_run(run);
            return Ok(());
        }
        let damage = live.run.damage();
        self.problems.new_damage(damage, live.damaged);
        live.damaged = damage.count();
        let brief = WatchedRun::new(run.clone(), live.run.state(), verdict.state);
        let key = status_key(live.run.state(), &verdict);
        if self.changes == ReportChanges::Yes && live.key != key {
            live.key = key;
            let inspected = live.run.report(&dir, verdict.clone());
            self.changed.push(report(&dir, run, inspected));
        }
        if live.run.state().is_closed() {
            self.record_duration(&brief);
            self.watch.unwatch(run);
            self.live.remove(run);
            self.finished.insert(run.clone(), brief);
        } else {
            live.now = Some((brief, verdict));
        }
        Ok(())
    }

    /// Opens the directory of a run; `None` if there is none.
    fn open(&self, run: &RunId) -> Result<Option<Dir>, StorageError> {
        let Some(runs) = &self.runs_dir else {
            return Ok(None);
        };
        match runs.open_dir(run.as_str()) {
            Ok(dir) => Ok(Some(dir)),
            Err(VolumeError::NotADirectory { .. }) => Ok(None),
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Forgets a run that was removed.
    fn remove_run(&mut self, run: &RunId) {
        self.watch.unwatch(run);
        let was_live = self.live.remove(run).is_some_and(|live| live.now.is_some());
        if (self.finished.remove(run).is_some() || was_live) && self.changes == ReportChanges::Yes {
            self.problems.removed.push(run.clone());
        }
    }

    /// Queues the runs that may have changed.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory of the runs cannot be read.
    pub(crate) fn apply(&mut self, changes: Changes) -> Result<()> {
        for run in changes.runs {
            if self.live.contains_key(&run) {
                self.queue.insert(run);
            } else if self.finished.contains_key(&run) {
                if self.open(&run)?.is_none() {
                    self.remove_run(&run);
                }
            } else if self.only.is_none() {
                self.add_run(run);
            }
        }
        let now = Instant::now();
        if !changes.any && now < self.next_recheck {
            return Ok(());
        }
        if changes.any || !self.watches_list {
            self.relist()?;
        }
        self.queue.extend(self.live.keys().cloned());
        Ok(())
    }

    fn relist(&mut self) -> Result<()> {
        let ids = self.list()?;
        if self.only.is_none() {
            let is_known =
                |run: &&RunId| self.live.contains_key(*run) || self.finished.contains_key(*run);
            let new: Vec<_> = ids.iter().filter(|run| !is_known(run)).cloned().collect();
            for run in new {
                self.add_run(run);
            }
        }
        let is_removed = |run: &&RunId| ids.binary_search(run).is_err();
        let removed: Vec<_> = self.finished.keys().filter(is_removed).cloned().collect();
        for run in removed {
            self.remove_run(&run);
        }
        Ok(())
    }

    /// Schedules the next recheck, after one that started at `started`.
    pub(crate) fn schedule_recheck(&mut self, started: Instant) {
        if started >= self.next_recheck {
            self.next_recheck =
                Instant::now() + RECHECK_INTERVAL.max(started.elapsed() * BACKOFF_FACTOR);
        }
    }

    /// Returns the volume.
    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Returns the details of the run in `dir`, if it is live.
    pub(crate) fn report(&self, run: &RunId, dir: &Dir) -> Option<RunRecord> {
        let live = self.live.get(run)?;
        let (_, verdict) = live.now.clone()?;
        Some(report(dir, run, live.run.report(dir, verdict)))
    }

    /// Opens the directory of a live run.
    pub(crate) fn dir(&self, run: &RunId) -> Option<Dir> {
        self.open(run).ok()?
    }

    fn record_duration(&mut self, run: &WatchedRun) {
        if run.state == RunStatus::Completed
            && let (Some(first_id), Some(ms)) = (run.first_id, run.duration_ms)
        {
            self.durations.record(&run.name, first_id, ms);
        }
    }
}

impl WatchProblems {
    fn damage(&mut self, damage: &DamageList) {
        self.new_damage(damage, 0);
    }

    /// Records the damage after the first `reported` places of a list.
    fn new_damage(&mut self, damage: &DamageList, reported: u64) {
        if damage.count() == reported {
            return;
        }
        self.damage = true;
        // A replaced log may have less damage than the old one.
        let reported = if damage.count() < reported {
            0
        } else {
            reported
        };
        let skipped = usize::try_from(reported).unwrap_or(usize::MAX);
        let warnings = damage.first().iter().skip(skipped);
        self.warnings
            .extend(warnings.map(|one| format!("warning: {one}")));
        if reported < damage.count() - damage.omitted() || reported == 0 {
            let more = damage.omission();
            self.warnings
                .extend(more.map(|more| format!("warning: {more}")));
        }
    }
}

fn report(dir: &Dir, run: &RunId, inspected: InspectedRun) -> RunRecord {
    RunRecord::new(run.clone(), dir.path().to_owned(), inspected)
}

/// Hashes what counts as a change of a run: its state, and the stage and attempt of each job,
/// but no samples or notes.
fn status_key(run: &RunState, now: &RunVerdict) -> u64 {
    let mut key = DefaultHasher::new();
    (now.state, &now.because, &run.closed_ts).hash(&mut key);
    for job in &run.jobs {
        let rollback = job.rollback.as_ref().map(|r| (r.started, r.ended));
        let error = job.error.as_ref().map(|e| &e.message);
        (
            &job.job_id,
            job.stage.as_str(),
            job.attempt,
            error,
            rollback,
        )
            .hash(&mut key);
    }
    // 0 means that nothing has been reported yet.
    key.finish().max(1)
}
