//! runlog wraps a command and keeps a crash-safe log of what happened to it.
//!
//! This crate is the program `runlog`, and the library behind it. Other programs use the
//! library to append to runs and to read them: [`log`], with the words of [`volume`].
//! They do without the program and its dependencies:
//!
//! ```toml
//! [dependencies]
//! runlog = { version = "0.1", default-features = false }
//! ```
//!
//! `docs/library.md` says how it is used and what is stable, `docs/format.md` what the
//! bytes are, for other languages. What these pages do not show is the program's own: it
//! is there for its tests, and changes without notice.

#![cfg_attr(
    not(feature = "cli"),
    expect(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "used by the program only"
    )
)]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod job;
pub mod log;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod render;

mod sync;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod telemetry;
pub mod volume;
