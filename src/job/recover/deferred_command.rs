//! A supervisor for commands that a job recorded and that run later.

use std::path::PathBuf;
use std::sync::Arc;

use crate::job::capture::output_file::{OutputFile, OutputTarget};
use crate::job::capture::stream::OnWarning;
use crate::job::error::StartError;
use crate::job::process::job_env::JOB_VOLUME_VARIABLE;
use crate::job::redact::redaction::Redaction;
use crate::job::spec::job_spec::{
    AfterJob, DEFAULT_KILL_AFTER, DurationBounds, Guards, Hooks, JobSpec, OutputMode,
};
use crate::job::spec::retry_policy::RetryPolicy;
use crate::job::spec::stream_plan::StreamPlan;
use crate::job::supervise::job_events::JobEvents;
use crate::job::supervise::supervisor::{SubmittedJob, Supervisor};
use crate::job::supervise::supervisor_env::SupervisorEnv;
use crate::log::{Lease, RunLog};
use crate::volume::{JobId, Volume};

/// Returns the specification of a job whose own command does not run. Other commands run in
/// `cwd`, or by default in the working directory of this process.
pub(super) fn spec(job: &JobId, cwd: Option<PathBuf>, hooks: Hooks) -> JobSpec {
    JobSpec {
        argv: Vec::new(),
        cwd: cwd.clone().unwrap_or_default(),
        chdir: cwd,
        env: Vec::new(),
        record_env: false,
        inputs: Vec::new(),
        labels: Vec::new(),
        job_id: Some(job.clone()),
        lock: None,
        rollback: None,
        hooks,
        timeout: None,
        bounds: DurationBounds::default(),
        kill_after: Some(DEFAULT_KILL_AFTER),
        retry: RetryPolicy::default(),
        sample: None,
        guards: Guards::default(),
        dependencies: Vec::new(),
        require: Vec::new(),
        // The secrets to mask in the output are not recorded.
        output: OutputMode {
            capture: false,
            limit: None,
            pass_on: true,
            redact_passed_on: false,
            streams: StreamPlan::default(),
        },
        redaction: Redaction::default(),
        rerun_of: None,
        trace: None,
        after: AfterJob::StayOpen,
        detached: false,
        log_optional: false,
    }
}

/// Returns a supervisor that holds the lease of the job, and the state that its events share.
///
/// # Errors
/// A system call fails.
pub(super) fn supervisor<'a>(
    spec: &'a JobSpec,
    volume: &Volume,
    log: &Arc<RunLog>,
    (job, lease): (&JobId, Lease),
    on_warning: &OnWarning,
) -> Result<(Supervisor<'a>, JobEvents), StartError> {
    let supervisor_env = SupervisorEnv::direct(volume.path())?;
    let target = OutputTarget {
        lease,
        index: None,
        indexed: 0,
        limit: None,
        on_unstored: None,
        relay: None,
    };
    let sink = OutputFile::new(target, None, supervisor_env.control.page);
    let root = volume.path().canonicalize();
    let root = root.unwrap_or_else(|_| volume.path().to_owned());
    let env = vec![(JOB_VOLUME_VARIABLE, root.into_os_string())];
    let submitted = SubmittedJob {
        spec,
        id: job.clone(),
        log: Arc::clone(log),
        sink,
    };
    let supervisor = Supervisor::new(submitted, supervisor_env, Arc::clone(on_warning), env);
    let events = JobEvents {
        run: supervisor.log.run_id().clone(),
        job: job.clone(),
        before: supervisor.snapshot(),
        redaction: Redaction::default(),
    };
    Ok((supervisor, events))
}
