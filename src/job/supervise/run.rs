//! A job from its submission to its end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attached::{Attached, Custody};
use super::attempts::Job;
use super::hooks::MakeHookInput;
use super::outcome::{JobEnd, Outcome};
use super::recorder::OnStarted;
use super::submit::{Submission, Submitted};
use super::supervisor::{SubmittedJob, Supervisor};
use super::supervisor_env::SupervisorEnv;
use crate::job::capture::stream::{OnUnstored, OnWarning};
use crate::job::error::StartError;
use crate::job::process::wait_status::WaitStatus;
use crate::job::spec::job_spec::JobSpec;
use crate::job::spec::validate::validate;
use crate::log::RunLog;
use crate::log::format::payload::RunOpened;
use crate::telemetry::PendingSnapshots;
use crate::volume::{JobId, Volume};

/// The maximum time between stages that share their snapshots.
const SNAPSHOT_VALIDITY: Duration = Duration::from_millis(100);

/// The supervisor of a job that is about to be submitted, and the first snapshot of the host,
/// which is taken while the run is created.
#[derive(Debug)]
pub struct Prepared {
    supervisor_env: SupervisorEnv,
    custody: Custody,
    predecessor: Option<WaitStatus>,
    before: PendingSnapshots,
    since: Instant,
}

/// Takes over from the front, and starts the first snapshots of the host and the job's
/// dependencies.
///
/// # Errors
/// A system call fails.
pub fn prepare(
    mut attached: Attached,
    volume: &Volume,
    spec: &JobSpec,
) -> Result<Prepared, StartError> {
    let custody = std::mem::take(&mut attached.custody);
    let predecessor = attached.predecessor;
    let supervisor_env = SupervisorEnv::attach(attached, volume.path(), spec.dependencies.clone())?;
    Ok(Prepared {
        before: supervisor_env.begin_snapshot(),
        since: Instant::now(),
        supervisor_env,
        custody,
        predecessor,
    })
}

/// The parameters of a job besides its specification.
pub struct Setup<'a> {
    /// The supervisor, which is created before the log.
    pub prepared: Prepared,
    /// The volume.
    pub volume: &'a Volume,
    /// The log of the run, which may be new.
    pub log: Arc<RunLog>,
    /// The payload of `run_opened`, in case the run is new.
    pub opening: RunOpened,
    /// `PATH` of runlog's own environment.
    pub path_variable: Option<OsString>,
    /// Variables for the job, besides those for its run and its id.
    pub env: Vec<(&'static str, OsString)>,
    /// Called for problems that do not affect the job.
    pub on_warning: OnWarning,
    /// The target of output that cannot be stored; by default, it is dropped.
    pub on_unstored: Option<OnUnstored>,
    /// Called when the job's submission is durable, before it starts.
    pub on_submitted: Box<dyn FnOnce(&JobId) + 'a>,
    /// Returns the input of the hooks.
    pub hook_input: MakeHookInput,
    /// Called when the start is durable, or cannot be made durable.
    pub on_started: OnStarted,
}

/// Runs a job: submits, validates, starts, supervises and ends it. After a supervisor that died,
/// it does the remaining work.
///
/// # Errors
/// The job could not be submitted, and did not start. Problems with the log after the start are
/// reported to `setup.on_warning` and do not affect the job.
pub fn run_job(spec: &JobSpec, setup: Setup<'_>) -> Result<Outcome, StartError> {
    let volume = setup.volume.path();
    let validated = validate(spec, volume, setup.path_variable.as_deref());
    let Prepared {
        supervisor_env,
        custody,
        predecessor,
        mut before,
        mut since,
    } = setup.prepared;
    setup.log.sync_ancestors();
    if since.elapsed() > SNAPSHOT_VALIDITY {
        before = supervisor_env.begin_snapshot();
        since = Instant::now();
    }
    let before = before.wait();
    let pipes = custody.pipes;

    let log = setup.log;
    let submission = Submission {
        spec,
        opening: setup.opening,
        before,
        validated: &validated,
        control: &supervisor_env.control,
        lease: custody.lease,
        relay: custody.relay,
        on_unstored: setup.on_unstored,
        predecessor,
        indexed: 0,
    };
    let Submitted {
        mut events,
        sink,
        known,
    } = submission.submit(&log)?;
    (setup.on_submitted)(&events.job);

    let job = SubmittedJob {
        spec,
        id: events.job.clone(),
        log,
        sink,
    };
    let mut supervisor = Supervisor::new(job, supervisor_env, setup.on_warning, setup.env);
    supervisor.hook_output = custody.hook_output;
    let program = match validated {
        Ok(program) => program,
        // If the job was started before, its program was found then.
        Err(_) if supervisor.control.page.claimed().is_some() => PathBuf::new(),
        Err(error) => {
            // `job_failed` is already in the log, with the submission.
            let end = JobEnd::NotStarted(error);
            supervisor.run_hooks(&events, &end, &setup.hook_input);
            return Ok(Outcome {
                end,
                unfinished: Vec::new(),
                undelivered_bytes: 0,
            });
        }
    };
    // The submission may have waited for a lock or a slow disk. The other half of the time is
    // for the spawn.
    if since.elapsed() > SNAPSHOT_VALIDITY / 2 {
        events.before = supervisor.snapshot();
    }
    let job = Job {
        events: events.clone(),
        program,
    };
    let mut outcome = match known {
        Some(known) => supervisor.resume_job(job, &known, pipes, setup.on_started),
        None => supervisor.start_job(job, setup.on_started),
    };
    supervisor.run_hooks(&events, &outcome.end, &setup.hook_input);
    outcome.undelivered_bytes = supervisor.drain_passthrough();
    supervisor.control.continue_front();
    Ok(outcome)
}
