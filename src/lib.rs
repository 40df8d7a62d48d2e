//! runlog wraps a command and keeps a crash-safe log of what happened to it.
//!
//! This crate is the program `runlog`, and the library behind it. Other programs use the
//! library to append to runs and to read them: [`log`], with the words of [`volume`].
//! They do without the program and its dependencies:
//!
//! ```toml
//! [dependencies]
//! runlog = { version = "0.2", default-features = false }
//! ```
//!
//! `docs/library.md` says how it is used and what is stable, `docs/format.md` what the
//! bytes are, for other languages. With the feature `cli`, [`cli`] is the program itself.

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
