//! The process table, the top consumers and the job's tree.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::history::History;
use super::snapshot::{Consumer, JobTree, ProcessSnapshot};
use super::stat::{Stat, io_bytes};
use super::table::{CpuClock, ProcessTable};
use super::tree::{descendants_in, walk_tree};
use super::units::{clamp_exact, round2, ticks_per_second, ticks_to_ms};
use crate::volume::wall_clock;

/// The maximum number of top consumers in a snapshot.
const TOP_CONSUMERS: usize = 5;

/// The pid and the start in ticks, which distinguish processes that reuse a pid.
type Identity = (u32, u64);

/// A sampler of the processes that remembers their CPU time.
#[derive(Debug)]
pub(super) struct ProcessSampler {
    processes: ProcessTable,
    /// The CPU ticks of every live process, in ascending order.
    table: History<Vec<(Identity, u64)>>,
    /// The CPU ticks of the job with all its descendants.
    job: History<(Identity, u64)>,
}

impl ProcessSampler {
    pub(super) fn new(cpu_clock: CpuClock) -> Self {
        Self {
            processes: ProcessTable::new(cpu_clock),
            table: History::new(),
            job: History::new(),
        }
    }

    /// Samples all processes. Returns `None` if `/proc` cannot be listed.
    pub(super) fn sample(
        &mut self,
        job_pid: Option<u32>,
        mem_total_bytes: Option<u64>,
    ) -> Option<ProcessSnapshot> {
        let table: Vec<&Stat> = self.processes.read().ok()?.collect();
        let taken_ts = wall_clock();
        let (dead, alive): (Vec<&Stat>, Vec<&Stat>) = table.iter().partition(|stat| stat.is_dead());
        let mut shares = shares(&mut self.table, &alive);

        let rss: u64 = alive
            .iter()
            .fold(0, |sum, stat| sum.saturating_add(stat.rss_bytes));
        let cpu = shares.iter().map(|(percent, _)| percent).sum();
        shares.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let busy = shares.iter().filter(|(percent, _)| round2(*percent) > 0.0);
        let top_cpu = busy.take(TOP_CONSUMERS).map(consumer).collect();
        shares.sort_by_key(|(_, stat)| std::cmp::Reverse(stat.rss_bytes));
        let resident = shares.iter().filter(|(_, stat)| stat.rss_bytes > 0);
        let top_mem = resident.take(TOP_CONSUMERS).map(consumer).collect();

        Some(ProcessSnapshot {
            taken_ts,
            total: table.len() as u32,
            zombies: dead.len() as u32,
            running: alive.iter().filter(|stat| stat.is_running()).count() as u32,
            cpu_percent: round2(cpu),
            mem_percent: mem_total_bytes
                .filter(|&total| total > 0)
                .map(|total| round2(rss as f64 * 100.0 / total as f64)),
            top_cpu,
            top_mem,
            job: job_pid.and_then(|pid| job_tree(&mut self.job, pid, &table)),
        })
    }

    /// Samples only the job's tree, without reading other processes if the kernel can list
    /// children.
    pub(super) fn tree(&mut self, job_pid: u32) -> Option<JobTree> {
        let root = Stat::read(job_pid)?;
        let found = walk_tree(root).or_else(|| Stat::read_all().ok())?;
        let found: Vec<&Stat> = found.iter().collect();
        job_tree(&mut self.job, job_pid, &found)
    }
}

