//! The log of a run: the bytes, the append protocol, reading, and the fold.
//!
//! The bytes are a contract, told in full in `docs/format.md`: one event is one line
//! of JSON with a number, a ULID, a time and a CRC-32C ([`Envelope`]).

mod append;
mod backward;
mod catalog;
mod command_line;
mod compose;
mod compress;
mod cursor;
mod cursor_file;
pub mod data;
mod dialect;
mod envelope;
mod error;
mod event;
mod fold;
mod follow;
mod foreign;
mod gc;
mod gone;
mod json;
mod lease;
mod lines;
mod lock;
mod output_index;
mod overview;
pub mod payload;
mod place;
mod prune;
mod put;
mod reader;
mod repair;
mod reserve;
pub mod retention;
mod retired;
mod rotate;
mod run_log;
mod segments;
mod sequence;
mod settle;
mod state;
mod state_kind;
mod survey;
mod sync;
mod tail;
mod ulid_last;
mod upkeep;
mod verify;
mod wait;
mod wal;
mod watch;
mod window;

#[cfg(test)]
mod close_tests;
#[cfg(test)]
mod copies_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod follow_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod rotate_tests;
#[cfg(test)]
mod rotation_model_tests;
#[cfg(test)]
mod segments_tests;
#[cfg(test)]
mod writers_tests;

pub use append::{Appended, Batch, Close, View};
pub use backward::Backward;
pub use catalog::{SelectError, list, open_dir, select};
pub use command_line::command_line;
pub use compress::{Compressed, compress_sealed, would_compress};
pub use cursor::{Cursor, CursorError};
pub use cursor_file::{CursorFile, CursorFileError};
pub use dialect::Dialect;
pub use envelope::{Envelope, Reason};
pub use error::LogError;
pub use event::{Draft, Durability, EventType, LINE_LIMIT};
pub use fold::Fold;
pub use follow::{Follower, News, Start};
pub use gc::{Gc, Held, Hold, Leftover, leftovers};
pub use gone::Gone;
pub use lease::{Lease, LeaseState};
pub use output_index::{IndexRecord, OutputIndex, OutputRange};
pub use overview::{Overview, finished, is_closed, overview};
pub use place::{Gap, Lost};
pub use prune::{Dropped, Prune, would_drop};
pub use reader::{Damage, Item, Reader, fold};
pub use retired::{Retired, retired};
pub use rotate::{Due, Left, Sealed, would_rotate};
pub use run_log::RunLog;
pub use segments::{has_begun, has_events};
pub use settle::needs_mending;
pub use state::{JobState, MAX_JOBS, Rollback, RunState, Stage};
pub use state_kind::RunStateKind;
pub use ulid_last::allocate_ulid;
pub use ulid_last::fresh_ulid;
pub use upkeep::Rotation;
pub use verify::{Fault, FaultKind, Verified, verify, verify_wal};
pub use wait::Waiter;
pub use wal::Wal;
pub use watch::{Changes, Watch};
pub use window::last_lines;
