//! Signals: blocking them, reading them from a `signalfd(2)`, and sending them.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{io, ptr};

use super::inherited;
use super::inherited::SIGNALS;
use super::open_file_limit::restore_open_file_limit;
use super::syscall::check;

/// The signals that ask a process to end.
pub(crate) const END_SIGNALS: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Returns whether a signal asks runlog to end. One that the caller has ignored (nohup) does not:
/// it only reaches the job, which may handle it.
pub(crate) fn asks_to_end(signal: i32) -> bool {
    END_SIGNALS.contains(&signal) && !inherited::was_ignored(signal)
}

/// Turns exceeding the file size limit into an error of the write, instead of the end of the
/// process.
pub fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal installs no code.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Signals that wait in a descriptor instead of interrupting the process. Each is read once,
/// even one that arrived before the job was spawned.
#[derive(Debug)]
pub(crate) struct SignalFd {
    fd: OwnedFd,
    original: SignalMask,
}

/// One signal that arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceivedSignal {
    /// The signal.
    pub signal: i32,
    /// Whether the kernel sent it, for a terminal or a timer, and not another process.
    pub from_kernel: bool,
    /// The process that sent it; 0 if unknown.
    pub pid: u32,
    /// The user that sent it.
    pub uid: u32,
}

/// A signal mask.
#[derive(Clone, Copy)]
struct SignalMask(libc::sigset_t);

impl std::fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalMask")
    }
}

/// Returns whether a signal can be passed on to a job, which means that it can be caught.
///
/// This includes signals that the processor raises, because another process may send them. If
/// one is raised in this process, the kernel ends it even though the signal is blocked.
fn can_be_forwarded(signal: i32) -> bool {
    !matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGCHLD)
}

impl SignalFd {
    /// Blocks every signal that can be passed on, in this thread and all threads that it starts,
    /// and reads them and SIGCHLD from a descriptor. Signals that the caller has ignored (nohup)
    /// are read too, because the job may handle them: Linux keeps an ignored signal while it is
    /// blocked.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn block() -> io::Result<Self> {
        let mut signals: Vec<i32> = (1..=SIGNALS).filter(|s| can_be_forwarded(*s)).collect();
        signals.push(libc::SIGCHLD);
        default_child_signal();
        Self::block_these(&signals)
    }

    /// Reads only SIGCHLD, which reports the job's end. Blocked signals remain blocked.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn block_child_signal() -> io::Result<Self> {
        default_child_signal();
        Self::block_these(&[libc::SIGCHLD])
    }

    /// Blocks and reads these signals, unless the caller has ignored them.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(super) fn block_unless_ignored(signals: &[i32]) -> io::Result<Self> {
        let mut signals = signals.to_vec();
        signals.retain(|signal| !inherited::was_ignored(*signal));
        Self::block_these(&signals)
    }

    fn block_these(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut original = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initializes the set that the other calls use.
        unsafe {
            check(libc::sigemptyset(set.as_mut_ptr()))?;
            for &signal in signals {
                // Signals that libc reserves are rejected.
                libc::sigaddset(set.as_mut_ptr(), signal);
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

    /// Returns the descriptor to wait on.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Returns the next signal that arrived, if any, except for those that this process caused
    /// by a write.
    pub(crate) fn next(&self) -> Option<ReceivedSignal> {
        let is_own = |arrived: &ReceivedSignal| {
            matches!(arrived.signal, libc::SIGPIPE | libc::SIGXFSZ)
                && arrived.pid == std::process::id()
        };
        std::iter::from_fn(|| self.read()).find(|arrived| !is_own(arrived))
    }

    fn read(&self) -> Option<ReceivedSignal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let len = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as the read may fill, and a full read initializes all of
        // it.
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
            pid: info.ssi_pid,
            uid: info.ssi_uid,
        })
    }

    /// Lets the signal have its default effect.
    pub(super) fn reraise(&self, signal: i32) {
        // SAFETY: no memory is involved.
        unsafe {
            libc::raise(signal);
        }
        self.restore_mask();
    }

    /// Restores the signal mask from before the block. A signal that arrived and was not read
    /// has its default effect.
    pub(super) fn restore_mask(&self) {
        // SAFETY: the system returned this mask, and no memory is involved.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.original.0,
                ptr::null_mut(),
            );
        }
    }
}

