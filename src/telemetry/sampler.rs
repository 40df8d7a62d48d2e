//! The one thing that takes snapshots.

use std::path::Path;

use super::host::HostSampler;
use super::processes::ProcessSampler;
use super::snapshot::{HostSnapshot, JobTree, ProcessSnapshot};

/// Takes snapshots of the machine, its processes and the job's.
///
/// It calls the file system that it looks at, and so may block; where that must not
/// be, use [`Probe`](super::Probe).
#[derive(Debug)]
pub struct Sampler {
    host: HostSampler,
    processes: ProcessSampler,
    mem_total_bytes: Option<u64>,
}

impl Sampler {
    /// A sampler that tells the disk usage of the file system that holds `volume`.
    pub fn new(volume: &Path) -> Self {
        let mut host = HostSampler::new(volume);
        Self {
            mem_total_bytes: host.mem_total_bytes(),
            host,
            processes: ProcessSampler::new(),
        }
    }

    /// The machine now.
    pub fn host(&mut self) -> HostSnapshot {
        self.host.sample()
    }

    /// The processes now, and the tree of `job_pid` if one is given and still there.
    ///
    /// CPU shares are those since the previous snapshot of this sampler that is at least
    /// 50 ms old, or else over the life of the process.
    /// `None` if `/proc` cannot be listed.
    pub fn processes(&mut self, job_pid: Option<u32>) -> Option<ProcessSnapshot> {
        self.processes.sample(job_pid, self.mem_total_bytes)
    }

    /// The tree of `job_pid` alone, which is much cheaper than all processes; `None` once
    /// it has been waited for.
    pub fn job_tree(&mut self, job_pid: u32) -> Option<JobTree> {
        self.processes.tree(job_pid)
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
