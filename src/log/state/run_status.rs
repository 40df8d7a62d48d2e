//! The states that a run can be in.

use serde::{Deserialize, Serialize};

/// What a run is, by the first that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// No event yet.
    Pending,
    /// Closed, and no job failed.
    Completed,
    /// Closed, and some job failed.
    Failed,
    /// A job has no end, and its lease is held.
    Running,
    /// A job has no end, and nobody holds its lease.
    Lost,
    /// Not closed, and its writer cannot be seen.
    Unknown,
    /// Not closed, and no job is live.
    Open,
}

impl RunStatus {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Completed,
        Self::Failed,
        Self::Running,
        Self::Lost,
        Self::Unknown,
        Self::Open,
    ];

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing more is to be waited for.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Open)
    }

    /// The name in JSON.
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
