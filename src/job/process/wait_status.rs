//! How a child ended, and what it cost: `wait4(2)` and `waitid(2)`.

use std::io;
use std::mem::MaybeUninit;

use super::signals::check;
use crate::log::format::payload::Cost;

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
