//! A volume: a folder that holds `.omne/`, and the names of everything in it.
//!
//! [`Volume`] finds or makes one; [`RunId`] and [`JobId`] are checked when they are parsed.

mod clock;
mod dir;
mod error;
mod id;
#[doc(hidden)]
pub mod layout;
mod reading;
mod root;
mod settings;
mod tree;
mod whole_file;

pub use dir::Dir;
pub use error::{VolumeError, error_chain};
pub use id::{IdError, JobId, RunId};
pub use root::Volume;

pub(crate) use error::IoContext;

// The program's own; no part of what the library promises.
#[doc(hidden)]
pub use self::clock::{Clock, now_ts, parse_ts};
pub use self::dir::{FileKey, FileMeta};
pub use self::settings::{GcSettings, RawSetting, RotateSettings, Settings};
pub use self::tree::Usage;
pub use self::whole_file::{AtomicFile, parent_dir, resolve_links};
