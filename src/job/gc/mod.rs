//! Garbage collection: choosing and removing runs.

mod candidates;
mod removal;

pub use crate::job::gc::candidates::{GcCandidates, GcFilter, list_candidates};
pub use crate::job::gc::removal::{GcDecision, finish_removal, remove_planned, runs_to_remove};
