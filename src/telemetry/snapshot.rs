//! The types that go into the log.
//!
//! `None` is "not known" and is left out of the JSON. Bytes are bytes, never KiB;
//! percents of CPU have 100 for one full core; floats are finite and rounded to two
//! decimals; integers are below 2^53.

use serde::Serialize;

/// The machine at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct HostSnapshot {
    /// When it was taken: RFC 3339, UTC, exactly six decimals.
    pub taken_ts: String,
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
    /// `MemAvailable`: what new programs can have without swapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_available_bytes: Option<u64>,
    /// Total less available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_used_bytes: Option<u64>,
    /// The lowest `memory.max` of our cgroup and those above it (cgroup v2), if it is
    /// below the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_limit_bytes: Option<u64>,
    /// `SwapTotal`; zero is "no swap".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// `SwapTotal` less `SwapFree`.
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
    /// What of it an unprivileged user can still have (`f_bavail`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_available_bytes: Option<u64>,
    /// What of it is in use: total less free (`f_bfree`); with the root user's reserve,
    /// used and available are less than the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_bytes: Option<u64>,
    /// Bytes received since boot, over all interfaces but `lo` of our network namespace
    /// (`/proc/net/dev`); what passes a bridge counts on each of its sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_rx_bytes: Option<u64>,
    /// Bytes sent, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_tx_bytes: Option<u64>,
    /// GPUs: render nodes in `/sys/class/drm` or `/dev/nvidia<n>`, whichever are more.
    pub gpu_devices: u32,
    /// Accelerators: entries of `/sys/class/accel` or `/dev/accel<n>`, whichever are more.
    pub tpu_devices: u32,
}

/// The processes that we can see at one moment (`hidepid` hides those of others).
#[derive(Debug, Clone, Serialize)]
pub struct ProcessSnapshot {
    /// When it was taken: RFC 3339, UTC, exactly six decimals.
    pub taken_ts: String,
    /// Processes, zombies included.
    pub total: u32,
    /// Dead processes that nobody has waited for.
    pub zombies: u32,
    /// Living processes whose first thread is in state R (`proc_pid_stat(5)`). A probe
    /// runs on another thread, so we ourselves seldom count.
    pub running: u32,
    /// CPU of all living processes together; 100 is one full core.
    pub cpu_percent: f64,
    /// Resident memory of all living processes together, of the machine's memory. Pages
    /// that are shared count for each, so it can be above 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_percent: Option<f64>,
    /// At most five that use most CPU, most first; idle ones are left out.
    pub top_cpu: Vec<Consumer>,
    /// At most five with the most resident memory, most first.
    pub top_mem: Vec<Consumer>,
    /// The tree whose root was asked for: the supervisor with the job below it at a stage, the
    /// job alone in a sample; none if the root has ended.
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
    /// CPU since the previous snapshot, or else over the life of the process; 100 is one
    /// full core. Clock ticks are coarse (10 ms), so over short times this is too.
    pub cpu_percent: f64,
    /// Resident memory, as in `proc_pid_stat(5)`, which is a little behind.
    pub rss_bytes: u64,
}

/// The job's first process and all that descend from it.
///
/// One whose parent ended belongs to the nearest subreaper, and so no more to the tree.
#[derive(Debug, Clone, Serialize)]
pub struct JobTree {
    /// Living processes.
    pub processes: u32,
    /// CPU time, user and system, that the processes have used, with that of their
    /// children that died: what was used stays used.
    pub cpu_ms: u64,
    /// Resident memory of the living; pages that are shared count for each.
    pub rss_bytes: u64,
    /// Bytes that had to be fetched from storage (`proc_pid_io(5)`), dead children
    /// included; absent if we may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes sent to storage, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Dead processes that nobody has waited for.
    pub zombies: u32,
    /// CPU since the previous look at this job, or else since its start; 100 is one full
    /// core.
    pub cpu_percent: f64,
}

/// What [`Probe::collect`](super::Probe::collect) got in time.
#[derive(Debug, Clone, Default)]
pub struct Snapshots {
    /// The machine, `None` if it was not known in time.
    pub host: Option<HostSnapshot>,
    /// The processes, `None` if they were not known in time.
    pub processes: Option<ProcessSnapshot>,
}
