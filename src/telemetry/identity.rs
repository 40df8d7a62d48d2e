//! The identity of processes, of this boot and of our pid namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

use super::stat::Stat;

/// Returns when the live process `pid` started, in clock ticks since boot (field 22 of
/// `proc_pid_stat(5)`). Together with the pid and [`boot_id`] it identifies a process.
///
/// Returns `None` if there is no such process, if it is hidden from us, or if it is a zombie.
pub fn live_start_ticks(pid: u32) -> Option<u64> {
    let stat = Stat::read(pid)?;
    (!stat.is_dead()).then_some(stat.start_ticks)
}

/// Returns when process `pid`, alive or a zombie, started, in clock ticks since boot.
pub fn start_ticks(pid: u32) -> Option<u64> {
    Some(Stat::read(pid)?.start_ticks)
}

/// Finds the processes that started at `since` or later, in clock ticks since boot, and whose
/// initial environment has all of these `NAME=value`. Returns `None` if the environment of
/// one of this user's processes cannot be read.
pub fn processes_with_env(variables: &[String], since: u64) -> Option<Vec<u32>> {
    let me = rustix::process::geteuid().as_raw();
    let mut found = Vec::new();
    for stat in Stat::read_all().ok()? {
        let dir = format!("/proc/{}", stat.pid);
        let may_be = !stat.is_dead() && stat.start_ticks >= since;
        if !may_be || fs::metadata(&dir).map_or(true, |meta| meta.uid() != me) {
            continue;
        }
        match fs::read(format!("{dir}/environ")) {
            Ok(environment) => {
                let has = |variable: &String| {
                    let mut entries = environment.split(|b| *b == 0);
                    entries.any(|entry| entry == variable.as_bytes())
                };
                if variables.iter().all(has) {
                    found.push(stat.pid);
                }
            }
            // The process just ended, or it is a kernel thread, which has no environment.
            Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
            Err(_) if live_start_ticks(stat.pid).is_none() => {}
            Err(_) => return None,
        }
    }
    Some(found)
}

/// Returns the random id of this boot (`/proc/sys/kernel/random/boot_id`).
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

/// Returns the pid namespace that our pids are valid in: the inode number of
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
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(pid_namespace().unwrap() > 0);
    }

    #[test]
    fn process_is_found_by_environment() {
        let name = format!("RUNLOG_TEST_{}", id());
        let here = live_start_ticks(id()).unwrap();
        let mut child = Command::new("sleep")
            .arg("60")
            .env(&name, "x")
            .spawn()
            .unwrap();
        let wanted = [format!("{name}=x")];
        let found = || processes_with_env(&wanted, here);
        // Between fork and exec the child has our environment.
        while found() == Some(Vec::new()) {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(found(), Some(vec![child.id()]));
        assert_eq!(processes_with_env(&wanted, u64::MAX), Some(Vec::new()));
        child.kill().unwrap();
        child.wait().unwrap();
        // This also holds for root, which owns the kernel threads.
        assert_eq!(found(), Some(Vec::new()));
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
        // The child was not waited for, so its entry must still exist.
        assert!(Stat::read(child.id()).unwrap().is_dead());
        child.wait().unwrap();
        assert_eq!(Stat::read(child.id()), None);
    }
}
