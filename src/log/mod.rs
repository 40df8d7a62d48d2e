//! The log of a run: the bytes, the append protocol, reading, and the fold.
//!
//! The bytes are a contract, told in full in `docs/format.md`: one event is one line
//! of JSON with a number, a ULID, a time and a CRC-32C ([`Envelope`]).
//!
//! - [`RunLog`] appends. Threads share one; any number of processes may have the same run
//!   open, `runlog` itself among them. An append that returns `Ok` is in the log once, and
//!   survives what its [`Durability`] says.
//! - [`Reader`] reads, without a lock and beside writers. What is damaged is an
//!   [`Item::Damage`], and its neighbours are read.
//! - [`Fold`] makes the state of the run of what was read; [`fold`] does both, from the
//!   newest checkpoint on.
//! - [`select`] and [`list`] find runs.
//!
//! ```
//! use runlog::log::payload::RunOpened;
//! use runlog::log::{Batch, Close, Draft, Durability, EventType, Item, Reader, RunLog, fold};
//! use runlog::volume::Volume;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let volume = Volume::create(folder)?;
//! let log = RunLog::create(&volume, "import")?;
//! let run = log.run_id();
//!
//! // The first event opens the run; both go out in one write, and are on disk then.
//! let opening = RunOpened { name: "import".to_owned(), ..RunOpened::default() };
//! let opened = Draft::new(EventType::RunOpened, run, None, &opening)?;
//! let note = Draft::note(run, None, "rows", &serde_json::json!({"count": 3}))?;
//! log.append(&[opened, note], Durability::Power)?;
//!
//! let mut reader = Reader::open(log.dir())?;
//! while let Some(item) = reader.next_item()? {
//!     match item {
//!         Item::Event(event, line) => println!("{} {}", event.kind, line.len()),
//!         Item::Foreign(program, _) => println!("a line of {program:?}"),
//!         Item::Damage(damage) => eprintln!("{damage}"),
//!     }
//! }
//!
//! let budget = EventType::RunClosed.lock_budget();
//! log.append_with(Durability::Power, budget, |_| Ok(Batch::only(Close::Now)))?;
//! assert!(fold(log.dir())?.is_closed());
//! # Ok(())
//! # }
//! ```

mod append;
mod backward;
mod catalog;
mod command_line;
mod compose;
mod compress;
mod courtesy;
mod cursor;
mod cursor_file;
#[doc(hidden)]
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
mod news;
mod output_index;
mod overview;
pub mod payload;
mod place;
mod prune;
mod put;
mod reader;
mod repair;
mod reserve;
#[doc(hidden)]
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
pub use catalog::{SelectError, list, select};
pub use data::DataError;
pub use dialect::Dialect;
pub use envelope::{Envelope, Reason};
pub use error::LogError;
pub use event::{Draft, Durability, EventType, LINE_LIMIT};
pub use fold::Fold;
pub use reader::{Damage, Item, Reader, fold};
pub use run_log::RunLog;
pub use state::{JobState, MAX_JOBS, Rollback, RunState, Stage};
pub use ulid::Ulid;
pub use ulid_last::allocate_ulid;
pub use upkeep::Rotation;

// The program's own; no part of what the library promises.
#[doc(hidden)]
pub use self::{
    backward::Backward,
    catalog::open_dir,
    command_line::command_line,
    compress::{Compressed, compress_sealed, would_compress},
    cursor::{Cursor, CursorError},
    cursor_file::{CursorFile, CursorFileError},
    follow::{Follower, News, Start},
    gc::{Gc, Held, Hold, Leftover, leftovers},
    gone::Gone,
    lease::{Lease, LeaseState},
    output_index::{IndexRecord, OutputIndex, OutputRange},
    overview::{Overview, finished, is_closed, overview},
    place::{Gap, Lost},
    prune::{Dropped, Prune, would_drop},
    retired::{Retired, retired},
    rotate::{Due, Left, Sealed, would_rotate},
    segments::{has_begun, has_events},
    settle::needs_mending,
    state_kind::RunStateKind,
    ulid_last::fresh_ulid,
    verify::{Fault, FaultKind, Verified, verify, verify_wal},
    wait::Waiter,
    wal::Wal,
    watch::{Changes, Watch},
    window::last_lines,
};
