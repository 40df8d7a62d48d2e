//! The telemetry types in the log.
//!
//! `None` means "not known" and is left out of the JSON. Sizes are in bytes. A CPU usage of
//! 100 percent is one full core. Floats are finite and rounded to two decimals. Integers are
//! below 2^53.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::volume::rfc3339;

/// The readings of a job's probes by name; `None` if a reading could not be determined.
pub type Readings = BTreeMap<String, Option<bool>>;

/// A snapshot of the host.
#[derive(Debug, Clone, Serialize)]
pub struct HostSnapshot {
    /// When the snapshot was taken.
    #[serde(with = "rfc3339")]
    pub taken_ts: Timestamp,
    /// The host name (`gethostname(2)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The kernel release (`uname(2)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The model name of the first CPU (`/proc/cpuinfo`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// The number of online logical CPUs (`/sys/devices/system/cpu/online`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u32>,
    /// `MemTotal` of `proc_meminfo(5)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_total_bytes: Option<u64>,
    /// `MemAvailable`: the memory that new programs can use without swapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_available_bytes: Option<u64>,
    /// Total memory minus available memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_used_bytes: Option<u64>,
    /// The lowest `memory.max` of runlog's cgroup and its ancestors (cgroup v2), if it is below
    /// the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_limit_bytes: Option<u64>,
    /// `SwapTotal`; zero means that there is no swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// `SwapTotal` minus `SwapFree`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<u64>,
    /// The load average over 1 minute (`proc_loadavg(5)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_1m: Option<f64>,
    /// The load average over 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_5m: Option<f64>,
    /// The load average over 15 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_15m: Option<f64>,
    /// The whole seconds since boot (`proc_uptime(5)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// The size of the file system that holds the volume (`statvfs(3)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_total_bytes: Option<u64>,
    /// The bytes of it that an unprivileged user can still use (`f_bavail`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_available_bytes: Option<u64>,
    /// The bytes of it that are in use: total minus free (`f_bfree`). Because some space is
    /// reserved for root, used plus available is less than the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_bytes: Option<u64>,
    /// The bytes received since boot over all interfaces of runlog's network namespace except
    /// `lo` (`/proc/net/dev`). Traffic through a bridge counts on each of its sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_rx_bytes: Option<u64>,
    /// The bytes sent since boot over all interfaces of runlog's network namespace except `lo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_tx_bytes: Option<u64>,
    /// The number of GPUs: render nodes in `/sys/class/drm` or `/dev/nvidia<n>`, whichever is
    /// greater.
    pub gpu_devices: u32,
    /// The number of accelerators: entries of `/sys/class/accel` or `/dev/accel<n>`, whichever
    /// is greater.
    pub tpu_devices: u32,
    /// Whether each dependency of the job is available; `None` if that could not be determined.
    #[serde(skip_serializing_if = "Readings::is_empty")]
    pub probes: Readings,
}

/// A snapshot of the processes that are visible to runlog (`hidepid` hides those of other
/// users).
///
/// A process that has used no CPU time since another snapshot, at most a second ago, is reported
/// as it was then.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessSnapshot {
    /// When the snapshot was taken.
    #[serde(with = "rfc3339")]
    pub taken_ts: Timestamp,
    /// The number of processes, including zombies.
    pub total: u32,
    /// The number of dead processes that have not been waited for.
    pub zombies: u32,
    /// The number of live processes whose first thread is in state R (`proc_pid_stat(5)`).
    /// runlog's own process is rarely counted, because a probe runs on another thread.
    pub running: u32,
    /// CPU usage of all live processes together; 100 is one full core.
    pub cpu_percent: f64,
    /// Resident memory of all live processes together, in percent of the host's memory.
    /// Shared pages count for each process, so it can be above 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_percent: Option<f64>,
    /// Up to five processes with the highest CPU usage, highest first, without idle ones.
    pub top_cpu: Vec<Consumer>,
    /// Up to five processes with the most resident memory, most first.
    pub top_mem: Vec<Consumer>,
    /// The requested process tree: the supervisor and the job below it in a stage event, only
    /// the job in a sample. `None` if the root has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTree>,
}

/// One process among the top consumers.
#[derive(Debug, Clone, Serialize)]
pub struct Consumer {
    /// The process id, in runlog's pid namespace.
    pub pid: u32,
    /// The program name (`comm`, at most 15 bytes), in which bytes that are not UTF-8 are
    /// replaced.
    pub name: String,
    /// CPU usage since the previous snapshot, or else over the life of the process; 100 is
    /// one full core. Clock ticks are coarse (10 ms), so short intervals are imprecise.
    pub cpu_percent: f64,
    /// Resident memory according to `proc_pid_stat(5)`, which lags a little.
    pub rss_bytes: u64,
}

/// The job's first process and its descendants.
///
/// A process whose parent ended is adopted by the nearest subreaper and leaves the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobTree {
    /// The number of live processes.
    pub processes: u32,
    /// The CPU time, user and system, of the processes and of their children that ended.
    pub cpu_ms: u64,
    /// The resident memory of the live processes. Shared pages count for each process.
    pub rss_bytes: u64,
    /// The bytes read from storage (`proc_pid_io(5)`), including by children that ended. `None`
    /// if runlog lacks the permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// The bytes written to storage, including by children that ended. `None` if runlog lacks
    /// the permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// The number of dead processes that have not been waited for.
    pub zombies: u32,
    /// CPU usage since the previous sample of this job, or else since its start; 100 is one
    /// full core.
    pub cpu_percent: f64,
}

/// The snapshots that [`Probe::collect`](super::Probe::collect) received in time.
#[derive(Debug, Clone, Default)]
pub struct Snapshots {
    /// The host; `None` if it was not known in time.
    pub host: Option<HostSnapshot>,
    /// The processes; `None` if they were not known in time.
    pub processes: Option<ProcessSnapshot>,
}
