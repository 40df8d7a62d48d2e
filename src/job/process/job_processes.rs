//! All processes of a job: its first process, its process group and session, and processes that
//! have its ids in their environment.

use std::fmt;

use serde::Serialize;

use super::job_env::jobs_entry;
use super::liveness::{ChildLiveness, child_of};
use super::process_scan::{ProcessScan, ScannedProcess};
use crate::log::JobState;
use crate::log::format::payload::ProcessRef;
use crate::telemetry::LiveProcess;
use crate::volume::Dir;

/// The pid of init, which adopts processes whose parent has ended.
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
    /// The live processes that left the job's group and session and whose parent is init or
    /// another daemon.
    pub(crate) daemons: Vec<JobProcess>,
}

impl JobProcesses {
    /// Finds the processes of a job of the run in `dir`.
    pub(crate) fn find(scan: &ProcessScan, dir: &Dir, job: &JobState) -> Self {
        let mut found = Self {
            first: child_of(scan, dir, job),
            alive: Vec::new(),
            daemons: Vec::new(),
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
            let is_first = |first: &ProcessRef| {
                first.pid == process.pid && first.start_ticks == Some(process.start_ticks)
            };
            first.is_some_and(|first| is_first(first) || is_in_group(first, process))
                || (process.start_ticks >= earliest && scanned.is_in_job(dir, &entry))
        };
        let parts = live.iter().filter(is_part);
        let mut rest: Vec<&LiveProcess> = parts.map(|scanned| &scanned.process).collect();
        // Find daemons first, then their children, and so on.
        let mut parents = vec![INIT_PID];
        while !parents.is_empty() {
            let is_daemon = |process: &&LiveProcess| {
                parents.contains(&process.parent) && has_left(first, process)
            };
            let (daemons, others) = rest.into_iter().partition::<Vec<_>, _>(is_daemon);
            parents = daemons.iter().map(|daemon| daemon.pid).collect();
            found
                .daemons
                .extend(daemons.into_iter().map(JobProcess::from));
            rest = others;
        }
        found.alive = rest.into_iter().map(JobProcess::from).collect();
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

/// Returns whether the process has left the group and the session of the job. If init has
/// adopted it, it is a daemon.
fn has_left(first: Option<&ProcessRef>, process: &LiveProcess) -> bool {
    first.is_some_and(|first| {
        first.pgid.is_some_and(|group| group != process.group)
            && first.sid.is_some_and(|session| session != process.session)
    })
}
