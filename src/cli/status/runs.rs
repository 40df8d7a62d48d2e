//! The runs that are watched: a finished one is looked at once, any other whenever something
//! happens in its folder, and from time to time.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::job::{InspectedRun, LiveRun, RunStatus, RunVerdict, TypicalDurations, inspect_runs};
use crate::log::{Changes, Damage, RunState, StorageError, Watcher, list};
use crate::render::{RunRecord, WatchedRun};
use crate::volume::{Dir, RunId, Volume, VolumeError, error_chain};

/// How often the runs that go on are looked at, whether anything tells of them or not: a
/// supervisor that died, a network file system, …
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);
/// … but that takes at most one part of so many of the time.
const BACKOFF_FACTOR: u32 = 20;

/// The runs of a volume, or one of them.
#[derive(Debug)]
pub(crate) struct WatchedRuns {
    volume: Volume,
    folder: Option<Dir>,
    only: Option<RunId>,
    /// Whether reports are made of what changes.
    told: bool,
    pub watch: Watcher,
    /// Whether runs that come and go are told.
    listed: bool,
    pub over: HashMap<RunId, WatchedRun>,
    pub live: BTreeMap<RunId, WatchedLiveRun>,
    pub usual: TypicalDurations,
    queue: BTreeSet<RunId>,
    /// Runs that cannot be read.
    given_up: BTreeSet<RunId>,
    next_look: Instant,
    /// What changed, where reports are made.
    pub news: Vec<RunRecord>,
    pub met: ObservedRun,
}

/// A run that is not finished, or in the making.
#[derive(Debug, Default)]
pub(crate) struct WatchedLiveRun {
    pub run: LiveRun,
    /// `None` before the first look, and while it is in the making.
    pub now: Option<(WatchedRun, RunVerdict)>,
    /// What was told of it last.
    key: u64,
    /// How many damaged places were met.
    damaged: usize,
}

/// What was met on the way.
#[derive(Debug, Default)]
pub(crate) struct ObservedRun {
    /// To be told when there is a place for it.
    pub warnings: Vec<String>,
    /// Damage, which was passed over.
    pub damage: bool,
    /// A run that cannot be read.
    pub trouble: bool,
    /// Runs that were removed after they had been told of.
    pub removed: Vec<RunId>,
}

impl WatchedRuns {
    /// None was looked at so far. With `told`, reports are made of all that changes.
    pub(crate) fn new(volume: Volume, only: Option<RunId>, told: bool) -> Self {
        Self {
            volume,
            folder: None,
            only,
            told,
            watch: Watcher::default(),
            listed: false,
            over: HashMap::new(),
            live: BTreeMap::new(),
            usual: TypicalDurations::default(),
            queue: BTreeSet::new(),
            given_up: BTreeSet::new(),
            next_look: Instant::now(),
            news: Vec::new(),
            met: ObservedRun::default(),
        }
    }

