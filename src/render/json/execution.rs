//! Whether a command changes anything.

use serde::{Serialize, Serializer};

/// Whether what is reported was done. Serializes to the value of `dry_run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// It was done.
    Apply,
    /// It would be done.
    DryRun,
}

impl Execution {
    /// Returns what a `--dry-run` flag asks for.
    pub fn from_dry_run_flag(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::Apply }
    }

    /// Reports whether nothing is changed.
    pub fn is_dry_run(self) -> bool {
        self == Self::DryRun
    }
}

impl Serialize for Execution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.is_dry_run())
    }
}
