//! Whether what a job ran is dead. Nothing is guessed: what cannot be known is said so.

use std::fmt;

use super::spec::{JOB_VARIABLE, RUN_VARIABLE};
use crate::log::payload::ProcessRef;
use crate::log::{JobState, Stage};
use crate::telemetry;
use crate::volume::{Dir, RunId};

/// What is known of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// It is dead, or never began.
    Dead(String),
    /// It lives.
    Lives(String),
    /// It cannot be seen from here.
    Unseen(String),
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Dead(what) | Self::Lives(what) | Self::Unseen(what)) = self;
        f.write_str(what)
    }
}

/// How a living process is told from all others.
pub(super) fn process(pid: u32) -> ProcessRef {
    ProcessRef {
        pid,
        start_ticks: telemetry::process_start_ticks(pid),
        pid_namespace: telemetry::pid_namespace(),
        boot_id: telemetry::boot_id(),
    }
}

/// Told by boot, pid namespace, pid and start time.
pub(super) fn of_process(process: &ProcessRef) -> Life {
    let pid = process.pid;
    if process.boot_id.is_none() || process.boot_id != telemetry::boot_id() {
        return Life::Dead(format!("its process {pid} belongs to another boot or host"));
    }
    if process.pid_namespace.is_none() || process.pid_namespace != telemetry::pid_namespace() {
        return Life::Unseen(format!(
            "its process {pid} is in another pid namespace and cannot be seen from here"
        ));
    }
    match (process.start_ticks, telemetry::process_start_ticks(pid)) {
        (Some(then), Some(now)) if then == now => {
            Life::Lives(format!("its process {pid} still runs"))
        }
        (None, Some(_)) => Life::Unseen(format!(
            "whether its process {pid} still runs cannot be told"
        )),
        _ => Life::Dead(format!("its process {pid} is dead")),
    }
}

/// Whether the job was handed in or started in this boot, as far as that can be told.
pub(super) fn same_boot(job: &JobState) -> bool {
    let processes = [&job.process, &job.supervisor];
    let mut boots = processes.into_iter().flatten().map(|p| &p.boot_id);
    let here = telemetry::boot_id();
    here.is_some() && boots.any(|boot| *boot == here)
}

/// Whether anything that the job started is known to be dead, its supervisor being so.
/// `dir` is the folder of the run.
pub(super) fn of_job(dir: &Dir, run: &RunId, job: &JobState) -> Life {
    let here = telemetry::boot_id();
    let elsewhere = |process: &ProcessRef| process.boot_id.is_none() || process.boot_id != here;
    let known = job.process.as_ref().or(job.supervisor.as_ref());
    if known.is_none_or(elsewhere) && telemetry::is_network(dir) {
        let id = &job.job_id;
        return Life::Unseen(format!(
            "job {id} may run on another host: the log is on a network file system"
        ));
    }
    match (&job.process, job.stage) {
        (Some(process), _) => of_process(process),
        (None, Stage::Submitted) => Life::Dead("its command was not started".to_owned()),
        (None, _) => unrecorded(run, job),
    }
}

/// A command that may have been started without a record of it: its supervisor died
/// right then.
fn unrecorded(run: &RunId, job: &JobState) -> Life {
    let Some(supervisor) = &job.supervisor else {
        return Life::Unseen("its command may have been started".to_owned());
    };
    match of_process(supervisor) {
        Life::Dead(_) if supervisor.boot_id != telemetry::boot_id() => {
            return Life::Dead("it belongs to another boot or host".to_owned());
        }
        Life::Dead(_) => {}
        Life::Lives(_) | Life::Unseen(_) => {
            return Life::Unseen(
                "its command may have been started where it cannot be seen".to_owned(),
            );
        }
    }
    let variables = [
        format!("{RUN_VARIABLE}={run}"),
        format!("{JOB_VARIABLE}={}", job.job_id),
    ];
    match telemetry::processes_with(&variables).as_deref() {
        None => Life::Unseen("its command may have been started".to_owned()),
        Some([]) => Life::Dead("no process has its ids in its environment".to_owned()),
        Some([pid, ..]) => Life::Lives(format!("process {pid} has its ids in its environment")),
    }
}
