//! What precedes the start of a job, written in one batch and made durable by one sync.

use std::path::{Path, PathBuf};

use super::job_events;
use super::job_events::JobEvents;
use super::supervisor::{close_if_open, close_policy};
use crate::job::capture::output_file::OutputFile;
use crate::job::spec::job_spec::{AfterJob, JobSpec};
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, JobValidated, RunOpened};
use crate::log::{
    AppendError, Batch, Close, Draft, Durability, EventType, Lease, LogView, MAX_JOBS, Refusal,
    RunLog, StorageError, SyncError,
};
use crate::telemetry::Snapshots;
use crate::volume::{Dir, JobId, error_chain, layout};

/// What precedes the start.
pub(crate) struct Submission<'a> {
    pub spec: &'a JobSpec,
    pub opening: RunOpened,
    pub before: Snapshots,
    pub validated: &'a Result<PathBuf, JobError>,
}

impl Submission<'_> {
    /// Under the run's locks: the run is open, the id is free, the output file is made,
    /// its lease is taken, and all that precedes the start is written, in one batch.
    pub(crate) fn submit(self, log: &RunLog) -> Result<(JobEvents, OutputFile), AppendError> {
        let mut made = None;
        let budget = EventType::JobSubmitted.lock_budget();
        let written = log.append_with(Durability::Power, budget, |view| {
            let (stages, sink, batch) = self.batch(log, view)?;
            made = Some((stages, sink));
            Ok(batch)
        });
        let stands = match &written {
            Ok(_) | Err(AppendError::NotDurable(_)) => true,
            Err(AppendError::Partial { written, .. }) => *written > 0,
            Err(_) => false,
        };
        // The name of the lease: without it nobody could tell after a loss of power
        // whether the supervisor lives.
        match (written.and_then(|_| sync_jobs(log)), made) {
            (Ok(()), Some(made)) => Ok(made),
            (Ok(()), None) => Err(StorageError::RunRemoved {
                path: log.dir().path().to_owned(),
            }
            .into()),
            (Err(e), made) => {
                if let Some((stages, _)) = made.filter(|_| stands) {
                    self.cancel(log, &stages, &e);
                }
                Err(e)
            }
        }
    }

    /// Some of it stands in the log, but the job will not be started: as far as the log
    /// takes it, it is told so.
    fn cancel(&self, log: &RunLog, stages: &JobEvents, why: &AppendError) {
        let error = JobError {
            kind: ErrorKind::Canceled,
            message: format!("the job was not started: {}", error_chain(why)),
        };
        let event = JobEnded {
            error: Some(error),
            ..JobEnded::default()
        };
        let budget = EventType::JobSubmitted.lock_budget();
        let written = log.append_with(Durability::Power, budget, |view| {
            // After a short write its submission may not stand.
            let job = view.state.job(stages.job.as_str());
            let drafts = if job.is_some_and(|job| !job.stage.is_terminal()) {
                vec![stages.ended(&event, &self.before)?]
            } else {
                Vec::new()
            };
            let close = close_if_open(close_policy(self.spec.after), view);
            Ok(Batch { drafts, close })
        });
        // The caller is told of the first trouble already.
        drop(written);
    }

    fn batch(
        &self,
        log: &RunLog,
        view: &LogView<'_>,
    ) -> Result<(JobEvents, OutputFile, Batch), AppendError> {
        let (spec, run) = (self.spec, log.run_id());
        if view.state.is_closed() {
            return Err(Refusal::Closed { run: run.clone() }.into());
        }
        if view.state.jobs_total >= MAX_JOBS {
            return Err(Refusal::TooManyJobs {
                run: run.clone(),
                limit: MAX_JOBS,
            }
            .into());
        }
        let jobs = log.dir().ensure_dir(layout::JOBS)?.dir;
        let (job, lease) = self.claim(log, &jobs, view)?;
        let index = if spec.output.capture {
            Some(jobs.append(&layout::job_index(&job))?)
        } else {
            None
        };
        let sink = OutputFile::new(lease, index, spec.output.limit, spec.redactor.as_ref());

        let stages = JobEvents {
            run: run.clone(),
            job,
            before: self.before.clone(),
        };
        let mut drafts = Vec::new();
        if view.is_new {
            drafts.push(Draft::new(EventType::RunOpened, run, None, &self.opening)?);
        }
        drafts.push(stages.submitted(&job_events::submitted(spec))?);
        let mut close = Close::No;
        match self.validated {
            Ok(program) => {
                let program = program.to_string_lossy().into_owned();
                drafts.push(stages.validated(&JobValidated { program })?);
            }
            Err(error) => {
                let ended = JobEnded {
                    error: Some(error.clone()),
                    ..JobEnded::default()
                };
                drafts.push(stages.ended(&ended, &self.before)?);
                close = close_policy(spec.after);
            }
        }
        Ok((stages, sink, Batch { drafts, close }))
    }

    /// The job's id, and its lease.
    fn claim(
        &self,
        log: &RunLog,
        jobs: &Dir,
        view: &LogView<'_>,
    ) -> Result<(JobId, Lease), AppendError> {
        if let Some(job) = &self.spec.job_id {
            return Self::claim_one(jobs, view, job)?
                .map(|lease| (job.clone(), lease))
                .ok_or_else(|| {
                    let (run, job) = (log.run_id().clone(), job.clone());
                    Refusal::JobTaken { run, job }.into()
                });
        }
        let base = self.default_id();
        let mut job = base.clone();
        for n in 2.. {
            if let Some(lease) = Self::claim_one(jobs, view, &job)? {
                return Ok((job, lease));
            }
            job = base.numbered(n);
        }
        let run = log.run_id().clone();
        let limit = MAX_JOBS;
        Err(Refusal::TooManyJobs { run, limit }.into())
    }

    /// The lease of an id that is free.
    fn claim_one(
        jobs: &Dir,
        view: &LogView<'_>,
        job: &JobId,
    ) -> Result<Option<Lease>, StorageError> {
        match view.state.job(job.as_str()) {
            Some(_) => Ok(None),
            None => Lease::take(jobs, job),
        }
    }

    fn default_id(&self) -> JobId {
        if self.spec.after == AfterJob::CloseOwn {
            // The run is all this job's: they share the name.
            return JobId::from_name(&self.opening.name);
        }
        let program = self.spec.argv.first().map(Path::new);
        let name = program.and_then(Path::file_name).unwrap_or_default();
        JobId::from_name(&self.spec.masked(&name.to_string_lossy()))
    }
}

fn sync_jobs(log: &RunLog) -> Result<(), AppendError> {
    let jobs = log.dir().open_dir(layout::JOBS)?;
    Ok(jobs.sync().map_err(SyncError::from_volume)?)
}
