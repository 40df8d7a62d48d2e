//! What neither the standard library nor rustix offers: signal masks, `signalfd(2)`,
//! `wait4(2)`, `fork(2)`. All unsafe code of the project is here.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{io, ptr};

use crate::log::format::payload::Cost;

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

/// How many bytes, at most, of what was written to a socket wait: in a Unix one to be read
/// (the memory that they take is counted, which is more), in one of TCP to arrive at the
/// other machine.
///
/// # Errors
/// It is no socket, or none of a kind that knows.
pub fn unread_of_socket(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ (tcp(7)), writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes.max(0) as u64)
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

fn check(result: i32) -> io::Result<i32> {
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

    fn block_these(signals: &[i32]) -> io::Result<Self> {
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

    /// Makes the child begin with the signal mask that we began with, and with the
    /// default for SIGPIPE (by the standard library) and SIGXFSZ.
    pub(crate) fn restore_in(&self, command: &mut Command) {
        let original = self.original;
        // SAFETY: between fork and exec only async-signal-safe functions are called.
        unsafe {
            command.pre_exec(move || {
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
}

/// What a signal asks of a command at a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownSignal {
    /// The screen is another one now.
    Redraw,
    /// To stop until it is told to go on.
    Stop(i32),
    /// To end.
    End(i32),
}

/// Signals that ask us to end, held back so that what is under way can be finished. One
/// that is ignored (nohup) stays ignored.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Holds them back from now on.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn block_signals() -> io::Result<Self> {
        SignalFd::block_these(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP]).map(Self)
    }

    /// The same for a command that has changed the terminal and has to change it back
    /// before it ends or is stopped, and that has to draw anew.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn block_terminal_stops() -> io::Result<Self> {
        SignalFd::block_these(&[
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGTSTP,
            libc::SIGCONT,
            libc::SIGWINCH,
        ])
        .map(Self)
    }

    /// The descriptor to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    /// What the signal that arrived asks for, if any.
    pub fn pending_shutdown(&self) -> Option<ShutdownSignal> {
        Some(match self.received()? {
            libc::SIGWINCH | libc::SIGCONT => ShutdownSignal::Redraw,
            signal @ libc::SIGTSTP => ShutdownSignal::Stop(signal),
            signal => ShutdownSignal::End(signal),
        })
    }

    /// The signal that arrived, if any.
    pub fn received(&self) -> Option<i32> {
        self.0.next().map(|arrived| arrived.signal)
    }

    /// Lets the signal do what it would have done when it arrived: whoever started us
    /// sees which one ended us.
    pub fn reraise(self, signal: i32) {
        // SAFETY: the mask is one that the system gave us, and no memory is involved.
        unsafe {
            libc::raise(signal);
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.0.original.0,
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

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    Exited(i32),
    Signaled(i32),
}

/// Collects the child `pid` if it has ended, with what it and its waited-for
/// descendants cost.
pub(crate) fn try_wait(pid: u32) -> io::Result<Option<(WaitStatus, Cost)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both out-pointers are valid; a zeroed rusage is a valid one.
    let (got, usage) = unsafe {
        let got = libc::wait4(
            pid as i32,
            &raw mut status,
            libc::WNOHANG,
            usage.as_mut_ptr(),
        );
        (check(got)?, usage.assume_init())
    };
    if got == 0 {
        return Ok(None);
    }
    let status = if libc::WIFSIGNALED(status) {
        WaitStatus::Signaled(libc::WTERMSIG(status))
    } else {
        WaitStatus::Exited(libc::WEXITSTATUS(status))
    };
    Ok(Some((status, read_cost(&usage))))
}

fn read_cost(usage: &libc::rusage) -> Cost {
    // getrusage(2): maxrss in KiB; block I/O in units of 512 bytes.
    let millis = |t: libc::timeval| (t.tv_sec * 1000 + t.tv_usec / 1000).max(0) as u64;
    let micros = |t: libc::timeval| t.tv_sec * 1_000_000 + t.tv_usec;
    let count = |n: libc::c_long| n.max(0) as u64;
    Cost {
        cpu_ms: count((micros(usage.ru_utime) + micros(usage.ru_stime)) / 1000),
        user_ms: millis(usage.ru_utime),
        system_ms: millis(usage.ru_stime),
        max_rss_bytes: count(usage.ru_maxrss) * 1024,
        read_bytes: count(usage.ru_inblock) * 512,
        written_bytes: count(usage.ru_oublock) * 512,
        major_faults: count(usage.ru_majflt),
        context_switches: count(usage.ru_nvcsw) + count(usage.ru_nivcsw),
    }
}

/// Collects every ended child but `keep`: orphans of the job that became ours.
pub(crate) fn reap_others(keep: u32) {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the out-pointer is valid, and zeroed it is a valid siginfo whose pid
        // says "nobody".
        let pid = unsafe {
            if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) != 0 {
                return;
            }
            info.assume_init().si_pid()
        };
        if pid <= 0 || pid as u32 == keep {
            return;
        }
        if try_wait(pid as u32).is_err() {
            return;
        }
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

/// Which side of a fork this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ForkResult {
    Parent,
    Child,
}

/// Forks. Only while the process has one thread, so that the child may do anything.
pub(crate) fn fork() -> io::Result<ForkResult> {
    // SAFETY: the caller has started no thread, so no lock can be held by one.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(ForkResult::Child),
        _ => Ok(ForkResult::Parent),
    }
}
