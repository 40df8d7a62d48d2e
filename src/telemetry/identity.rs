//! The identity of processes and of runlog's pid namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::stat::Stat;

/// Returns when the live process `pid` started, in clock ticks since boot (field 22 of
/// `proc_pid_stat(5)`). Together with the pid and the boot id, this identifies a process.
///
/// Returns `None` if the process does not exist, is hidden from runlog, or is a zombie.
pub fn live_start_ticks(pid: u32) -> Option<u64> {
    let stat = Stat::read(pid)?;
    (!stat.is_dead()).then_some(stat.start_ticks)
}

/// Returns whether the process `pid` exists, alive or a zombie, even if it is hidden from runlog.
pub fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Returns whether the process `pid` exists but is hidden from runlog: `/proc` is not mounted, or
/// it shows only the caller's own processes (`hidepid` of `proc(5)`), which exclude those that
/// changed their user and those that cannot be traced.
pub fn is_hidden(pid: u32) -> bool {
    Stat::read(pid).is_none() && exists(pid)
}

/// Returns whether the process `pid` is alive, or is hidden from runlog and may be a zombie.
pub fn may_be_alive(pid: u32) -> bool {
    Stat::read(pid).map_or_else(|| exists(pid), |stat| !stat.is_dead())
}

/// Returns the program name of process `pid`, alive or a zombie.
pub fn program_name(pid: u32) -> Option<String> {
    Some(Stat::read(pid)?.name())
}

/// Returns when process `pid`, alive or a zombie, started, in clock ticks since boot.
pub fn start_ticks(pid: u32) -> Option<u64> {
    Some(Stat::read(pid)?.start_ticks)
}

/// Returns the parent of process `pid`, alive or a zombie.
pub fn parent(pid: u32) -> Option<u32> {
    Stat::read(pid).map(|stat| stat.ppid)
}

/// A live process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveProcess {
    /// The process id.
    pub pid: u32,
    /// The process id of the parent.
    pub parent: u32,
    /// The process group.
    pub group: u32,
    /// The session.
    pub session: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// The program name.
    pub name: String,
}

impl From<&Stat> for LiveProcess {
    fn from(stat: &Stat) -> Self {
        Self {
            pid: stat.pid,
            parent: stat.ppid,
            group: stat.group,
            session: stat.session,
            start_ticks: stat.start_ticks,
            name: stat.name(),
        }
    }
}

/// Lists the live processes that are visible to runlog; `None` if `/proc` cannot be listed.
pub fn live_processes() -> Option<Vec<LiveProcess>> {
    let table = Stat::read_all().ok()?;
    let live = table.into_iter().filter(|stat| !stat.is_dead());
    Some(live.map(|stat| LiveProcess::from(&stat)).collect())
}

/// Returns the process `pid`; `None` if it does not exist, is hidden from runlog, or is a zombie.
pub fn live_process(pid: u32) -> Option<LiveProcess> {
    let stat = Stat::read(pid)?;
    (!stat.is_dead()).then(|| LiveProcess::from(&stat))
}

/// Returns the value of a variable in the initial environment of a process; `None` if the
/// variable is not set or the environment cannot be read.
pub fn env_value(pid: u32, name: &str) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.to_vec())
    })
}

/// Returns the pid namespace in which runlog's pids are valid: the inode number of
/// `/proc/self/ns/pid` (`namespaces(7)`).
pub fn pid_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid")
        .ok()
        .map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn own_process_is_identified() {
        assert_eq!(live_start_ticks(id()), live_start_ticks(id()));
        assert!(live_start_ticks(id()).is_some());
        assert_eq!(live_start_ticks(u32::MAX), None);
        assert_eq!(crate::volume::boot_id().unwrap().len(), 36);
        assert!(pid_namespace().unwrap() > 0);
    }

    #[test]
    fn process_is_found_by_environment() {
        let name = format!("RUNLOG_TEST_{}", id());
        let mut child = Command::new("sleep")
            .arg("60")
            .env(&name, "x=y")
            .spawn()
            .unwrap();
        let pid = child.id();
        let value = || env_value(pid, &name);
        // Between fork and exec, the child has the environment of the test.
        while value().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(value(), Some(b"x=y".to_vec()));
        assert_eq!(env_value(id(), &name), None);
        let live = live_processes().unwrap();
        let found = live.iter().find(|process| process.pid == child.id());
        assert_eq!(found.unwrap().parent, id());
        assert!(exists(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!exists(pid));
        assert_eq!(value(), None);
    }

    #[test]
    fn zombie_counts_as_dead() {
        let mut child = Command::new("true").spawn().unwrap();
        let born = start_ticks(child.id());
        assert!(born.is_some());
        while live_start_ticks(child.id()).is_some() {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(start_ticks(child.id()), born);
        // The test has not waited for the child, so its entry must still exist.
        assert!(Stat::read(child.id()).unwrap().is_dead());
        child.wait().unwrap();
        assert_eq!(Stat::read(child.id()), None);
    }
}
