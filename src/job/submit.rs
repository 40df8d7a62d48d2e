//! What precedes the start of a job, written in one batch and made durable by one sync.

use std::path::{Path, PathBuf};

use super::run::closing;
use super::sink::Sink;
use super::spec::JobSpec;
use super::stages::{self, Stages};
use crate::log::payload::{JobEnded, JobError, JobValidated, RunOpened};
use crate::log::{
    Batch, Close, Draft, Durability, EventType, Lease, LogError, MAX_JOBS, RunLog, View,
};
use crate::telemetry::Snapshots;
use crate::volume::{JobId, layout};

/// What precedes the start.
pub(super) struct Submission<'a> {
    pub spec: &'a JobSpec,
    pub opening: RunOpened,
    pub before: Snapshots,
    pub validated: &'a Result<PathBuf, JobError>,
}

impl Submission<'_> {
    /// Under the run's locks: the run is open, the id is free, the output file is made,
    /// its lease is taken, and all that precedes the start is written, in one batch.
    pub(super) fn submit(self, log: &RunLog) -> Result<(Stages, Sink), LogError> {
        let mut made = None;
        log.append_with(
            Durability::Power,
            EventType::JobSubmitted.lock_budget(),
            |view| {
                let (stages, sink, batch) = self.batch(log, view)?;
                made = Some((stages, sink));
                Ok(batch)
            },
        )?;
        made.ok_or_else(|| LogError::NoSuchRun {
            run: log.run_id().to_string(),
        })
    }

    fn batch(&self, log: &RunLog, view: &View<'_>) -> Result<(Stages, Sink, Batch), LogError> {
        let (spec, run) = (self.spec, log.run_id());
        if view.state.is_closed() {
            return Err(LogError::Closed { run: run.clone() });
        }
        if view.state.jobs_total >= MAX_JOBS {
            return Err(LogError::TooManyJobs {
                run: run.clone(),
                limit: MAX_JOBS,
            });
        }
        let job = self.job_id(log, view)?;
        let (jobs, _) = log.dir().make_sub(layout::JOBS)?;
        let lease = Lease::take(&jobs, &job)?;
        let index = if spec.output.capture {
            Some(jobs.append(&layout::job_index(&job), true)?)
        } else {
            None
        };
        let sink = Sink::new(lease, index, spec.output.limit, spec.redactor.as_ref());

        let stages = Stages {
            run: run.clone(),
            job,
            before: self.before.clone(),
        };
        let mut drafts = Vec::new();
        if view.is_new {
            drafts.push(Draft::new(EventType::RunOpened, run, None, &self.opening)?);
        }
        drafts.push(stages.submitted(&stages::submitted(spec))?);
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
                close = closing(spec.after);
            }
        }
        Ok((stages, sink, Batch { drafts, close }))
    }

    fn job_id(&self, log: &RunLog, view: &View<'_>) -> Result<JobId, LogError> {
        if let Some(job) = &self.spec.job_id {
            return match view.state.job(job.as_str()) {
                None => Ok(job.clone()),
                Some(_) => Err(LogError::JobTaken {
                    run: log.run_id().clone(),
                    job: job.clone(),
                }),
            };
        }
        let program = self.spec.argv.first().map(Path::new);
        let name = program
            .and_then(|p| p.file_name())
            .unwrap_or_default()
            .to_string_lossy();
        let name = match &self.spec.redactor {
            Some(redactor) => redactor.mask_str(&name).into_owned(),
            None => name.into_owned(),
        };
        let base = JobId::from_name(&name);
        let numbered = (2..).map(|n| base.numbered(n));
        let free = |job: &JobId| view.state.job(job.as_str()).is_none();
        Ok(std::iter::once(base.clone())
            .chain(numbered)
            .find(free)
            .unwrap_or(base))
    }
}
