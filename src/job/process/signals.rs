//! Signals: blocking them, reading them from a `signalfd(2)`, sending them.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{io, ptr};

use super::open_file_limit::restore_open_file_limit;

/// Signals that are passed on to the job.
const FORWARDED: [i32; 6] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];
/// Passed on as well where the job has a process group of its own: at a terminal the
/// kernel sends them to us and to the job alike, and they have to work on both.
const JOB_CONTROL: [i32; 2] = [libc::SIGTSTP, libc::SIGCONT];

/// Makes a file size limit an error of the write that meets it, not our end.
pub fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal installs no code.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Signals that wait in a descriptor instead of interrupting us: each is read once,
/// also one that came before the job was spawned.
#[derive(Debug)]
pub(crate) struct SignalFd {
    fd: OwnedFd,
    original: SignalMask,
}

/// One signal that arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceivedSignal {
    /// Its number.
    pub signal: i32,
    /// Sent by the kernel: from a terminal, to its whole process group.
    pub from_kernel: bool,
}

/// A signal mask and what else has to be as it was in a child.
#[derive(Clone, Copy)]
struct SignalMask(libc::sigset_t);

impl std::fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalMask")
    }
}

pub(super) fn check(result: i32) -> io::Result<i32> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

impl SignalFd {
    /// Blocks the signals that concern a job, in this thread and all it will start, and
    /// reads them from a descriptor. A signal that is ignored (nohup) stays ignored.
    pub(crate) fn block(own_group: bool) -> io::Result<Self> {
        let job_control = if own_group { &JOB_CONTROL[..] } else { &[] };
        let mut signals = [&FORWARDED, job_control].concat();
        signals.push(libc::SIGCHLD);
        // SAFETY: the default action installs no code.
        unsafe {
            // An inherited "ignore" would make children vanish without a status.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        }
        Self::block_these(&signals)
    }

    pub(super) fn block_these(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut original = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set that the other calls take.
        unsafe {
            check(libc::sigemptyset(set.as_mut_ptr()))?;
            for &signal in signals {
                if !is_ignored(signal)? {
                    check(libc::sigaddset(set.as_mut_ptr(), signal))?;
                }
            }
            let failed =
                libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), original.as_mut_ptr());
            if failed != 0 {
                return Err(io::Error::from_raw_os_error(failed));
            }
            let fd = check(libc::signalfd(
                -1,
                set.as_ptr(),
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            ))?;
            Ok(Self {
                fd: OwnedFd::from_raw_fd(fd),
                original: SignalMask(original.assume_init()),
            })
        }
    }

    /// The descriptor to wait on.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The next signal that arrived, if any.
    pub(crate) fn next(&self) -> Option<ReceivedSignal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let len = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as the read may fill, and a full read
        // initialises all of it.
        let info = unsafe {
            let n = libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), len);
            if n != len as isize {
                return None;
            }
            info.assume_init()
        };
        Some(ReceivedSignal {
            signal: info.ssi_signo as i32,
            from_kernel: info.ssi_code == libc::SI_KERNEL,
        })
    }

    /// Gives the child the signal mask and the limit of open files that runlog was started
    /// with, and the default for SIGPIPE (by the standard library) and SIGXFSZ.
    pub(crate) fn restore_in(&self, command: &mut Command) {
        let original = self.original;
        // SAFETY: between fork and exec only async-signal-safe functions are called.
        unsafe {
            command.pre_exec(move || {
                restore_open_file_limit()?;
                libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
                check(libc::sigprocmask(
                    libc::SIG_SETMASK,
                    &raw const original.0,
                    ptr::null_mut(),
                ))?;
                Ok(())
            });
        }
    }

    /// Lets the signal do what it would have done when it arrived.
    pub(super) fn reraise(&self, signal: i32) {
        // SAFETY: the mask is one that the system gave us, and no memory is involved.
        unsafe {
            libc::raise(signal);
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.original.0,
                ptr::null_mut(),
            );
        }
    }
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; the old one is written on success.
    unsafe {
        check(libc::sigaction(signal, ptr::null(), action.as_mut_ptr()))?;
        Ok(action.assume_init().sa_sigaction == libc::SIG_IGN)
    }
}

/// The name of a signal, such as `SIGTERM`.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSTKFLT => "SIGSTKFLT",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGIO => "SIGIO",
        libc::SIGPWR => "SIGPWR",
        libc::SIGSYS => "SIGSYS",
        other => return format!("SIG{other}"),
    };
    name.to_owned()
}

/// Sends a signal to a process, or with a negative id to a process group; one that is
/// gone is fine.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe {
        libc::kill(pid, signal);
    }
}
