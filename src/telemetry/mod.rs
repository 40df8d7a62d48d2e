//! Telemetry: snapshots of the host, its processes and the job.
//!
//! Constraints that shape this module:
//!
//! - It must never harm the job. [`Probe`] therefore samples on a thread of its own and
//!   waits for it only for a limited time. What is not known by then is left out.
//! - It reports only known facts. An unknown fact is `None` and is left out of the JSON.
//!   Every number is finite, has its unit in its name and, if it is an integer, is below
//!   2^53, so that every JSON reader gets it exactly.
//! - It records no secrets: of other processes only the program name (`comm`) is recorded,
//!   never arguments or environment.
//! - It is cheap: no child processes, no network. Facts that do not change while a job runs
//!   are read once per [`Sampler`]. `sysinfo` is used for what it reads cheaply (memory,
//!   load, uptime, host name); processes are read from `/proc` directly.
//!
//! | file | subject |
//! | --- | --- |
//! | `snapshot` | the types that go into the log |
//! | `sampler` | the sampler that takes them |
//! | `host` | the host: memory, load, disk, network, devices |
//! | `cpu` | the model and number of the processors |
//! | `processes` | the process table, the top consumers, the job's tree |
//! | `dependency` | what a job depends on, and whether it is there |
//! | `history` | the earlier readings that a new one is compared with |
//! | `stat` | one process: `/proc/<pid>/stat` and `/proc/<pid>/io` |
//! | `tree` | descendants of a process |
//! | `identity` | the identity of processes, of this boot and of our pid namespace |
//! | `limits` | cgroup limits |
//! | `units` | clock ticks, pages, rounding, timestamps |
//! | `probe` | sampling that can neither block nor fail the caller |

mod cpu;
mod dependency;
mod history;
mod host;
mod identity;
mod limits;
mod probe;
#[cfg(test)]
mod probe_tests;
mod processes;
mod sampler;
#[cfg(test)]
mod sampler_tests;
mod snapshot;
mod stat;
mod tree;
mod units;

pub use dependency::{Dependency, Target};
pub use host::{available_mem_bytes, free_disk_bytes, load_1m};
pub use identity::{
    LiveProcess, env_value, exists, group_and_session, live_processes, live_start_ticks, parent,
    pid_namespace, start_ticks,
};
pub use limits::oom_kills;
pub use probe::{PendingSnapshots, Probe};
pub use sampler::Sampler;
pub use snapshot::{Consumer, HostSnapshot, JobTree, ProcessSnapshot, Readings, Snapshots};
pub use tree::descendants;
