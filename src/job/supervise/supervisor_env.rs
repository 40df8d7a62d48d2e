//! What a supervisor needs before its job is submitted: control of the signals, and telemetry.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::attached::Attached;
use super::control::JobControl;
use crate::job::error::StartError;
use crate::job::process::cpu_clock::cpu_time;
use crate::telemetry::{Dependency, PendingSnapshots, Probe};

/// How long a stage waits for snapshots before it continues without them.
pub(crate) const SNAPSHOT_TIMEOUT: Duration = Duration::from_millis(250);

/// The environment of a supervisor, created before the job is submitted.
#[derive(Debug)]
pub(crate) struct SupervisorEnv {
    pub control: JobControl,
    pub probe: Probe,
}

impl SupervisorEnv {
    /// Takes over from the front, and starts to sample the host.
    pub(crate) fn attach(
        attached: Attached,
        volume: &Path,
        dependencies: Vec<Dependency>,
    ) -> Result<Self, StartError> {
        Self::new(JobControl::attach(attached), volume, dependencies)
    }

    /// Takes over the signals of this process, and starts to sample the host.
    pub(crate) fn direct(volume: &Path) -> Result<Self, StartError> {
        Self::new(JobControl::direct(), volume, Vec::new())
    }

    fn new(
        control: io::Result<JobControl>,
        volume: &Path,
        dependencies: Vec<Dependency>,
    ) -> Result<Self, StartError> {
        let io_error = |action| move |source| StartError::System { action, source };
        let control = control.map_err(io_error("take over the signals"))?;
        let probe = Probe::start(volume.to_owned(), dependencies, cpu_time)
            .map_err(io_error("start the telemetry thread"))?;
        Ok(Self { control, probe })
    }

    /// Starts a snapshot of the host and its processes, in parallel with other work.
    pub(crate) fn begin_snapshot(&self) -> PendingSnapshots {
        begin_snapshot(&self.probe, &self.control)
    }
}

/// Starts a snapshot in which the job's tree starts at the process that the caller started.
pub(super) fn begin_snapshot(probe: &Probe, control: &JobControl) -> PendingSnapshots {
    probe.request(Some(control.front_pid()), SNAPSHOT_TIMEOUT)
}
