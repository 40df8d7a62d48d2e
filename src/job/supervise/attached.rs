//! What a supervisor gets from the front: facts about the job, shared state, and descriptors that
//! outlive it.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::forward::SignalTarget;
use super::front_link::FrontLink;
use crate::job::capture::splice_pipe::SplicePipe;
use crate::job::process::supervision_page::{RunResult, SupervisionPage};
use crate::job::process::wait_status::WaitStatus;
use crate::volume::RunId;

/// The facts about the job that the front needs.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact")]
pub struct FrontOptions {
    /// Whether the job is detached from the terminal.
    pub detached: bool,
    /// Whether the job continues if the front is killed.
    pub keep_if_killed: bool,
    /// Whether the job's output is passed on.
    pub pass_on: bool,
    /// Whether the job's output is stored.
    pub capture: bool,
}

/// The state that a supervisor gets from the front.
#[derive(Debug)]
pub struct Attached {
    pub(crate) page: &'static SupervisionPage,
    pub(crate) link: FrontLink,
    pub(crate) options: FrontOptions,
    pub(crate) target: SignalTarget,
    pub(crate) front: u32,
    pub(crate) custody: Custody,
    /// How the previous supervisor died.
    pub(crate) predecessor: Option<WaitStatus>,
}

impl Attached {
    /// Returns the pid of the process that the caller started.
    pub fn front_pid(&self) -> u32 {
        self.front
    }

    /// Returns the progress of this supervisor and those that died.
    pub fn progress(&self) -> Progress {
        Progress(self.page)
    }
}

/// The progress of a job's supervisors.
#[derive(Debug, Clone, Copy)]
pub struct Progress(&'static SupervisionPage);

impl Progress {
    /// Returns the run that was created for the job.
    pub fn run(self) -> Option<String> {
        self.0.run()
    }

    /// Records the run that was created for the job.
    pub fn record_run(self, run: &RunId) {
        self.0.record_run(run.as_str());
    }

    /// Announces the run to the caller, unless an earlier supervisor did so before it died. If
    /// one dies in the middle, the caller gets the announcement twice.
    pub fn announce_once(self, announce: impl FnOnce()) {
        if !self.0.announced.load(Ordering::Acquire) {
            announce();
            self.0.announced.store(true, Ordering::Release);
        }
    }

    /// Records how `runlog run` must end, after all of its work is done.
    pub fn record_result(self, result: RunResult) {
        self.0.record_result(result);
    }
}

/// Descriptors that outlive a supervisor.
#[derive(Debug, Default)]
pub(crate) struct Custody {
    /// The lease of the job: the same open file that the supervisor locked.
    pub lease: Option<OwnedFd>,
    /// The pipes of the newest attempt, in the order of its plan; `None` after a reader closed
    /// its end.
    pub pipes: [Option<OwnedFd>; 2],
    /// The pipe that the newest hook prints to.
    pub hook_output: Option<OwnedFd>,
    /// A pipe for output on its way into the file, so that none of it is lost or duplicated.
    pub relay: Option<SplicePipe>,
}