/// Resets SIGCHLD, because an inherited "ignore" would make children disappear without a status.
fn default_child_signal() {
    // SAFETY: the default action installs no code.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// The steps of a child between fork and exec, besides those of `Command`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChildSetup {
    /// Whether stdin is runlog's own, which is closed if it was closed originally.
    pub inherits_stdin: bool,
    /// Whether stdout and stderr are runlog's own.
    pub inherits_output: bool,
}

impl ChildSetup {
    /// Makes the child start with the original signal mask, dispositions and closed descriptors,
    /// and calls `last` at the end, which executes the program unless `Command` is to do that.
    pub(crate) fn apply(
        self,
        command: &mut Command,
        mut last: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) {
        let inherits = [
            self.inherits_stdin,
            self.inherits_output,
            self.inherits_output,
        ];
        // SAFETY: between fork and exec, only async-signal-safe functions are called; `last`
        // claims a step with atomics in mapped memory, and executes what was prepared.
        unsafe {
            command.pre_exec(move || {
                for (fd, inherits) in (0..).zip(inherits) {
                    if inherits && inherited::was_closed(fd) {
                        libc::close(fd);
                    }
                }
                restore_open_file_limit()?;
                inherited::restore_signals()?;
                last()
            });
        }
    }
}

/// Ends this process with the signal that ended its job, so that the caller sees which one.
///
/// Returns if the signal is not a request to end: then the job crashed, and runlog did not.
pub fn end_by(signal: u8) {
    let signal = i32::from(signal);
    if !matches!(
        signal,
        libc::SIGINT | libc::SIGQUIT | libc::SIGTERM | libc::SIGHUP | libc::SIGPIPE
    ) {
        return;
    }
    let no_core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initializes the set; the default action installs no code.
    unsafe {
        // The job has already left a core file.
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
        if libc::sigemptyset(set.as_mut_ptr()) == 0 {
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
        }
    }
}

/// Stops this process with the signal, and blocks it again after the process continues.
pub(crate) fn stop_by(signal: i32) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initializes the set that the other calls use.
    unsafe {
        libc::raise(signal);
        if libc::sigemptyset(set.as_mut_ptr()) == 0 {
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
        }
    }
}

/// Parses a signal: its name, with or without `SIG`, or its number.
pub fn parse_signal(text: &str) -> Option<i32> {
    let last = libc::SIGRTMAX();
    if let Ok(signal) = text.parse() {
        return (1..=last).contains(&signal).then_some(signal);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    (1..=last).find(|signal| signal_name(*signal).strip_prefix("SIG") == Some(name))
}

/// Returns the name of a signal, such as `SIGTERM`.
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
        libc::SIGCHLD => "SIGCHLD",
        libc::SIGCONT => "SIGCONT",
        libc::SIGSTOP => "SIGSTOP",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGTTIN => "SIGTTIN",
        libc::SIGTTOU => "SIGTTOU",
        libc::SIGURG => "SIGURG",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGIO => "SIGIO",
        libc::SIGPWR => "SIGPWR",
        libc::SIGSYS => "SIGSYS",
        other => return real_time_name(other),
    };
    name.to_owned()
}

/// Returns the name of a real-time signal, as in `kill -l`.
fn real_time_name(signal: i32) -> String {
    let (min, max) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    match signal - min {
        0 => "SIGRTMIN".to_owned(),
        above if above > 0 && signal <= max => format!("SIGRTMIN+{above}"),
        _ => format!("SIG{signal}"),
    }
}

/// Sends a signal to a process, or with a negative id to a process group. A process that has
/// ended is not an error.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe {
        libc::kill(pid, signal);
    }
}
