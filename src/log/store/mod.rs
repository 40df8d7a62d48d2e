//! The runs of a volume: listing, selection, retention, removal and ULID allocation.

pub(crate) mod catalog;
pub(crate) mod gc;
pub(crate) mod removed_runs;
pub(crate) mod retention;
mod retired_file;
pub(crate) mod select;
pub(crate) mod tombstones;
pub(crate) mod ulid_allocator;
