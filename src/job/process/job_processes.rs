//! All processes of a job: its first process, its process group and session, and processes that
//! have its ids in their environment.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::job_env::jobs_entry;
use super::job_tree;
use super::liveness::{ChildLiveness, child_of};
use super::process_scan::{ProcessScan, ScannedProcess};
use crate::log::JobState;
use crate::log::format::payload::ProcessRef;
use crate::telemetry::LiveProcess;
use crate::volume::Dir;

/// The pid of init, which adopts processes whose parent and front have ended.
const INIT_PID: u32 = 1;

/// A live process of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobProcess {
    /// The process id.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
    /// When it started, in clock ticks since boot.
    #[serde(skip)]
    pub(crate) start_ticks: u64,
}

impl From<&LiveProcess> for JobProcess {
    fn from(process: &LiveProcess) -> Self {
        Self {
            pid: process.pid,
            name: process.name.clone(),
            start_ticks: process.start_ticks,
        }
    }
}

/// The processes of a job.
#[derive(Debug)]
pub(crate) struct JobProcesses {
    first: ChildLiveness,
    /// The live processes, without daemons.
    pub(crate) alive: Vec<JobProcess>,
    /// The live processes that left the job's group and session and whose parent is init, a
    /// process of runlog that replaces it, or another daemon.
    pub(crate) daemons: Vec<JobProcess>,
    /// The supervisors of runs that the job started, and the processes that these watch. Unless
    /// they are daemons, they are in `alive` too.
    pub(crate) nested: HashSet<u32>,
}

impl JobProcesses {
    /// Finds the processes of a job of the run in `dir`.
    pub(crate) fn find(scan: &ProcessScan, dir: &Dir, job: &JobState) -> Self {
        let mut found = Self {
            first: child_of(scan, dir, job),
            alive: Vec::new(),
            daemons: Vec::new(),
            nested: HashSet::new(),
        };
        let is_visible = matches!(
            found.first,
            ChildLiveness::NotFound
                | ChildLiveness::Dead(_)
                | ChildLiveness::Alive(_)
                | ChildLiveness::Found(_)
        );
        let Some(run) = dir.path().file_name().and_then(|name| name.to_str()) else {
            return found;
        };
        if !is_visible {
            return found;
        }
        let Some(live) = scan.processes() else {
            found.first = ChildLiveness::MayBeStarted;
            return found;
        };
        let entry = jobs_entry(run, job.job_id.as_str());
        let first = job.process.as_ref();
        let earliest = [first, job.supervisor.as_ref()];
        let earliest = earliest.into_iter().flatten().filter_map(|p| p.start_ticks);
        let earliest = earliest.min().unwrap_or(0);
        let is_part = |scanned: &&ScannedProcess| {
            let process = &scanned.process;
            // If the environment of a process cannot be read, only its group and session count.
            first.is_some_and(|first| is(first, process) || is_in_group(first, process))
                || (process.start_ticks >= earliest && scanned.is_in_job(dir, &entry))
        };
        let parts = live.iter().filter(is_part);
        let parts: Vec<&LiveProcess> = parts.map(|scanned| &scanned.process).collect();
        let watching = [&job.front, &job.supervisor].into_iter().flatten();
        let watching = watching.filter(|it| live.iter().any(|process| is(it, &process.process)));
        let adopters: Vec<u32> = watching.map(|it| it.pid).chain([INIT_PID]).collect();
        let has_left = |process: &LiveProcess| {
            first.is_some_and(|first| !is(first, process) && has_left(first, process))
        };
        let daemons = job_tree::daemons(&parts, &adopters, has_left);
        let supervisor = job.supervisor.as_ref().map_or(0, |it| it.pid);
        found.nested = job_tree::nested_runs(&parts, &adopters, supervisor);
        let (daemons, alive): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|it| daemons.contains(&it.pid));
        found.daemons = daemons.into_iter().map(JobProcess::from).collect();
        found.alive = alive.into_iter().map(JobProcess::from).collect();
        found
    }

    /// Returns whether it is certain that no process of the job is alive, except for daemons.
    pub(crate) fn are_dead(&self) -> bool {
        self.first.is_dead() && self.alive.is_empty()
    }

    /// Returns whether it is certain that a process of the job is alive.
    pub(crate) fn is_any_alive(&self) -> bool {
        self.first.is_alive() || !self.alive.is_empty()
    }
}

impl fmt::Display for JobProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.alive.first() {
            Some(JobProcess { pid, name, .. }) if !self.first.is_alive() => {
                write!(
                    f,
                    "{}, but process {pid} ({name}) of the job is still running",
                    self.first
                )
            }
            _ => self.first.fmt(f),
        }
    }
}

/// Returns whether the process is in a group or session that only the job uses.
fn is_in_group(first: &ProcessRef, process: &LiveProcess) -> bool {
    (!first.shares_group && first.pgid == Some(process.group))
        || (!first.shares_session && first.sid == Some(process.session))
}

/// Returns whether the process has left the group and the session of the job.
fn has_left(first: &ProcessRef, process: &LiveProcess) -> bool {
    first.pgid.is_some_and(|group| group != process.group)
        && first.sid.is_some_and(|session| session != process.session)
}

/// Returns whether the log names this process.
fn is(named: &ProcessRef, process: &LiveProcess) -> bool {
    named.pid == process.pid && named.start_ticks == Some(process.start_ticks)
}
