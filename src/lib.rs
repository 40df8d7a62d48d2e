//! runlog wraps a command and keeps a crash-safe log of what happened to it.

pub mod cli;
pub mod job;
pub mod log;
pub mod render;
pub mod telemetry;
pub mod volume;
