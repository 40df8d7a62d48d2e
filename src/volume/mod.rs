//! A volume is a directory that contains `.omne/`. This room has all paths and names in it.
//!
//! [`Volume`] finds or creates one. [`RunId`] and [`JobId`] are validated when parsed.

mod atomic_file;
mod clock;
mod create_mode;
mod dir;
mod error;
mod file_access;
mod id;
#[doc(hidden)]
pub mod layout;
mod reading;
#[doc(hidden)]
pub mod rfc3339;
mod root;
mod settings;
mod tree;
pub(crate) mod ulid_text;

pub use dir::Dir;
pub use error::{VolumeError, error_chain};
pub use id::{IdError, JobId, LockName, RunId};
pub use root::Volume;

pub(crate) use error::IoContext;
pub(crate) use file_access::copy_access;

// For the program only; not part of the library's public interface.
#[doc(hidden)]
pub use self::atomic_file::{AtomicFile, parent_dir, resolve_links};
#[doc(hidden)]
pub use self::clock::{Clock, ClockWatch, boot_id, elapsed_ms, now_ts, uptime_ms};
#[doc(hidden)]
pub use self::create_mode::RunMode;
pub(crate) use self::dir::SEVERAL_LINKS;
#[doc(hidden)]
pub use self::dir::{EnsuredDir, FileKey, FileMeta};
#[doc(hidden)]
pub use self::rfc3339::{format_ts, parse_ts};
#[doc(hidden)]
pub use self::settings::{FlagValue, RunDefault, read_user_defaults};
#[doc(hidden)]
pub use self::settings::{
    GcSettings, RawSetting, RedactSettings, RotateSettings, Settings, VolumeSettings,
};
#[doc(hidden)]
pub use self::tree::Usage;
pub(crate) use self::ulid_text::{format_ulid, parse_ulid};
