//! A volume: a folder that holds `.omne/`, and the names of everything in it.

mod clock;
mod dir;
mod error;
mod id;
pub mod layout;
mod reading;
mod root;
mod settings;
mod tree;
mod whole_file;

pub use clock::{Clock, now_ts, parse_ts};
pub use dir::{Dir, FileKey, Glance};
pub(crate) use error::IoContext;
pub use error::VolumeError;
pub use id::{IdError, JobId, RunId};
pub use root::Volume;
pub use settings::{GcSettings, RotateSettings, Settings, Written};
pub use tree::Usage;
pub use whole_file::{WholeFile, behind_links, folder_of};
