//! Keys for programs that read them from their stdout or stderr.
//!
//! The job's stdin and `/dev/tty` are the real terminal. However, some programs read from the
//! terminal that they print to, which is a pseudo-terminal: pagers (less opens the terminal of
//! its stderr, more reads from it), and editors whose stdin is a pipe. Keys are passed on to it
//! only if no other process reads them, and a process of the job waits for them there.

use std::fs;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use rustix::fs::makedev;
use rustix::io::Errno;

use crate::job::capture::job_terminal::TerminalUsers;
use crate::job::process::poll::{Readiness, wait_readable};
use crate::job::process::pty;
use crate::telemetry;

/// How long a key may remain unread before a search for a reader: a process that reads the real
/// terminal reads it at once.
const FIRST_SEARCH: Duration = Duration::from_millis(5);
/// The maximum time between two searches while a key remains unread.
const MAX_SEARCH_INTERVAL: Duration = Duration::from_millis(500);
/// The maximum number of bytes to pass on at once.
const KEY_BYTES: usize = 1024;
/// The major number of the slaves of pseudo-terminals.
const SLAVE_MAJOR: u32 = 136;

/// The system calls in which a process waits for several descriptors.
const WAITS: &[libc::c_long] = &[
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// A relay of keys.
#[derive(Debug)]
pub(super) struct KeyRelay {
    /// The controlling terminal; reading it does not block.
    tty: Option<File>,
    /// The time of the next search while a key remains unread.
    search_at: Option<Instant>,
    pause: Duration,
}

impl KeyRelay {
    /// Creates a relay of the keys of the controlling terminal, if there is one.
    pub(super) fn open() -> Self {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = File::options();
        Self {
            tty: options.read(true).custom_flags(flags).open("/dev/tty").ok(),
            ..Self::without_terminal()
        }
    }

    /// Creates a relay without keys.
    pub(super) fn without_terminal() -> Self {
        Self {
            tty: None,
            search_at: None,
            pause: FIRST_SEARCH,
        }
    }

    /// Returns the controlling terminal.
    pub(super) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.tty.as_ref().map(AsFd::as_fd)
    }

    /// Returns the terminal, if keys are awaited.
    pub(super) fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.terminal().filter(|_| self.search_at.is_none())
    }

    /// Returns the maximum time to wait.
    pub(super) fn limit(&self, longest: Duration) -> Duration {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.search_at.map_or(longest, |at| left(at).min(longest))
    }

    /// Records that a key can be read, and schedules the first search for a reader.
    pub(super) fn record_key(&mut self) {
        if self.tty.is_some() && self.search_at.is_none() {
            self.pause = FIRST_SEARCH;
            self.search_at = Some(Instant::now() + self.pause);
        }
    }

    /// Passes on a key that is still unread when a search is due.
    pub(super) fn pass_unread<'a>(
        &mut self,
        mut masters: impl Iterator<Item = &'a OwnedFd>,
        users: TerminalUsers,
    ) {
        let now = Instant::now();
        let Some(tty) = &self.tty else {
            return;
        };
        if self.search_at.is_none_or(|at| at > now) {
            return;
        }
        let key = wait_readable(&[tty.as_fd()], Some(Duration::ZERO));
        if key != [Readiness::Readable] {
            // After a hang-up, there are no more keys.
            let hung_up = key == [Readiness::HungUp];
            self.search_at = None;
            if hung_up {
                self.tty = None;
            }
            return;
        }
        let master = if users.are_in_foreground(tty.as_fd()) {
            masters.find(|master| is_read(master, users.front))
        } else {
            None
        };
        let passed = master.is_some_and(|master| pass(tty, master));
        if passed {
            self.search_at = None;
        } else {
            self.pause = (self.pause * 2).min(MAX_SEARCH_INTERVAL);
            self.search_at = Some(now + self.pause);
        }
    }
}

/// Passes on typed keys.
fn pass(tty: &File, master: &OwnedFd) -> bool {
    let mut keys = [0; KEY_BYTES];
    let Ok(n @ 1..) = rustix::io::read(tty, &mut keys) else {
        return false;
    };
    let mut left = keys.get(..n).unwrap_or_default();
    while !left.is_empty() {
        match rustix::io::write(master, left) {
            Ok(n) => left = left.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // No program reads this much. A terminal would lose the rest too.
            Err(_) => break,
        }
    }
    true
}

/// Returns whether a process of the job is waiting for keys from the slave.
fn is_read(master: &OwnedFd, front: u32) -> bool {
    let Ok(number) = pty::slave_number(master) else {
        return false;
    };
    let device = makedev(SLAVE_MAJOR, number);
    let mut processes = telemetry::descendants(front).into_iter();
    processes.any(|process| waits_for_keys(process.pid, device))
}

/// Returns whether a process is waiting for keys from a terminal: in a read from it, or in a
/// wait for several descriptors, including one that can only be used for keys.
fn waits_for_keys(pid: u32, device: u64) -> bool {
    let Ok(call) = fs::read_to_string(format!("/proc/{pid}/syscall")) else {
        return has_key_descriptor(pid, device);
    };
    let mut words = call.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse().ok());
    match number {
        Some(libc::SYS_read) => {
            let fd = words.next().and_then(|word| word.strip_prefix("0x"));
            let fd = fd.and_then(|fd| u32::from_str_radix(fd, 16).ok());
            fd.is_some_and(|fd| is_terminal(pid, &fd.to_string(), device))
        }
        Some(call) if WAITS.contains(&call) => has_key_descriptor(pid, device),
        _ => false,
    }
}

/// Returns whether a process has the terminal as its stdin, or has opened it only for reading.
fn has_key_descriptor(pid: u32, device: u64) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names = names.filter(|fd| is_terminal(pid, fd, device));
    names.any(|fd| fd == "0" || is_read_only(pid, &fd))
}

fn is_terminal(pid: u32, fd: &str, device: u64) -> bool {
    let file = fs::metadata(format!("/proc/{pid}/fd/{fd}"));
    file.is_ok_and(|file| file.rdev() == device)
}

fn is_read_only(pid: u32, fd: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_RDONLY)
}
