//! Whether the first process of a job is alive. It is identified by boot, pid namespace, pid and
//! start time, never by a guess.

use std::fmt;

use crate::job::process::job_env::jobs_entry;
use crate::job::process::process_group::{group_of, session_of};
use crate::job::process::process_scan::ProcessScan;
use crate::log::format::payload::ProcessRef;
use crate::log::{JobState, Stage};
use crate::telemetry;
use crate::volume::{Dir, boot_id, is_this_boot};

/// The known facts about the first process of a job that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildLiveness {
    /// It was never started.
    NotStarted,
    /// It may have been started without a record in the log.
    MayBeStarted,
    /// It may have been started without a record in the log, but is not running now.
    NotFound,
    /// It is alive.
    Alive(u32),
    /// It is not recorded in the log, but is alive: a process has the job in its environment.
    Found(u32),
    /// It is dead.
    Dead(u32),
    /// It belongs to an earlier boot of this host.
    EarlierBoot(u32),
    /// It may belong to another boot or host: the log is on a network file system, or the boot is
    /// not recorded.
    OtherBootOrHost(u32),
    /// It belongs to another pid namespace.
    Hidden(u32),
    /// A process with that pid exists, but it may be a different one.
    Unclear(u32),
}

impl ChildLiveness {
    /// Returns whether it is certain that a process of the job is alive.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, Self::Alive(_) | Self::Found(_))
    }

    /// Returns whether it is certain that the process is dead.
    pub(crate) fn is_dead(self) -> bool {
        matches!(
            self,
            Self::NotStarted | Self::NotFound | Self::Dead(_) | Self::EarlierBoot(_)
        )
    }
}

impl fmt::Display for ChildLiveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("its command was not started"),
            Self::MayBeStarted => f.write_str("its command may have been started"),
            Self::NotFound => f.write_str(
                "its command may have been started, but no process names the job in its environment",
            ),
            Self::Found(pid) => write!(
                f,
                "its command was started: process {pid} names the job in its environment"
            ),
            Self::Alive(pid) => write!(f, "its process {pid} is still running"),
            Self::Dead(pid) => write!(f, "its first process {pid} is dead"),
            Self::EarlierBoot(pid) => write!(f, "its process {pid} belongs to an earlier boot"),
            Self::OtherBootOrHost(pid) => {
                write!(f, "its process {pid} may belong to another boot or host")
            }
            Self::Hidden(pid) => write!(
                f,
                "its process {pid} is in another pid namespace and cannot be seen from here"
            ),
            Self::Unclear(pid) => {
                write!(f, "it is not known whether its process {pid} is still running")
            }
        }
    }
}

/// Identifies a child that has not been waited for; it may already be dead.
pub(crate) fn process(pid: u32) -> ProcessRef {
    ProcessRef {
        pid,
        start_ticks: telemetry::start_ticks(pid),
        pid_namespace: telemetry::pid_namespace(),
        boot_id: boot_id(),
        ..ProcessRef::default()
    }
}

/// Identifies the first process of a job, with its process group and session.
pub(crate) fn job_process(pid: u32) -> ProcessRef {
    ProcessRef {
        pgid: group_of(pid),
        sid: session_of(pid),
        ..process(pid)
    }
}

/// Returns whether the job was submitted or started in this boot, if the boot is recorded.
pub(crate) fn same_boot(job: &JobState) -> bool {
    let processes = [&job.process, &job.supervisor];
    let mut processes = processes.into_iter().flatten();
    processes.any(|process| is_this_boot(process.boot_id.as_ref()))
}

/// Finds the first process of an unfinished job whose supervisor is dead, in the run in `dir`.
pub(crate) fn child_of(scan: &ProcessScan, dir: &Dir, job: &JobState) -> ChildLiveness {
    match (&job.process, job.stage) {
        (Some(process), _) => process_of(dir, process),
        (None, Stage::Validated | Stage::Started) => unrecorded(scan, dir, job),
        (None, _) => ChildLiveness::NotStarted,
    }
}

/// Describes the visible processes that watch a job; empty if none is visible.
pub(crate) fn watchers(dir: &Dir, job: &JobState) -> String {
    let find = |process: &Option<ProcessRef>| process.as_ref().map(|it| process_of(dir, it));
    match (find(&job.supervisor), find(&job.front)) {
        (Some(ChildLiveness::Alive(supervisor)), Some(ChildLiveness::Alive(front))) => {
            format!("; it is process {supervisor}, and its front is process {front}")
        }
        (Some(ChildLiveness::Alive(supervisor)), _) => {
            format!("; it is process {supervisor}, and it has no front")
        }
        (_, Some(ChildLiveness::Alive(front))) => {
            format!("; it died, and its front, process {front}, replaces it")
        }
        _ => String::new(),
    }
}

/// Returns whether a process that watches a job may be alive.
pub(crate) fn may_be_watched(dir: &Dir, job: &JobState) -> bool {
    let processes = [&job.supervisor, &job.front].into_iter().flatten();
    let mut found = processes.map(|process| process_of(dir, process));
    found.any(|process| !process.is_dead())
}

/// Finds a command, or another attempt, that may have been started without a record because the
/// supervisor died at that moment.
fn unrecorded(scan: &ProcessScan, dir: &Dir, job: &JobState) -> ChildLiveness {
    let run = dir.path().file_name().and_then(|name| name.to_str());
    let (Some(supervisor), Some(run)) = (&job.supervisor, run) else {
        return ChildLiveness::MayBeStarted;
    };
    match process_of(dir, supervisor) {
        earlier @ ChildLiveness::EarlierBoot(_) => return earlier,
        ChildLiveness::Dead(_) => {}
        _ => return ChildLiveness::MayBeStarted,
    }
    let since = supervisor.start_ticks.unwrap_or(0);
    let entry = jobs_entry(run, job.job_id.as_str());
    let Some(live) = scan.processes() else {
        return ChildLiveness::MayBeStarted;
    };
    let mut later = live.iter().filter(|it| it.process.start_ticks >= since);
    match later.find(|it| it.is_in_job(dir, &entry)) {
        None => ChildLiveness::NotFound,
        Some(it) => ChildLiveness::Found(it.process.pid),
    }
}

fn process_of(dir: &Dir, process: &ProcessRef) -> ChildLiveness {
    let pid = process.pid;
    if !is_this_boot(process.boot_id.as_ref()) {
        let here = process.boot_id.is_some() && !dir.is_remote();
        return if here {
            ChildLiveness::EarlierBoot(pid)
        } else {
            ChildLiveness::OtherBootOrHost(pid)
        };
    }
    if process.pid_namespace.is_none() || process.pid_namespace != telemetry::pid_namespace() {
        return ChildLiveness::Hidden(pid);
    }
    match (process.start_ticks, telemetry::live_start_ticks(pid)) {
        (Some(then), Some(now)) if then == now => ChildLiveness::Alive(pid),
        (None, Some(_)) => ChildLiveness::Unclear(pid),
        (_, None) if telemetry::is_hidden(pid) => ChildLiveness::Unclear(pid),
        _ => ChildLiveness::Dead(pid),
    }
}
