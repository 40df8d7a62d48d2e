//! The bytes of a line: envelope, event types and payloads. The contract is `docs/format.md`.

pub(crate) mod classify;
pub(crate) mod envelope;
pub(crate) mod event_head;
pub(crate) mod event_type;
pub(crate) mod job_counts;
pub(crate) mod limits;
pub(crate) mod note_data;
pub mod payload;
pub(crate) mod stream_id;
pub(crate) mod trace_context;
pub(crate) mod ulid;
