//! The process table, which rereads only entries that may have changed.
//!
//! The kernel takes about 9 µs to generate an entry, and less than one to return the CPU time of
//! a process. A process that has used none since it was read is unchanged, except for what other
//! processes do to it: they can end its parent, or take memory from it. The table notices the
//! former; because of the latter, no entry is older than a second.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use super::stat::{ProcDir, Stat};
use crate::sync::map_in_parallel;

/// Returns the CPU time of a process and all its threads to the nanosecond, or `None` if it is
/// unknown.
pub type CpuClock = fn(u32) -> Option<Duration>;

/// How long an entry may be reused.
const MAX_AGE: Duration = Duration::from_secs(1);

/// A reader of the process table.
#[derive(Debug)]
pub(super) struct ProcessTable {
    cpu_clock: CpuClock,
    known: HashMap<u32, Entry>,
}

/// An entry of the table.
#[derive(Debug, Clone)]
struct Entry {
    stat: Stat,
    read_at: Instant,
    /// The CPU time before it was read.
    cpu_time: Option<Duration>,
}

impl ProcessTable {
    pub(super) fn new(cpu_clock: CpuClock) -> Self {
        Self {
            cpu_clock,
            known: HashMap::new(),
        }
    }

    /// Reads all visible processes, except those that end meanwhile.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub(super) fn read(&mut self) -> io::Result<Vec<Stat>> {
        let proc = ProcDir::open()?;
        let now = Instant::now();
        let mut unchanged = HashMap::new();
        let mut changed = Vec::new();
        for pid in proc.pids()? {
            let cpu_time = (self.cpu_clock)(pid);
            match self.known.remove(&pid) {
                Some(entry) if entry.is_unchanged(cpu_time, now) => {
                    unchanged.insert(pid, entry);
                }
                _ => changed.push((pid, cpu_time)),
            }
        }
        self.known = read_entries(&proc, &changed);
        let orphans = self.orphans(&unchanged);
        self.known.extend(unchanged);
        self.known.extend(read_entries(&proc, &orphans));
        Ok(self
            .known
            .values()
            .map(|entry| entry.stat.clone())
            .collect())
    }

    /// Returns the processes among the unchanged ones whose parent has ended.
    fn orphans(&self, unchanged: &HashMap<u32, Entry>) -> Vec<(u32, Option<Duration>)> {
        let all = self.known.values().chain(unchanged.values());
        let alive: HashSet<u32> = all
            .filter(|entry| !entry.stat.is_dead())
            .map(|entry| entry.stat.pid)
            .collect();
        let orphans = unchanged.iter().filter(|(_, entry)| {
            let parent = entry.stat.ppid;
            parent != 0 && !alive.contains(&parent)
        });
        orphans.map(|(pid, entry)| (*pid, entry.cpu_time)).collect()
    }
}

impl Entry {
    /// Returns whether the process is unchanged. One that waits for a processor may have stopped
    /// waiting.
    fn is_unchanged(&self, cpu_time: Option<Duration>, now: Instant) -> bool {
        cpu_time.is_some()
            && cpu_time == self.cpu_time
            && !self.stat.is_running()
            && now.saturating_duration_since(self.read_at) < MAX_AGE
    }
}

fn read_entries(proc: &ProcDir, pids: &[(u32, Option<Duration>)]) -> HashMap<u32, Entry> {
    let read = |&(pid, cpu_time): &(u32, Option<Duration>)| {
        let entry = Entry {
            stat: proc.read(pid)?,
            read_at: Instant::now(),
            cpu_time,
        };
        Some((pid, entry))
    };
    map_in_parallel(pids, read).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::thread;

    use super::*;

    /// Starts a shell with a child that waits; the shell exits at the end of its input.
    fn family(script: &str) -> (Child, u32) {
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = shell.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        (shell, line.trim().parse().unwrap())
    }

    fn find(table: &mut ProcessTable, pid: u32) -> Option<Stat> {
        let found = table.read().unwrap();
        found.into_iter().find(|stat| stat.pid == pid)
    }

    /// Waits until the process sleeps, because a running one is read each time.
    fn wait_until_asleep(pid: u32) {
        while Stat::read(pid).unwrap().is_running() {
            thread::yield_now();
        }
    }

    #[test]
    fn unchanged_process_is_not_read_again() {
        let (mut shell, pid) = family("echo $$; read _; echo $$; exec sleep 600");
        wait_until_asleep(pid);
        let mut reused = ProcessTable::new(|_| Some(Duration::ZERO));
        let mut fresh = ProcessTable::new(|_| None);
        let names = [&mut reused, &mut fresh].map(|table| find(table, pid).unwrap().name());
        assert_eq!(names, ["sh", "sh"]);
        drop(shell.stdin.take());
        while Stat::read(pid).unwrap().name() != "sleep" {
            thread::yield_now();
        }
        assert_eq!(find(&mut fresh, pid).unwrap().name(), "sleep");
        let known = reused.known.get_mut(&pid).unwrap();
        // This holds however slow the machine is.
        known.read_at = Instant::now();
        assert_eq!(find(&mut reused, pid).unwrap().name(), "sh");
        let known = reused.known.get_mut(&pid).unwrap();
        known.read_at -= MAX_AGE;
        assert_eq!(find(&mut reused, pid).unwrap().name(), "sleep");
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(find(&mut reused, pid), None);
    }

    #[test]
    fn orphan_is_read_again() {
        let (mut shell, pid) = family("sleep 600 & echo $!; read _");
        let parent = shell.id();
        let mut table = ProcessTable::new(|_| Some(Duration::ZERO));
        while find(&mut table, pid).unwrap().name() != "sleep" {
            table.known.remove(&pid);
        }
        assert_eq!(find(&mut table, pid).unwrap().ppid, parent);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        table.known.get_mut(&pid).unwrap().read_at = Instant::now();
        assert_ne!(find(&mut table, pid).unwrap().ppid, parent);
        Command::new("kill").arg(pid.to_string()).status().unwrap();
    }

    #[test]
    fn threads_read_same_processes_as_one() {
        let proc = ProcDir::open().unwrap();
        let many: Vec<_> = (0..1024)
            .map(|_| (std::process::id(), None))
            .chain([(1, None), (u32::MAX, None)])
            .collect();
        let mut read: Vec<u32> = read_entries(&proc, &many).into_keys().collect();
        read.sort_unstable();
        assert_eq!(read, [1, std::process::id()]);
    }
}
