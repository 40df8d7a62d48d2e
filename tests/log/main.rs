//! Properties of the log that need several processes, or limits on one.
//!
//! Each test runs parts of itself in other processes. Those parts are the ignored tests, which
//! do nothing when they are run by hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy treats test helpers as production code"
)]

mod limits;
mod processes;
mod support;