    /// Looks at all that are there: the finished ones once and for all.
    ///
    /// # Errors
    /// The folder of the runs cannot be read.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let ids = self.list()?;
        let Some(runs) = &self.folder else {
            return Ok(());
        };
        let only = self.only.clone();
        let is_needed = |run: &RunId| only.as_ref().is_none_or(|only| only == run);
        let ids: Vec<RunId> = if self.told {
            ids.into_iter().filter(is_needed).collect()
        } else {
            // The others tell how long runs of its name take.
            ids
        };
        let told = self.told;
        let looked = inspect_runs(runs, &ids, told, |run, examined| {
            let state = &examined.summary.state;
            if !state.is_closed() {
                return None;
            }
            let brief = WatchedRun::new(run.clone(), state, examined.verdict.state);
            let damage = examined.summary.damage.clone();
            let folder = || runs.path().join(run.as_str());
            let report = told.then(|| RunRecord::new(run.clone(), folder(), examined));
            Some((brief, damage, report))
        });
        for (run, looked) in ids.into_iter().zip(looked) {
            let needed = is_needed(&run);
            match looked {
                Ok(Some(Some((brief, damage, report)))) => {
                    self.record_duration(&brief);
                    if needed {
                        self.met.damage(&damage);
                        self.news.extend(report);
                        self.over.insert(run, brief);
                    }
                }
                Ok(Some(None) | None) if needed => self.add_run(run),
                Err(e) if needed && self.only.is_some() => return Err(e.into()),
                Err(e) if needed => self.give_up(&run, &e),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// The ids of all runs; from now on it is told which ones come and go.
    fn list(&mut self) -> Result<Vec<RunId>> {
        if self.folder.is_none() {
            self.folder = self.volume.runs()?;
        }
        if let Some(runs) = &self.folder {
            // Before the look, so that nothing comes in between unseen.
            self.listed = self.listed || self.watch.watch_runs(runs);
        }
        Ok(list(&self.volume)?)
    }

    fn give_up(&mut self, run: &RunId, e: &StorageError) {
        self.met.trouble = true;
        self.met
            .warnings
            .push(format!("warning: run {run}: {}", error_chain(e)));
        self.watch.unwatch(run);
        self.live.remove(run);
        self.given_up.insert(run.clone());
    }

    fn add_run(&mut self, run: RunId) {
        self.live.insert(run.clone(), WatchedLiveRun::default());
        self.queue.insert(run);
    }

    /// Looks at those that something happened to.
    ///
    /// # Errors
    /// With one run only: it cannot be read.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        for run in std::mem::take(&mut self.queue) {
            match self.refresh_run(&run) {
                Ok(()) => {}
                Err(e) if self.only.is_some() => return Err(e.into()),
                // One run that cannot be read does not hide the others.
                Err(e) => self.give_up(&run, &e),
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
        // Watched from before the look, so that nothing comes in between unseen.
        self.watch.watch_run(run, &dir, true);
        let inspected = live.run.poll(&dir)?;
        if dir.is_removed() {
            self.remove_run(run);
            return Ok(());
        }
        if !live.run.has_events() {
            return Ok(());
        }
        let damage = live.run.damage();
        self.met
            .damage(damage.get(live.damaged..).unwrap_or(damage));
        live.damaged = damage.len();
        let brief = WatchedRun::new(run.clone(), live.run.state(), inspected.state);
        let key = key(live.run.state(), &inspected);
        if self.told && live.key != key {
            live.key = key;
            let examined = live.run.report(&dir, inspected.clone());
            self.news.push(report(&dir, run, examined));
        }
        if live.run.state().is_closed() {
            self.record_duration(&brief);
            self.watch.unwatch(run);
            self.live.remove(run);
            self.over.insert(run.clone(), brief);
        } else {
            live.now = Some((brief, inspected));
        }
        Ok(())
    }

    /// The folder of a run; `None` if it is gone, or is none.
    fn open(&self, run: &RunId) -> Result<Option<Dir>, StorageError> {
        let Some(runs) = &self.folder else {
            return Ok(None);
        };
        match runs.open_dir(run.as_str()) {
            Ok(dir) => Ok(Some(dir)),
            Err(VolumeError::NotADirectory { .. }) => Ok(None),
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes leave of a run that was removed.
    fn remove_run(&mut self, run: &RunId) {
        self.watch.unwatch(run);
        let was_live = self.live.remove(run).is_some_and(|live| live.now.is_some());
        if (self.over.remove(run).is_some() || was_live) && self.told {
            self.met.removed.push(run.clone());
        }
    }

    /// Decides which runs are looked at next.
    ///
    /// # Errors
    /// The folder of the runs cannot be read.
    pub(crate) fn apply(&mut self, changes: Changes) -> Result<()> {
        for run in changes.runs {
            if self.live.contains_key(&run) {
                self.queue.insert(run);
            } else if self.over.contains_key(&run) {
                if self.open(&run)?.is_none() {
                    self.remove_run(&run);
                }
            } else if self.only.is_none() {
                self.add_run(run);
            }
        }
        let now = Instant::now();
        if !changes.any && now < self.next_look {
            return Ok(());
        }
        if changes.any || !self.listed {
            self.relist()?;
        }
        self.queue.extend(self.live.keys().cloned());
        Ok(())
    }

    fn relist(&mut self) -> Result<()> {
        let ids = self.list()?;
        if self.only.is_none() {
            let is_known = |run: &&RunId| {
                let known = self.live.contains_key(*run) || self.over.contains_key(*run);
                known || self.given_up.contains(*run)
            };
            let new: Vec<_> = ids.iter().filter(|run| !is_known(run)).cloned().collect();
            for run in new {
                self.add_run(run);
            }
        }
        let is_gone = |run: &&RunId| ids.binary_search(run).is_err();
        let gone: Vec<_> = self.over.keys().filter(is_gone).cloned().collect();
        for run in gone {
            self.remove_run(&run);
        }
        Ok(())
    }

    /// Decides when those that go on are looked at next; `begun` is when this look was.
    pub(crate) fn refreshed(&mut self, begun: Instant) {
        if begun >= self.next_look {
            self.next_look =
                Instant::now() + RECHECK_INTERVAL.max(begun.elapsed() * BACKOFF_FACTOR);
        }
    }

    /// The volume.
    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The run in `dir` in detail, if it goes on.
    pub(crate) fn report(&self, run: &RunId, dir: &Dir) -> Option<RunRecord> {
        let live = self.live.get(run)?;
        let (_, inspected) = live.now.clone()?;
        Some(report(dir, run, live.run.report(dir, inspected)))
    }

    /// The folder of a run that goes on.
    pub(crate) fn dir(&self, run: &RunId) -> Option<Dir> {
        self.open(run).ok()?
    }

    fn record_duration(&mut self, run: &WatchedRun) {
        if run.state == RunStatus::Completed
            && let (Some(first_id), Some(ms)) = (&run.first_id, run.duration_ms)
        {
            self.usual.record(&run.name, first_id, ms);
        }
    }
}

impl ObservedRun {
    fn damage(&mut self, damage: &[Damage]) {
        self.damage |= !damage.is_empty();
        let warnings = damage.iter().map(|one| format!("warning: {one}"));
        self.warnings.extend(warnings);
    }
}

fn report(dir: &Dir, run: &RunId, examined: InspectedRun) -> RunRecord {
    RunRecord::new(run.clone(), dir.path().to_owned(), examined)
}

/// What makes a change of a run's status: its state, and the stage and the attempt of each
/// job. Samples, notes and the like are none.
fn key(run: &RunState, now: &RunVerdict) -> u64 {
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
    // 0: nothing was told.
    key.finish().max(1)
}
