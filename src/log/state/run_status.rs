//! The possible states of a run.

use serde::{Deserialize, Serialize};

/// The state of a run. The first variant that applies counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// The run has no event yet.
    Pending,
    /// The run is closed, and no job failed.
    Completed,
    /// The run is closed, and at least one job failed.
    Failed,
    /// A job has no end, and its lease is held.
    Running,
    /// A job has no end, and no process holds its lease.
    Lost,
    /// The run is not closed, and whether its writer is alive cannot be determined.
    Unknown,
    /// The run is not closed, and no job is live.
    Open,
}

impl RunStatus {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Completed,
        Self::Failed,
        Self::Running,
        Self::Lost,
        Self::Unknown,
        Self::Open,
    ];

    /// Parses the name of a state.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Returns whether the run has ended, so that waiting for it makes no sense.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Open)
    }

    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
            Self::Open => "open",
        }
    }
}
