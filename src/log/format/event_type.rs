//! The types of events, and how the append protocol treats each.

use std::fmt;
use std::time::Duration;

use super::limits::{LOCK_TIMEOUT, TERMINAL_LOCK_TIMEOUT};

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The types of events that this version writes.
        // A word wide: an `EventKind` with padding would be copied in pieces.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        #[non_exhaustive]
        pub enum EventType {
            $($(#[$doc])* $variant,)*
        }

        impl EventType {
            /// All types.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in the log.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Parses the name of a type; `None` for a type of a later version.
            pub fn parse(name: &str) -> Option<Self> {
                Self::from_bytes(name.as_bytes())
            }

            pub(super) fn from_bytes(name: &[u8]) -> Option<Self> {
                match name {
                    $(_ if name == $name.as_bytes() => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    /// The first event of a run.
    RunOpened = "run_opened",
    /// A command was submitted.
    JobSubmitted = "job_submitted",
    /// The command was found, its inputs are valid, and its guards hold.
    JobValidated = "job_validated",
    /// The command was started.
    JobStarted = "job_started",
    /// The current resource usage of the job's processes.
    JobSampled = "job_sampled",
    /// The supervisor died, and another one continues.
    SupervisorReplaced = "supervisor_replaced",
    /// The job ended with exit code 0.
    JobCompleted = "job_completed",
    /// The job ended in any other way, or never started.
    JobFailed = "job_failed",
    /// The rollback command is about to start.
    JobRollbackStarted = "job_rollback_started",
    /// The rollback command ended.
    JobRolledBack = "job_rolled_back",
    /// The last event of a run, except for repairs, rotations, rollbacks, hooks and reruns.
    RunClosed = "run_closed",
    /// A command that runs after the job ended.
    HookEnded = "hook_ended",
    /// The recorded job runs again, in this run or in another one.
    JobRerun = "job_rerun",
    /// An event that a user's script added.
    Note = "note",
    /// The first line of a new segment.
    LogRotated = "log_rotated",
    /// A torn end was repaired.
    LogRepaired = "log_repaired",
}

impl EventType {
    /// Returns which preallocated space the event may use on a full disk. A failed attempt that
    /// will be retried has the same type as the end of a job, but is not a last event.
    pub fn space(self) -> SpaceClaim {
        match self {
            Self::RunOpened
            | Self::JobSubmitted
            | Self::JobValidated
            | Self::JobSampled
            | Self::JobRerun
            | Self::Note => SpaceClaim::Ordinary,
            Self::JobStarted | Self::SupervisorReplaced | Self::HookEnded => SpaceClaim::Supporting,
            Self::JobCompleted
            | Self::JobFailed
            | Self::JobRollbackStarted
            | Self::JobRolledBack
            | Self::RunClosed
            | Self::LogRotated
            | Self::LogRepaired => SpaceClaim::Last,
        }
    }

    /// Returns whether the event may follow the close of its run.
    pub fn may_follow_close(self) -> bool {
        matches!(
            self,
            Self::LogRotated
                | Self::LogRepaired
                | Self::JobRollbackStarted
                | Self::JobRolledBack
                | Self::HookEnded
                | Self::JobRerun
        )
    }

    /// Returns how long the event waits for the locks.
    pub fn lock_budget(self) -> Duration {
        match self {
            Self::JobCompleted | Self::JobFailed | Self::JobRolledBack | Self::RunClosed => {
                TERMINAL_LOCK_TIMEOUT
            }
            _ => LOCK_TIMEOUT,
        }
    }
}

/// Which preallocated space an event may use on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceClaim {
    /// None.
    Ordinary,
    /// What the last events do not need.
    Supporting,
    /// All of it: without the event, the log would not show how a job or the run ended.
    Last,
}

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind<'a> {
    /// A type that this version writes.
    Known(EventType),
    /// A type of a later version or of another program.
    Unknown(&'a str),
}

impl<'a> EventKind<'a> {
    /// Parses the name of a type.
    pub fn new(name: &'a str) -> Self {
        EventType::parse(name).map_or(Self::Unknown(name), Self::Known)
    }

    /// Returns the type if this version knows it.
    pub fn known(self) -> Option<EventType> {
        match self {
            Self::Known(kind) => Some(kind),
            Self::Unknown(_) => None,
        }
    }

    /// Returns the name in the log.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Known(kind) => kind.as_str(),
            Self::Unknown(name) => name,
        }
    }
}

impl PartialEq<EventType> for EventKind<'_> {
    fn eq(&self, other: &EventType) -> bool {
        self.known() == Some(*other)
    }
}

impl fmt::Display for EventKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an acknowledged event survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The death of every process: the operating system has the bytes.
    Process,
    /// A power loss: the bytes, and the directory entries that lead to them, are synced.
    Power,
}
