//! Whether the process of a job lives on: told by boot, pid namespace, pid and start time.
//! Nothing is guessed.

use std::fmt;

use crate::job::process::job_env::{JOB_VARIABLE, RUN_VARIABLE};
use crate::log::format::payload::ProcessRef;
use crate::log::{JobState, Stage};
use crate::telemetry;
use crate::volume::Dir;

/// What is known of the process of a job that has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildLiveness {
    /// There never was one.
    NotStarted,
    /// There may be one that the log does not know of.
    MayBeStarted,
    /// There may have been one that the log does not know of; it is not there any more.
    NotFound,
    /// It still runs.
    Lives(u32),
    /// The log does not know of it, but it has the ids of the run and the job in its
    /// environment.
    Found(u32),
    /// It is dead.
    Dead(u32),
    /// It ran before this host was booted.
    EarlierBoot(u32),
    /// The log is on a network file system, or does not tell the boot.
    ElsewhereMaybe(u32),
    /// It is in another pid namespace.
    Hidden(u32),
    /// A process has that pid, but whether it is the same is unknown.
    Unclear(u32),
}

impl ChildLiveness {
    /// Whether its process lives, for sure.
    pub(crate) fn lives(self) -> bool {
        matches!(self, Self::Lives(_) | Self::Found(_))
    }

    /// Whether no process of the job lives, for sure.
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
                "its command may have been started, but no process has its ids in its environment",
            ),
            Self::Found(pid) => write!(
                f,
                "its command was started: process {pid} has its ids in its environment"
            ),
            Self::Lives(pid) => write!(f, "its process {pid} still runs"),
            Self::Dead(pid) => write!(f, "its process {pid} is dead"),
            Self::EarlierBoot(pid) => write!(f, "its process {pid} belongs to an earlier boot"),
            Self::ElsewhereMaybe(pid) => {
                write!(f, "its process {pid} belongs to another boot or host")
            }
            Self::Hidden(pid) => write!(
                f,
                "its process {pid} is in another pid namespace and cannot be seen from here"
            ),
            Self::Unclear(pid) => {
                write!(f, "whether its process {pid} still runs cannot be told")
            }
        }
    }
}

/// How a process that was not waited for yet is distinguished from all others: it may have ended
/// before we came to look.
pub(crate) fn process(pid: u32) -> ProcessRef {
    ProcessRef {
        pid,
        start_ticks: telemetry::start_ticks(pid),
        pid_namespace: telemetry::pid_namespace(),
        boot_id: telemetry::boot_id(),
    }
}

/// Whether the job was handed in or started in this boot, as far as that is known.
pub(crate) fn same_boot(job: &JobState) -> bool {
    let processes = [&job.process, &job.supervisor];
    let mut boots = processes.into_iter().flatten().map(|p| &p.boot_id);
    let here = telemetry::boot_id();
    here.is_some() && boots.any(|boot| *boot == here)
}

/// Looks for the process of a job that has no end, of the run in `dir`, whose supervisor
/// is gone.
pub(crate) fn child_of(dir: &Dir, job: &JobState) -> ChildLiveness {
    match (&job.process, job.stage) {
        (Some(process), _) => process_of(dir, process),
        (None, Stage::Validated | Stage::Started) => unrecorded(dir, job),
        (None, _) => ChildLiveness::NotStarted,
    }
}

/// A command, or another attempt, that may have been started without a record of it:
/// the supervisor died right then.
fn unrecorded(dir: &Dir, job: &JobState) -> ChildLiveness {
    let run = dir.path().file_name().and_then(|name| name.to_str());
    let (Some(supervisor), Some(run)) = (&job.supervisor, run) else {
        return ChildLiveness::MayBeStarted;
    };
    match process_of(dir, supervisor) {
        earlier @ ChildLiveness::EarlierBoot(_) => return earlier,
        ChildLiveness::Dead(_) => {}
        _ => return ChildLiveness::MayBeStarted,
    }
    let variables = [
        format!("{RUN_VARIABLE}={run}"),
        format!("{JOB_VARIABLE}={}", job.job_id),
    ];
    let since = supervisor.start_ticks.unwrap_or(0);
    match telemetry::processes_with_env(&variables, since).as_deref() {
        None => ChildLiveness::MayBeStarted,
        Some([]) => ChildLiveness::NotFound,
        Some([pid, ..]) => ChildLiveness::Found(*pid),
    }
}

fn process_of(dir: &Dir, process: &ProcessRef) -> ChildLiveness {
    let pid = process.pid;
    if process.boot_id.is_none() || process.boot_id != telemetry::boot_id() {
        let here = process.boot_id.is_some() && !dir.is_remote();
        return if here {
            ChildLiveness::EarlierBoot(pid)
        } else {
            ChildLiveness::ElsewhereMaybe(pid)
        };
    }
    if process.pid_namespace.is_none() || process.pid_namespace != telemetry::pid_namespace() {
        return ChildLiveness::Hidden(pid);
    }
    match (process.start_ticks, telemetry::live_start_ticks(pid)) {
        (Some(then), Some(now)) if then == now => ChildLiveness::Lives(pid),
        (None, Some(_)) => ChildLiveness::Unclear(pid),
        _ => ChildLiveness::Dead(pid),
    }
}
