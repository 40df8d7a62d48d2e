//! The hint for an error that a resource limit of the process causes.

use std::io;

use rustix::io::Errno;

/// The errors of a limit that prevent a job from being started.
const START_ERRORS: [Errno; 3] = [Errno::AGAIN, Errno::MFILE, Errno::NOMEM];

/// Returns which limit to raise after a system call failed; `None` if no limit is the cause.
pub(super) fn limit_hint(e: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(e)? {
        Errno::AGAIN => {
            "raise the limit on processes (`ulimit -u`, or `pids.max` of the cgroup), then retry"
        }
        Errno::MFILE => "raise the limit on open files (`ulimit -n`), then retry",
        Errno::FBIG => "raise the limit on the size of files (`ulimit -f`), then retry",
        Errno::NOMEM => "free memory, or raise its limit (`ulimit -v`), then retry",
        _ => return None,
    })
}

/// Returns which limit to raise if a job was not started for this reason.
pub(super) fn start_limit_hint(reason: &str) -> Option<&'static str> {
    let mut errors = START_ERRORS.map(io::Error::from).into_iter();
    let error = errors.find(|e| reason.ends_with(&e.to_string()))?;
    limit_hint(&error)
}
