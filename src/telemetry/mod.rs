//! Telemetry: snapshots of the host, its processes and the job.
//!
//! Constraints that shape this module:
//!
//! - It must never harm the job. [`Probe`] therefore samples on its own thread and waits for
//!   that thread only for a limited time. Facts that are not known by then are left out.
//! - It reports only known facts. An unknown fact is `None` and is left out of the JSON. Every
//!   number is finite and has its unit in its name. Integers are below 2^53, so that every JSON
//!   reader gets them exactly.
//! - It records no secrets: of other processes, it records only the program name (`comm`), never
//!   arguments or environment.
//! - It is cheap: no child processes, no network. Each [`Sampler`] reads facts that do not
//!   change while a job runs only once. It uses `sysinfo` for what that reads cheaply (memory,
//!   load, uptime, host name), and reads processes from `/proc` directly.
//!
//! | file | subject |
//! | --- | --- |
//! | `snapshot` | the types in the log |
//! | `sampler` | the sampler that takes them |
//! | `host` | the host: memory, load, disk, network, devices |
//! | `cpu` | the model and number of the processors |
//! | `processes` | the process table, the top consumers and the job's tree |
//! | `dependency` | the dependencies of a job, and whether they are available |
//! | `history` | earlier readings to compare a new one with |
//! | `stat` | one process: `/proc/<pid>/stat` and `/proc/<pid>/io` |
//! | `table` | the process table, read again only where a process has run |
//! | `tree` | descendants of a process |
//! | `status` | what signals have done to a process: `/proc/<pid>/status` |
//! | `identity` | the identity of processes and of runlog's pid namespace |
//! | `limits` | cgroup limits |
//! | `units` | clock ticks, pages, rounding |
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
mod status;
mod table;
mod tree;
mod units;

pub use dependency::{Dependency, Target};
pub use host::{available_mem_bytes, free_disk_bytes, load_1m};
pub use identity::{
    LiveProcess, env_value, exists, is_hidden, live_process, live_processes, live_start_ticks,
    may_be_alive, parent, pid_namespace, program_name, start_ticks,
};
pub use limits::oom_kills;
pub use probe::{PendingSnapshots, Probe};
pub use sampler::Sampler;
pub use snapshot::{Consumer, HostSnapshot, JobTree, ProcessSnapshot, Readings, Snapshots};
pub use stat::proc_has_own_pids;
pub use status::{has_default_action, has_pending, is_stopped};
pub use table::CpuClock;
pub use tree::descendants;
