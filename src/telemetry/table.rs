//! The process table, which rereads only entries that may have changed.
//!
//! The kernel takes about 9 µs to generate an entry, and less than one to return the CPU time of
//! a process. A process that has used none since it was read is unchanged, except for what other
//! processes do to it: they can end its parent, or take memory from it. The table notices the
//! former; because of the latter, no entry is older than a second.

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
    /// In ascending order of the pids.
    known: Vec<Entry>,
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
            known: Vec::new(),
        }
    }

    /// Reads all visible processes, except those that end meanwhile.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub(super) fn read(&mut self) -> io::Result<impl Iterator<Item = &Stat>> {
        let proc = ProcDir::open()?;
        let now = Instant::now();
        let entries = map_in_parallel(&proc.pids()?, |&pid| {
            let cpu_time = (self.cpu_clock)(pid);
            match find(&self.known, pid) {
                Some(entry) if entry.is_unchanged(cpu_time, now) => Some(entry.clone()),
                _ => Entry::read(&proc, pid, cpu_time),
            }
        });
        self.known = entries.into_iter().flatten().collect();
        self.known.sort_unstable_by_key(|entry| entry.stat.pid);
        self.reread_orphans(&proc, now);
        Ok(self.known.iter().map(|entry| &entry.stat))
    }

    /// Rereads the processes that were last read before `now` and whose parent has ended.
    fn reread_orphans(&mut self, proc: &ProcDir, now: Instant) {
        let is_alive = |pid| find(&self.known, pid).is_some_and(|entry| !entry.stat.is_dead());
        let is_orphan = |entry: &&Entry| {
            let parent = entry.stat.ppid;
            entry.read_at < now && parent != 0 && !is_alive(parent)
        };
        let orphans = self.known.iter().filter(is_orphan);
        let orphans: Vec<u32> = orphans.map(|entry| entry.stat.pid).collect();
        if orphans.is_empty() {
            return;
        }
        self.known.retain_mut(|entry| {
            if orphans.binary_search(&entry.stat.pid).is_err() {
                return true;
            }
            let read = Entry::read(proc, entry.stat.pid, entry.cpu_time);
            read.map(|read| *entry = read).is_some()
        });
    }
}

impl Entry {
    /// Reads a process. Returns `None` if it does not exist or is hidden.
    fn read(proc: &ProcDir, pid: u32, cpu_time: Option<Duration>) -> Option<Self> {
        Some(Self {
            stat: proc.read(pid)?,
            read_at: Instant::now(),
            cpu_time,
        })
    }

    /// Returns whether the process is unchanged. One that waits for a processor may have stopped
    /// waiting.
    fn is_unchanged(&self, cpu_time: Option<Duration>, now: Instant) -> bool {
        cpu_time.is_some()
            && cpu_time == self.cpu_time
            && !self.stat.is_running()
            && now.saturating_duration_since(self.read_at) < MAX_AGE
    }
}

/// Returns the entry of a process, if it has one.
fn find(entries: &[Entry], pid: u32) -> Option<&Entry> {
    let at = entries.binary_search_by_key(&pid, |entry| entry.stat.pid);
    entries.get(at.ok()?)
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
        let mut found = table.read().unwrap();
        found.find(|stat| stat.pid == pid).cloned()
    }

    fn entry(table: &mut ProcessTable, pid: u32) -> &mut Entry {
        let mut known = table.known.iter_mut();
        known.find(|entry| entry.stat.pid == pid).unwrap()
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
        // This holds however slow the machine is.
        entry(&mut reused, pid).read_at = Instant::now();
        assert_eq!(find(&mut reused, pid).unwrap().name(), "sh");
        entry(&mut reused, pid).read_at -= MAX_AGE;
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
            table.known.clear();
        }
        assert_eq!(find(&mut table, pid).unwrap().ppid, parent);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        entry(&mut table, pid).read_at = Instant::now();
        assert_ne!(find(&mut table, pid).unwrap().ppid, parent);
        Command::new("kill").arg(pid.to_string()).status().unwrap();
    }
}
