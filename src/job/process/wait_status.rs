//! How a child ended, and what it cost: `waitid(2)`.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

use super::syscall::check;
use crate::log::format::payload::Cost;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    Exited(i32),
    Signaled(i32),
}

/// An end of a process in shared memory, or none.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct EncodedStatus(AtomicU64);

impl EncodedStatus {
    /// Sets it.
    pub(crate) fn store(&self, status: WaitStatus) {
        let word = match status {
            WaitStatus::Exited(code) => 1 << 32 | code as u64,
            WaitStatus::Signaled(signal) => 2 << 32 | signal as u64,
        };
        self.0.store(word, Ordering::Release);
    }

    /// Returns it, once it is set.
    pub(crate) fn load(&self) -> Option<WaitStatus> {
        let word = self.0.load(Ordering::Acquire);
        match word >> 32 {
            1 => Some(WaitStatus::Exited(word as i32)),
            2 => Some(WaitStatus::Signaled(word as i32)),
            _ => None,
        }
    }
}

/// What a look at a child found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChildState {
    /// It runs.
    Running,
    /// It has ended, with what it and its waited-for descendants cost.
    Ended(WaitStatus, Cost),
}

/// Looks at the child `pid` and leaves it a zombie if it has ended.
///
/// # Errors
/// It is no child of this process (`ECHILD`).
pub(crate) fn peek(pid: u32) -> io::Result<ChildState> {
    let (info, usage) = wait_id(
        libc::P_PID,
        pid,
        libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
    )?;
    // SAFETY: waitid fills these fields in; zeroed they say that nothing has changed.
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

/// What else than its end happened to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// A signal stopped it.
    Stopped(i32),
    /// It continues.
    Continued,
}

/// Returns the stops and continuations of the child `pid`, each once.
pub(crate) fn interruption(pid: u32) -> Option<Interruption> {
    let flags = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
    let (info, _) = wait_id(libc::P_PID, pid, flags).ok()?;
    // SAFETY: waitid fills these fields in; zeroed they say that nothing has changed.
    let (changed, status) = unsafe { (info.si_pid(), info.si_status()) };
    match (changed, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_CONTINUED) => Some(Interruption::Continued),
        _ => Some(Interruption::Stopped(status)),
    }
}

/// Collects the child `pid` if it has ended.
pub(crate) fn reap(pid: u32) {
    // A process that is no child of ours is left to its parent.
    wait_id(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG).ok();
}

/// Collects every ended child that `keep` does not claim: orphans of the job that became
/// ours.
pub(crate) fn reap_others(keep: impl Fn(u32) -> bool) {
    if let Some(children) = children() {
        for pid in children.into_iter().filter(|pid| !keep(*pid)) {
            reap(pid);
        }
        return;
    }
    // A child that is kept hides those behind it.
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    while let Ok((info, _)) = wait_id(libc::P_ALL, 0, flags) {
        // SAFETY: waitid fills this field in; zeroed it says that no child has ended.
        let pid = unsafe { info.si_pid() } as u32;
        if pid == 0 || keep(pid) {
            return;
        }
        reap(pid);
    }
}

/// Lists the children of the first thread, which is the one that starts processes and gets
/// orphans; `None` where the kernel does not list them (`CONFIG_PROC_CHILDREN`).
fn children() -> Option<Vec<u32>> {
    let pid = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let pids = list.split_ascii_whitespace();
    Some(pids.filter_map(|pid| pid.parse().ok()).collect())
}

/// The system call itself, which also returns the cost; the wrapper of libc does not.
fn wait_id(
    kind: libc::idtype_t,
    id: u32,
    flags: i32,
) -> io::Result<(libc::siginfo_t, libc::rusage)> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both out-pointers are valid, and zeroed they are valid values.
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
                // SAFETY: the kernel filled in what it had to say.
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
