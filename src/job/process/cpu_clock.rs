//! The CPU time of another process.

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::process::Pid;

/// Clocks that count the scheduler's nanoseconds (`CPUCLOCK_SCHED` in the kernel's
/// `posix-timers_types.h`).
const SCHEDULER_CLOCK: libc::clockid_t = 2;

/// Returns the CPU time of a process, including all its live and ended threads; `None` if there
/// is no such process.
///
/// It needs one system call and no permission: `clock_gettime(2)` of the clock that
/// `clock_getcpuclockid(3)` returns.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let clock = (!pid.as_raw_nonzero().get() << 3) | SCHEDULER_CLOCK;
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is valid, and its target is read only if the call filled it.
    let time = unsafe {
        if libc::clock_gettime(clock, time.as_mut_ptr()) != 0 {
            return None;
        }
        time.assume_init()
    };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio, id};

    use super::*;

    #[test]
    fn cpu_time_rises_only_while_process_runs() {
        let before = cpu_time(id()).unwrap();
        while cpu_time(id()).unwrap() == before {}
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut last = cpu_time(child.id());
        // The process waits for its input sooner or later.
        while std::mem::replace(&mut last, cpu_time(child.id())) != last {}
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(cpu_time(child.id()), None);
        assert_eq!(cpu_time(u32::MAX), None);
        assert_eq!(cpu_time(0), None);
    }
}
