//! runlog wraps a command and keeps a crash-safe log of what happened to it.

pub mod log;
pub mod telemetry;
pub mod volume;
