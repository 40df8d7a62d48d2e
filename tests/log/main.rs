//! What only several processes, or the limits of one, can show of the log.
//!
//! Each test runs parts of itself in other processes: those are the ignored tests,
//! which do nothing when somebody runs them by hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests count as production code"
)]

mod limits;
mod processes;
mod support;
