//! The types that go into the log.
//!
//! `None` means "not known" and is left out of the JSON. Sizes are in bytes. A CPU usage of
//! 100 percent is one full core. Floats are finite and rounded to two decimals. Integers are
//! below 2^53.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::volume::rfc3339;

/// The readings of a job's probes by name; `None` is what could not be determined.
pub type Readings = BTreeMap<String, Option<bool>>;

/// A snapshot of the host.
#[derive(Debug, Clone, Serialize)]
pub struct HostSnapshot {
    /// When it was taken.
    #[serde(with = "rfc3339")]
    pub taken_ts: Timestamp,
    /// Host name (`gethostname(2)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Kernel release (`uname(2)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Model name of the first CPU (`/proc/cpuinfo`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// Logical CPUs that are online (`/proc/stat`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u32>,
    /// `MemTotal` of `proc_meminfo(5)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_total_bytes: Option<u64>,
    /// `MemAvailable`: what new programs can use without swapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_available_bytes: Option<u64>,
    /// Total minus available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_used_bytes: Option<u64>,
    /// The lowest `memory.max` of our cgroup and those above it (cgroup v2), if it is
    /// below the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_limit_bytes: Option<u64>,
    /// `SwapTotal`; zero means "no swap".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// `SwapTotal` minus `SwapFree`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<u64>,
    /// Load average over 1 minute (`proc_loadavg(5)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_1m: Option<f64>,
    /// Load average over 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_5m: Option<f64>,
    /// Load average over 15 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_15m: Option<f64>,
    /// Whole seconds since boot (`proc_uptime(5)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// Size of the file system that holds the volume (`statvfs(3)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_total_bytes: Option<u64>,
    /// How much of it an unprivileged user can still use (`f_bavail`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_available_bytes: Option<u64>,
    /// How much of it is in use: total minus free (`f_bfree`). Because of the reserve for
    /// root, used plus available is less than the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_bytes: Option<u64>,
    /// Bytes received since boot over all interfaces of our network namespace except `lo`
    /// (`/proc/net/dev`). Traffic through a bridge counts on each of its sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_rx_bytes: Option<u64>,
    /// Bytes sent since boot over all interfaces of our network namespace except `lo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_tx_bytes: Option<u64>,
    /// GPUs: render nodes in `/sys/class/drm` or `/dev/nvidia<n>`, whichever are more.
    pub gpu_devices: u32,
    /// Accelerators: entries of `/sys/class/accel` or `/dev/accel<n>`, whichever are more.
    pub tpu_devices: u32,
    /// Whether what the job depends on is there; `None` is what could not be determined.
    #[serde(skip_serializing_if = "Readings::is_empty")]
    pub probes: Readings,
}

/// A snapshot of the processes that we can see (`hidepid` hides those of other users).
#[derive(Debug, Clone, Serialize)]
pub struct ProcessSnapshot {
    /// When it was taken.
    #[serde(with = "rfc3339")]
    pub taken_ts: Timestamp,
    /// The number of processes, including zombies.
    pub total: u32,
    /// The number of dead processes that were not waited for.
    pub zombies: u32,
    /// The number of live processes whose first thread is in state R (`proc_pid_stat(5)`). A
    /// probe runs on another thread, so the process of runlog is seldom counted.
    pub running: u32,
    /// CPU usage of all live processes together; 100 is one full core.
    pub cpu_percent: f64,
    /// Resident memory of all live processes together, in percent of the host's memory.
    /// Shared pages count for each process, so it can be above 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_percent: Option<f64>,
    /// The five processes at most with the highest CPU usage, highest first, without idle
    /// ones.
    pub top_cpu: Vec<Consumer>,
    /// The five processes at most with the most resident memory, most first.
    pub top_mem: Vec<Consumer>,
    /// The requested process tree: the supervisor and the job below it in a stage event, the
    /// job alone in a sample. `None` if the root has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTree>,
}

/// One process among the top consumers.
#[derive(Debug, Clone, Serialize)]
pub struct Consumer {
    /// Process id, in our pid namespace.
    pub pid: u32,
    /// Program name (`comm`: at most 15 bytes); bytes that are not UTF-8 are replaced.
    pub name: String,
    /// CPU usage since the previous snapshot, or else over the life of the process; 100 is
    /// one full core. Clock ticks are coarse (10 ms), so short intervals are imprecise.
    pub cpu_percent: f64,
    /// Resident memory from `proc_pid_stat(5)`, which lags a little.
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
    /// CPU time, user and system, of the processes and of their children that ended.
    pub cpu_ms: u64,
    /// Resident memory of the live processes. Shared pages count for each process.
    pub rss_bytes: u64,
    /// Bytes fetched from storage (`proc_pid_io(5)`), including children that ended. `None`
    /// if we lack the permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes sent to storage, including children that ended. `None` if we lack the
    /// permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// The number of dead processes that were not waited for.
    pub zombies: u32,
    /// CPU usage since the previous sample of this job, or else since its start; 100 is one
    /// full core.
    pub cpu_percent: f64,
}

/// The snapshots that [`Probe::collect`](super::Probe::collect) got in time.
#[derive(Debug, Clone, Default)]
pub struct Snapshots {
    /// The host; `None` if it was not known in time.
    pub host: Option<HostSnapshot>,
    /// The processes; `None` if they were not known in time.
    pub processes: Option<ProcessSnapshot>,
}
