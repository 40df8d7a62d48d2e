//! runlog wraps a command and keeps a crash-safe log of what happened to it.
//!
//! This crate is the program `runlog` and the library behind it. Other programs use the library
//! to append to runs and to read them, through [`log`] and the types of [`volume`]. They need
//! neither the program nor its dependencies:
//!
//! ```toml
//! [dependencies]
//! runlog = { version = "0.2", default-features = false }
//! ```
//!
//! `docs/library.md` describes how to use the library and what is stable. `docs/format.md`
//! describes the bytes, for other languages. With the feature `cli`, [`cli`] is the program
//! itself.

#![cfg_attr(
    not(feature = "cli"),
    expect(dead_code, unused_imports, reason = "used by the program only")
)]

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod job;
pub mod log;
#[cfg(feature = "cli")]
mod render;

mod sync;
#[cfg(feature = "cli")]
pub mod telemetry;
pub mod volume;
