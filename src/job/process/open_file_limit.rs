//! The limit on open files, which is raised for runlog and restored for the job.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that runlog was started with, after it was raised.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of open files to the hard limit.
///
/// A soft limit of 1024 is a common default, kept for programs that use select(2), but following
/// many runs needs more. If the limit cannot be raised, it is not changed.
pub fn raise_open_file_limit() {
    let original = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: original.maximum,
        maximum: original.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        ORIGINAL.get_or_init(|| original);
    }
}

/// Restores the limit that runlog was started with. May be called between fork and exec.
pub(crate) fn restore_open_file_limit() -> io::Result<()> {
    match ORIGINAL.get() {
        Some(original) => Ok(setrlimit(Resource::Nofile, *original)?),
        None => Ok(()),
    }
}
