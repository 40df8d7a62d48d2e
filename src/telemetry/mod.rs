//! Telemetry: what the machine and the job are doing at a given moment.
//!
//! Constraints that shape this module:
//!
//! - It must never harm the job. [`Probe`] therefore samples on a thread of its own
//!   and waits for it only so long; what is not there in time is absent.
//! - It says only what it knows. An absent fact is `None` and is left out of the JSON;
//!   every number is finite, carries its unit in its name and, if an integer, is below
//!   2^53, so that every JSON reader gets it exactly.
//! - It tells no secrets: of other processes only the program name (`comm`) is read,
//!   never arguments nor environment.
//! - It is cheap: no shell-outs, no network. Facts that do not change while a job runs
//!   are read once per [`Sampler`]; `sysinfo` gives what it gives cheaply (memory, load,
//!   uptime, host name), processes are read from `/proc` directly.
//!
//! | file | idea |
//! | --- | --- |
//! | `snapshot` | the types that go into the log |
//! | `sampler` | the one thing that takes them |
//! | `host` | the machine: memory, load, disk, network, devices |
//! | `cpu` | the processors: which model, and how many |
//! | `processes` | the process table, the top consumers, the job's tree |
//! | `history` | what an earlier reading is compared with |
//! | `stat` | one process: `/proc/<pid>/stat` and `/proc/<pid>/io` |
//! | `tree` | who descends from whom |
//! | `identity` | is that process alive, is it the same one, where are we |
//! | `limits` | cgroup limits |
//! | `units` | clock ticks, pages, rounding, the time stamp |
//! | `probe` | sampling that can neither block nor fail the caller |

mod cpu;
mod history;
mod host;
mod identity;
mod limits;
mod probe;
mod processes;
mod sampler;
mod snapshot;
mod stat;
mod tree;
mod units;

pub use host::{available_mem_bytes, free_disk_bytes, load_1m};
pub use identity::{boot_id, live_start_ticks, pid_namespace, processes_with_env, start_ticks};
pub use probe::{PendingSnapshots, Probe};
pub use sampler::Sampler;
pub use snapshot::{Consumer, HostSnapshot, JobTree, ProcessSnapshot, Snapshots};
pub use tree::descendants;
