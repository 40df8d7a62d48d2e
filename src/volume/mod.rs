//! Volumes: directories that contain `.omne/`. This room has all of their paths and names.
//!
//! [`Volume`] finds or creates one. [`RunId`] and [`JobId`] are validated when they are parsed.

mod atomic_file;
mod clock;
mod create_mode;
mod dir;
mod dir_stamp;
mod error;
mod file_access;
mod id;
pub(crate) mod layout;
mod open_file;
mod reading;
pub(crate) mod rfc3339;
mod root;
mod settings;
mod tree;
pub(crate) mod ulid_text;
mod writing;

pub use dir::Dir;
pub use error::VolumeError;
pub use id::{IdError, JobId, LockName, RunId};
pub use root::Volume;

pub(crate) use error::{IoContext, error_chain, is_out_of_space};
pub(crate) use file_access::copy_access;

// For the program only.
pub(crate) use self::atomic_file::{AtomicFile, parent_dir, resolve_links};
pub(crate) use self::clock::{
    Clock, ClockWatch, boot_id, elapsed_ms, is_this_boot, now_ts, uptime_ms, wall_clock,
};
pub(crate) use self::dir::{EnsuredDir, FileKey};
pub(crate) use self::dir_stamp::DirStamp;
pub(crate) use self::open_file::SEVERAL_LINKS;
pub(crate) use self::rfc3339::{format_ts, parse_ts};
pub(crate) use self::settings::{FlagValue, RunDefault, read_user_defaults};
pub(crate) use self::settings::{RawSetting, Settings, SettingsFile};
pub(crate) use self::tree::{Usage, disk_bytes};
pub(crate) use self::ulid_text::{format_ulid, parse_ulid};
