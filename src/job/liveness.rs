//! Whether the process of a job lives on: told by boot, pid namespace, pid and start time.
//! Nothing is guessed.

use std::fmt;

use crate::log::payload::ProcessRef;
use crate::log::{JobState, Stage};
use crate::telemetry;
use crate::volume::Dir;

/// What is known of the process of a job that has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    /// There never was one.
    NotStarted,
    /// There may be one that the log does not know of.
    MayBeStarted,
    /// The last one ended, and the next was not begun.
    BetweenAttempts,
    /// It still runs.
    Lives(u32),
    /// It is dead.
    Dead(u32),
    /// It ran before this host was booted.
    EarlierBoot(u32),
    /// The log is on a network file system, or does not tell the boot.
    ElsewhereMaybe(u32),
    /// It is in another pid namespace.
    Hidden(u32),
    /// There is a process of that number, and nothing tells whether it is the same.
    Unclear(u32),
}

impl Child {
    /// Whether its process lives, for sure.
    pub(crate) fn lives(self) -> bool {
        matches!(self, Self::Lives(_))
    }

    /// Whether no process of the job lives, for sure.
    pub(crate) fn is_dead(self) -> bool {
        matches!(
            self,
            Self::NotStarted | Self::BetweenAttempts | Self::Dead(_) | Self::EarlierBoot(_)
        )
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("its command was not started"),
            Self::MayBeStarted => f.write_str("its command may have been started"),
            Self::BetweenAttempts => f.write_str("it was between two attempts"),
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

/// Looks for the process of a job that has no end, of the run in `dir`.
pub(crate) fn child_of(dir: &Dir, job: &JobState) -> Child {
    match (&job.process, job.stage) {
        (Some(process), _) => process_of(dir, process),
        (None, Stage::Validated) => Child::MayBeStarted,
        (None, Stage::Started) => Child::BetweenAttempts,
        (None, _) => Child::NotStarted,
    }
}

fn process_of(dir: &Dir, process: &ProcessRef) -> Child {
    let pid = process.pid;
    if process.boot_id.is_none() || process.boot_id != telemetry::boot_id() {
        let here = process.boot_id.is_some() && !dir.is_remote();
        return if here {
            Child::EarlierBoot(pid)
        } else {
            Child::ElsewhereMaybe(pid)
        };
    }
    if process.pid_namespace.is_none() || process.pid_namespace != telemetry::pid_namespace() {
        return Child::Hidden(pid);
    }
    match (process.start_ticks, telemetry::process_start_ticks(pid)) {
        (Some(then), Some(now)) if then == now => Child::Lives(pid),
        (None, Some(_)) => Child::Unclear(pid),
        _ => Child::Dead(pid),
    }
}
