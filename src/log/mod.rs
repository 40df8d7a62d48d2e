//! The log of a run: the bytes, the append protocol, reading, and the fold.
//!
//! The bytes are a contract, which `docs/format.md` specifies: an event is one line of JSON with
//! a sequence number, a ULID, a time and a CRC-32C ([`Envelope`]).
//!
//! - [`RunLog`] appends. Threads share one, and any number of processes, including `runlog`
//!   itself, may have the same run open. An append that returns `Ok` is in the log exactly once,
//!   and survives what its [`Durability`] promises.
//! - [`Reader`] reads without a lock, even while others write. It returns damage as
//!   [`Item::Damage`] and continues with the next line.
//! - [`Fold`] computes the state of the run from these items; [`fold`] does both, from the
//!   newest checkpoint on.
//! - [`select`] and [`list`] find runs.
//!
//! ```
//! use runlog::log::payload::RunOpened;
//! use runlog::log::{Batch, Close, Draft, Durability, EventType, Item, Reader, RunLog, fold};
//! use runlog::volume::Volume;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let volume = Volume::create(dir)?;
//! let log = RunLog::create(&volume, "import")?;
//! let run = log.run_id();
//!
//! // The first event opens the run. Both are appended in one write, and are on disk afterwards.
//! let opening = RunOpened { name: "import".to_owned(), ..RunOpened::default() };
//! let opened = Draft::new(run, None, &opening)?;
//! let note = Draft::note(run, None, "rows", &serde_json::json!({"count": 3}))?;
//! log.append(&[opened, note], Durability::Power)?;
//!
//! let mut reader = Reader::open(log.dir())?;
//! while let Some(item) = reader.next_item()? {
//!     match item {
//!         Item::Event(event, line) => println!("{} {}", event.kind, line.len()),
//!         Item::Foreign(program, _) => println!("a line of {program:?}"),
//!         Item::Damage(damage) => eprintln!("{damage}"),
//!         Item::Dropped(gap) => eprintln!("{gap}"),
//!     }
//! }
//!
//! let budget = EventType::RunClosed.lock_budget();
//! log.append_with(Durability::Power, budget, |_| Ok(Batch::only(Close::Now)))?;
//! assert!(fold(log.dir())?.is_closed());
//! # Ok(())
//! # }
//! ```

mod error;
pub(crate) mod format;
pub(crate) mod interop;
pub(crate) mod lock;
pub(crate) mod read;
pub(crate) mod segment;
pub(crate) mod state;
pub(crate) mod store;
pub(crate) mod verify;
pub(crate) mod watch;
pub(crate) mod write;

#[cfg(test)]
mod test_log;

pub use ulid::Ulid;

pub use crate::log::error::{
    AppendError, DraftError, GcError, Refusal, RotateError, StorageError, SyncError,
};
pub use crate::log::format::classify::Dialect;
pub use crate::log::format::envelope::{DamageReason, Envelope};
pub use crate::log::format::event_head::EventHead;
pub use crate::log::format::event_type::{Durability, EventKind, EventType, SpaceClaim};
pub use crate::log::format::job_counts::JobCounts;
pub use crate::log::format::limits::MAX_LINE_BYTES;
pub use crate::log::format::note_data::DataError;
pub use crate::log::format::payload;
pub use crate::log::format::payload::Sealed;
pub use crate::log::format::stream_id::StreamId;
pub use crate::log::format::trace_context::TraceContext;
pub use crate::log::interop::foreign::apply_foreign;
pub use crate::log::read::damage::{Damage, DamageList};
pub(crate) use crate::log::read::fold::fold_to_end;
pub use crate::log::read::fold::{Fold, fold};
pub use crate::log::read::last_lines::last_lines;
pub use crate::log::read::reader::{Item, Reader};
pub use crate::log::read::summary::{JobScope, RunSummary, read_summary};
pub use crate::log::segment::compress::{Compressed, compress_sealed};
pub use crate::log::state::job_state::{JobState, Rollback, Stage};
pub use crate::log::state::probe_state::ProbeState;
pub use crate::log::state::run_state::{MAX_JOBS, RunState};
pub use crate::log::state::run_status::RunStatus;
pub use crate::log::store::catalog::{SelectError, list};
pub use crate::log::store::select::{MatchedBy, SelectedRun, find_run, select};
pub use crate::log::store::ulid_allocator::allocate_ulid;
pub use crate::log::write::append::ForeignPolicy;
pub use crate::log::write::batch::{Appended, Batch, Close, LogView, LostEvents};
pub use crate::log::write::draft::Draft;
pub use crate::log::write::prune::{PruneLimit, PrunedSegment};
pub use crate::log::write::rotation_policy::RotationPolicy;
pub use crate::log::write::rotation_policy::{
    NotRotated, Rotation, RotationPlan, RotationThreshold,
};
pub use crate::log::write::run_log::RunLog;

// Only for the program.
pub(crate) use crate::log::format::ulid::fresh_ulid;
pub(crate) use crate::log::lock::file_lock::LOCK_ACTION;
pub(crate) use crate::log::lock::lease::{Lease, LeaseClaim, LeaseState};
pub(crate) use crate::log::lock::named_lock::{LockHolder, NamedLock, NamedLockAttempt};
pub(crate) use crate::log::read::cursor::{Cursor, CursorError, RunEnd};
pub(crate) use crate::log::read::cursor_file::{CursorFile, CursorFileError, SavedCursors};
pub(crate) use crate::log::read::follow::{FollowStart, Follower, Update};
pub(crate) use crate::log::read::position::{Gap, GapReason};
pub(crate) use crate::log::read::retired_position::RetiredPosition;
pub(crate) use crate::log::read::runtimo_wal::RuntimoWal;
pub(crate) use crate::log::read::steady_time::SteadyTime;
pub(crate) use crate::log::read::summary::{ends_in_line, is_closed, read_finished};
pub(crate) use crate::log::segment::compress::plan_compression;
pub(crate) use crate::log::segment::output_index::{IndexRecord, OutputIndex, OutputRange};
pub(crate) use crate::log::segment::rev_line_reader::RevLineReader;
pub(crate) use crate::log::segment::segment_set::is_started;
pub(crate) use crate::log::state::command_line::command_line;
pub(crate) use crate::log::state::stop_reason::STOP_REQUESTED;
pub(crate) use crate::log::store::catalog::{open_any_dir, open_dir};
pub(crate) use crate::log::store::gc::{
    GcLock, LockOutcome, LockedForRemoval, Retired, TrashEntry, trash_entries,
};
pub(crate) use crate::log::store::removed_runs::{RemovedRun, RemovedRuns};
pub(crate) use crate::log::store::select::{newest_named, split_offset};
pub(crate) use crate::log::store::tombstones::{Tombstone, read_tombstones};
pub(crate) use crate::log::verify::fault::Fault;
pub(crate) use crate::log::verify::report::VerifyReport;
pub(crate) use crate::log::verify::{verify, verify_wal};
pub(crate) use crate::log::watch::wait_for_change::{ChangeWaiter, WatchScope};
pub(crate) use crate::log::watch::watcher::{Changes, Watcher};
pub(crate) use crate::log::write::prune::{plan_prune, plan_prune_after_rotation};
pub(crate) use crate::log::write::recover_tail::needs_repair;
pub(crate) use crate::log::write::rotate::plan_rotation;
