//! How a child ended, and its resource usage (`waitid(2)`).

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

use super::syscall::check;
use crate::log::format::payload::Cost;
use crate::telemetry;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    Exited(i32),
    Signaled(i32),
}

impl WaitStatus {
    /// Returns the exit code; `None` if a signal ended the process.
    pub(crate) fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled(_) => None,
        }
    }

    /// Returns the signal that ended the process, if one did.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Exited(_) => None,
            Self::Signaled(signal) => Some(signal),
        }
    }
}

/// The exit status of a process in shared memory, if it is set.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct EncodedStatus(AtomicU64);

impl EncodedStatus {
    /// Sets the status.
    pub(crate) fn store(&self, status: WaitStatus) {
        let word = match status {
            WaitStatus::Exited(code) => 1 << 32 | code as u64,
            WaitStatus::Signaled(signal) => 2 << 32 | signal as u64,
        };
        self.0.store(word, Ordering::Release);
    }

    /// Returns the status; `None` if it is not set.
    pub(crate) fn load(&self) -> Option<WaitStatus> {
        let word = self.0.load(Ordering::Acquire);
        match word >> 32 {
            1 => Some(WaitStatus::Exited(word as i32)),
            2 => Some(WaitStatus::Signaled(word as i32)),
            _ => None,
        }
    }
}

/// The state of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChildState {
    /// The child is running.
    Running,
    /// The child has ended, with the resource usage of it and its waited-for descendants.
    Ended(WaitStatus, Cost),
}

/// Returns the state of the child `pid`, and leaves it a zombie if it has ended.
///
/// # Errors
/// The process is not a child of this one (`ECHILD`).
pub(crate) fn peek(pid: u32) -> io::Result<ChildState> {
    let (info, usage) = wait_id(
        libc::P_PID,
        pid,
        libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
    )?;
    // SAFETY: waitid fills in these fields; zeroed, they mean that nothing has changed.
    let (changed, status) = unsafe { (info.si_pid(), info.si_status()) };
    if changed == 0 {
        return Ok(ChildState::Running);
    }
    let status = match info.si_code {
        libc::CLD_EXITED => WaitStatus::Exited(status & 0xff),
        _ => WaitStatus::Signaled(status),
    };
    Ok(ChildState::Ended(status, read_cost(&usage)))
}

/// An event of a child other than its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// A signal stopped it.
    Stopped(i32),
    /// It continues.
    Continued,
}

/// Returns a stop or continuation of the child `pid`; each only once.
pub(crate) fn interruption(pid: u32) -> Option<Interruption> {
    let flags = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
    let (info, _) = wait_id(libc::P_PID, pid, flags).ok()?;
    // SAFETY: waitid fills in these fields; zeroed, they mean that nothing has changed.
    let (changed, status) = unsafe { (info.si_pid(), info.si_status()) };
    match (changed, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_CONTINUED) => Some(Interruption::Continued),
        _ => Some(Interruption::Stopped(status)),
    }
}

/// Reaps the child `pid` if it has ended.
pub(crate) fn reap(pid: u32) {
    // If the process is not a child of this one, leave it to its parent.
    wait_id(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG).ok();
}

/// Reaps every ended child that `keep` does not claim: orphans of the job that this process
/// adopted.
pub(crate) fn reap_others(keep: impl Fn(u32) -> bool) {
    if let Some(children) = children() {
        for pid in children.into_iter().filter(|pid| !keep(*pid)) {
            reap(pid);
        }
        return;
    }
    // A kept child hides the children after it.
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    while let Ok((info, _)) = wait_id(libc::P_ALL, 0, flags) {
        // SAFETY: waitid fills in this field; zeroed, it means that no child has ended.
        let pid = unsafe { info.si_pid() } as u32;
        if pid == 0 || keep(pid) {
            return;
        }
        reap(pid);
    }
}

/// Lists the children of the first thread, which starts processes and adopts orphans; `None` if
/// the kernel does not list them (`CONFIG_PROC_CHILDREN`).
fn children() -> Option<Vec<u32>> {
    if !telemetry::proc_has_own_pids() {
        return None;
    }
    let pid = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let pids = list.split_ascii_whitespace();
    Some(pids.filter_map(|pid| pid.parse().ok()).collect())
}

/// Makes the system call directly to get the resource usage, which the wrapper of libc does not
/// return.
fn wait_id(
    kind: libc::idtype_t,
    id: u32,
    flags: i32,
) -> io::Result<(libc::siginfo_t, libc::rusage)> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both out-pointers are valid, and zeroed, they are valid values.
        let waited = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                kind,
                id,
                info.as_mut_ptr(),
                flags,
                usage.as_mut_ptr(),
            )
        };
        match check(waited as i32) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            waited => {
                waited?;
                // SAFETY: the kernel filled in the values.
                return Ok(unsafe { (info.assume_init(), usage.assume_init()) });
            }
        }
    }
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
