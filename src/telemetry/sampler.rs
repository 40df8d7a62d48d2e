//! The sampler that takes snapshots.

use std::path::Path;

use super::dependency::{Dependency, read_all, unread};
use super::host::HostSampler;
use super::processes::ProcessSampler;
use super::snapshot::{HostSnapshot, JobTree, ProcessSnapshot, Readings};
use super::table::CpuClock;

/// A sampler of the host, its processes and the job.
///
/// It may block for as long as the file system of the volume does. Use
/// [`Probe`](super::Probe) where that is not acceptable.
#[derive(Debug)]
pub struct Sampler {
    host: HostSampler,
    processes: ProcessSampler,
    mem_total_bytes: Option<u64>,
    dependencies: Vec<Dependency>,
}

impl Sampler {
    /// Creates a sampler that reports the usage of the file system that holds `volume`, and
    /// rereads only the processes that have run, according to `cpu_clock`.
    pub fn new(volume: &Path, cpu_clock: CpuClock) -> Self {
        let mut host = HostSampler::new(volume);
        Self {
            mem_total_bytes: host.mem_total_bytes(),
            host,
            processes: ProcessSampler::new(cpu_clock),
            dependencies: Vec::new(),
        }
    }

    /// Returns the sampler with probes for the job's dependencies.
    #[must_use]
    pub fn with_dependencies(mut self, dependencies: Vec<Dependency>) -> Self {
        self.dependencies = dependencies;
        self
    }

    /// Samples the host without reading the probes.
    pub fn host(&mut self) -> HostSnapshot {
        HostSnapshot {
            probes: unread(&self.dependencies),
            ..self.host.sample()
        }
    }

    /// Reads the probes.
    pub fn probes(&self) -> Readings {
        read_all(&self.dependencies)
    }

    /// Samples the processes, and the tree of `job_pid` if one is given and still exists.
    ///
    /// CPU usage is measured since the previous snapshot of this sampler that is at least
    /// 50 ms old, or else over the life of the process. Returns `None` if `/proc` cannot be
    /// listed.
    pub fn processes(&mut self, job_pid: Option<u32>) -> Option<ProcessSnapshot> {
        self.processes.sample(job_pid, self.mem_total_bytes)
    }

    /// Samples only the tree of `job_pid`, which is much cheaper than sampling all processes.
    /// Returns `None` once the process has been waited for.
    pub fn job_tree(&mut self, job_pid: u32) -> Option<JobTree> {
        self.processes.tree(job_pid)
    }
}
