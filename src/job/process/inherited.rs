//! The state that the process inherited, recorded before Rust's runtime changes it.
//!
//! Before `main`, the runtime ignores SIGPIPE and opens `/dev/null` in place of closed standard
//! descriptors. A job must start as it would without runlog, so both are recorded even earlier,
//! together with the signal mask.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::{io, ptr};

use rustix::process::{Resource, getrlimit};

use super::syscall::check;

/// The number of signals in Linux.
pub(crate) const SIGNALS: i32 = 64;

/// The maximum number of descriptors to check if the system does not list those that are open:
/// the limit may be a billion.
const MAX_UNLISTED: u64 = 1 << 16;

/// The ignored signals: bit N - 1 is set for signal N.
static IGNORED: AtomicU64 = AtomicU64::new(0);
/// The blocked signals: bit N - 1 is set for signal N.
static BLOCKED: AtomicU64 = AtomicU64::new(0);
/// The closed descriptors: bit N is set for descriptor N.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// A function that the dynamic linker calls before `main` and before the runtime is initialized.
#[used]
// SAFETY: the section contains pointers to functions of this type, and `record` uses nothing of
// the runtime.
#[unsafe(link_section = ".init_array")]
static RECORD: extern "C" fn() = record;

extern "C" fn record() {
    let mut ignored = 0;
    let mut blocked = 0;
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a null new mask only queries; the old one is written.
    unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr());
    }
    for signal in 1..=SIGNALS {
        if is_ignored(signal).unwrap_or(false) {
            ignored |= bit(signal);
        }
        // SAFETY: zeroed, it is an empty set, in case the call above failed.
        if unsafe { libc::sigismember(mask.as_ptr(), signal) } == 1 {
            blocked |= bit(signal);
        }
    }
    let mut closed = 0;
    for fd in 0..3 {
        // SAFETY: querying the flags of a descriptor that may be closed is at most an error.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            closed |= 1 << fd;
        }
    }
    IGNORED.store(ignored, Ordering::Relaxed);
    BLOCKED.store(blocked, Ordering::Relaxed);
    CLOSED.store(closed, Ordering::Relaxed);
}

fn bit(signal: i32) -> u64 {
    1_u64.checked_shl((signal - 1) as u32).unwrap_or(0)
}

/// Returns whether the signal is currently ignored.
fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only queries; the old one is written on success.
    unsafe {
        check(libc::sigaction(signal, ptr::null(), action.as_mut_ptr()))?;
        Ok(action.assume_init().sa_sigaction == libc::SIG_IGN)
    }
}

/// Returns whether the signal was ignored when the process started.
pub(crate) fn was_ignored(signal: i32) -> bool {
    IGNORED.load(Ordering::Relaxed) & bit(signal) != 0
}

/// Returns whether the standard descriptor was closed when the process started.
pub(crate) fn was_closed(fd: i32) -> bool {
    CLOSED.load(Ordering::Relaxed) & (1_u8.checked_shl(fd as u32).unwrap_or(0)) != 0
}

/// Gives the calling process the dispositions and the signal mask that runlog inherited.
///
/// Runs between fork and exec, so it calls only async-signal-safe functions.
pub(super) fn restore_signals() -> io::Result<()> {
    let ignored = IGNORED.load(Ordering::Relaxed);
    for signal in [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGCHLD] {
        let action = if ignored & bit(signal) == 0 {
            libc::SIG_DFL
        } else {
            libc::SIG_IGN
        };
        // SAFETY: neither action installs code.
        unsafe {
            libc::signal(signal, action);
        }
    }
    let blocked = BLOCKED.load(Ordering::Relaxed);
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigemptyset initializes the set that the other calls use.
    unsafe {
        check(libc::sigemptyset(mask.as_mut_ptr()))?;
        for signal in 1..=SIGNALS {
            if blocked & bit(signal) != 0 {
                // Signals that libc reserves are rejected.
                libc::sigaddset(mask.as_mut_ptr(), signal);
            }
        }
        check(libc::sigprocmask(
            libc::SIG_SETMASK,
            mask.as_ptr(),
            ptr::null_mut(),
        ))?;
    }
    Ok(())
}

/// Closes the descriptors from 3 on that the caller left open for its children. runlog's own
/// descriptors are closed on exec, so they remain open here.
pub(crate) fn close_descriptors() {
    let open = list_descriptors().unwrap_or_else(|_| (0..end_of_descriptors()).collect());
    for fd in open {
        // SAFETY: querying the flags of a descriptor that may be closed is at most an error.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if fd > 2 && flags != -1 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: nothing in this process owns the descriptor, because it was inherited
            // through exec.
            unsafe {
                libc::close(fd);
            }
        }
    }
}

/// Returns the end of the range of descriptors that may be open, for use without a list of those
/// that are.
pub(super) fn end_of_descriptors() -> i32 {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(MAX_UNLISTED, |limit| limit.min(MAX_UNLISTED)) as i32
}

fn list_descriptors() -> io::Result<Vec<i32>> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(open)
}
