//! The types of events, and what each means for the append protocol.

use std::fmt;
use std::time::Duration;

use super::limits::{LOCK_TIMEOUT, TERMINAL_LOCK_TIMEOUT};

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The types of events that this version writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum EventType {
            $($(#[$doc])* $variant,)*
        }

        impl EventType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the log.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The type of that name; `None` for types of a later version.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

event_types! {
    /// The first event of a run.
    RunOpened = "run_opened",
    /// A command was handed in.
    JobSubmitted = "job_submitted",
    /// The command was found, its inputs are valid, and its guards hold.
    JobValidated = "job_validated",
    /// It was spawned.
    JobStarted = "job_started",
    /// What its processes use at the moment.
    JobSampled = "job_sampled",
    /// The supervisor died, and another one continues.
    SupervisorReplaced = "supervisor_replaced",
    /// It ended with exit code 0.
    JobCompleted = "job_completed",
    /// It ended otherwise, or never began.
    JobFailed = "job_failed",
    /// The compensating command is about to run.
    JobRollbackStarted = "job_rollback_started",
    /// The compensating command ended.
    JobRolledBack = "job_rolled_back",
    /// The last event of a run, but for repairs, rotations, rollbacks and hooks.
    RunClosed = "run_closed",
    /// A command that follows the job ended.
    HookEnded = "hook_ended",
    /// What a user's script added.
    Note = "note",
    /// The first line of a new segment.
    LogRotated = "log_rotated",
    /// A torn end was repaired.
    LogRepaired = "log_repaired",
}

impl EventType {
    /// Whether the event must find its place even on a full disk: it uses what the
    /// reserve holds.
    pub fn is_essential(self) -> bool {
        !matches!(
            self,
            Self::Note
                | Self::JobSampled
                | Self::RunOpened
                | Self::JobSubmitted
                | Self::JobValidated
        )
    }

    /// Whether the event may follow the close of its run.
    pub fn may_follow_close(self) -> bool {
        matches!(
            self,
            Self::LogRotated
                | Self::LogRepaired
                | Self::JobRollbackStarted
                | Self::JobRolledBack
                | Self::HookEnded
        )
    }

    /// How long the event waits for the locks.
    pub fn lock_budget(self) -> Duration {
        match self {
            Self::JobCompleted | Self::JobFailed | Self::JobRolledBack | Self::RunClosed => {
                TERMINAL_LOCK_TIMEOUT
            }
            _ => LOCK_TIMEOUT,
        }
    }
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
    /// Returns the type of that name.
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
    /// The death of every process: the bytes are with the operating system.
    Process,
    /// A loss of power: the bytes, and the names that lead to them, are synced.
    Power,
}
