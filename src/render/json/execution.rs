//! Whether a command changes anything.

use serde::{Serialize, Serializer};

/// Whether the reported actions were done. Serializes to the value of `dry_run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// The actions were done.
    Apply,
    /// The actions would be done.
    DryRun,
}

impl Execution {
    /// Returns whether nothing is changed.
    pub fn is_dry_run(self) -> bool {
        self == Self::DryRun
    }
}

impl Serialize for Execution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.is_dry_run())
    }
}