/// Returns the tree of the job, and remembers its CPU time in `history`.
fn job_tree(
    history: &mut History<(Identity, u64)>,
    job_pid: u32,
    table: &[&Stat],
) -> Option<JobTree> {
    let root = table.iter().copied().find(|stat| stat.pid == job_pid)?;
    let mut members = descendants_in(job_pid, table.iter().copied());
    members.push(root);

    let mut tree = JobTree {
        processes: 0,
        cpu_ms: 0,
        rss_bytes: 0,
        read_bytes: None,
        written_bytes: None,
        zombies: 0,
        cpu_percent: 0.0,
    };
    let mut ticks: u64 = 0;
    for stat in members {
        // Include zombies. Otherwise the sum would fall when a process ends and jump when
        // its parent waits for it.
        ticks = ticks
            .saturating_add(stat.own_ticks)
            .saturating_add(stat.reaped_ticks);
        if let Some((read, written)) = io_bytes(stat.pid) {
            add(&mut tree.read_bytes, read);
            add(&mut tree.written_bytes, written);
        }
        if stat.is_dead() {
            tree.zombies += 1;
        } else {
            tree.processes += 1;
            tree.rss_bytes = clamp_exact(tree.rss_bytes.saturating_add(stat.rss_bytes));
        }
    }
    tree.cpu_ms = clamp_exact(ticks_to_ms(ticks));
    tree.cpu_percent = job_percent(history, root, ticks);
    Some(tree)
}

/// Returns each process with its CPU usage in percent of a core, and remembers their CPU time in
/// `history`.
fn shares<'a>(
    history: &mut History<Vec<(Identity, u64)>>,
    alive: &[&'a Stat],
) -> Vec<(f64, &'a Stat)> {
    let now = Instant::now();
    let since_boot = since_boot();
    let earlier = history.baseline(now);
    let share = |stat: &Stat| {
        let known = earlier.and_then(|(age, ticks)| {
            let at = ticks.binary_search_by_key(&identity(stat), |(process, _)| *process);
            Some((age, ticks.get(at.ok()?)?.1))
        });
        match known {
            Some((age, before)) => percent(stat.own_ticks.saturating_sub(before), age),
            None => percent(stat.own_ticks, lifetime(stat, since_boot)),
        }
    };
    let shares = alive.iter().map(|&stat| (share(stat), stat)).collect();
    let ticks = alive.iter().map(|stat| (identity(stat), stat.own_ticks));
    let mut ticks: Vec<_> = ticks.collect();
    ticks.sort_unstable();
    history.store(now, ticks);
    shares
}

/// Returns the CPU usage of the job in percent of a core.
fn job_percent(history: &mut History<(Identity, u64)>, root: &Stat, ticks: u64) -> f64 {
    let now = Instant::now();
    let same_job = |(_, (id, _)): &(Duration, &(Identity, u64))| *id == identity(root);
    let share = match history.baseline(now).filter(same_job) {
        Some((age, (_, before))) => percent(ticks.saturating_sub(*before), age),
        None => percent(ticks, lifetime(root, since_boot())),
    };
    history.store(now, (identity(root), ticks));
    round2(share)
}

fn identity(stat: &Stat) -> Identity {
    (stat.pid, stat.start_ticks)
}

fn consumer((cpu_percent, stat): &(f64, &Stat)) -> Consumer {
    Consumer {
        pid: stat.pid,
        name: stat.name(),
        cpu_percent: round2(*cpu_percent),
        rss_bytes: stat.rss_bytes,
    }
}

/// Adds to a sum that is `None` until the first value is known.
fn add(sum: &mut Option<u64>, more: u64) {
    *sum = Some(clamp_exact(sum.unwrap_or(0).saturating_add(more)));
}

/// Returns the time since boot, on the clock that the kernel uses for process starts.
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// Returns how long a process has existed, at least one clock tick.
fn lifetime(stat: &Stat, since_boot: Duration) -> Duration {
    let born = Duration::from_millis(ticks_to_ms(stat.start_ticks));
    let tick = Duration::from_millis(ticks_to_ms(1).max(1));
    since_boot.saturating_sub(born).max(tick)
}

/// Returns CPU time divided by wall time, in percent.
fn percent(ticks: u64, wall: Duration) -> f64 {
    if wall.is_zero() {
        return 0.0;
    }
    ticks as f64 / ticks_per_second() as f64 * 100.0 / wall.as_secs_f64()
}
