//! What precedes the start of a job, written in one batch and made durable by one sync.

use std::path::{Path, PathBuf};

use super::run::{close_if_open, closing};
use super::sink::Sink;
use super::spec::{After, JobSpec};
use super::stages::{self, Stages};
use crate::log::payload::{ErrorKind, JobEnded, JobError, JobValidated, RunOpened};
use crate::log::{
    Batch, Close, Draft, Durability, EventType, Lease, LogError, MAX_JOBS, RunLog, View,
};
use crate::telemetry::Snapshots;
use crate::volume::{Dir, JobId, layout};

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
        let budget = EventType::JobSubmitted.lock_budget();
        let written = log.append_with(Durability::Power, budget, |view| {
            let (stages, sink, batch) = self.batch(log, view)?;
            made = Some((stages, sink));
            Ok(batch)
        });
        match (written, made) {
            (Ok(_), Some(made)) => Ok(made),
            (Ok(_), None) => Err(LogError::NoSuchRun {
                run: log.run_id().to_string(),
            }),
            (Err(e), made) => {
                if let (LogError::ShortWrite { .. } | LogError::NotDurable { .. }, Some(made)) =
                    (&e, &made)
                {
                    self.call_off(log, &made.0, &e);
                }
                Err(e)
            }
        }
    }

    /// Some of it stands in the log, but the job will not be started: as far as the log
    /// takes it, it is told so.
    fn call_off(&self, log: &RunLog, stages: &Stages, why: &LogError) {
        let error = JobError {
            kind: ErrorKind::Canceled,
            message: format!("the job was not started: {why}"),
        };
        let event = JobEnded {
            error: Some(error),
            ..JobEnded::default()
        };
        let budget = EventType::JobSubmitted.lock_budget();
        let written = log.append_with(Durability::Power, budget, |view| {
            let job = view.state.job(stages.job.as_str());
            let drafts = if job.is_some_and(|job| job.stage.is_terminal()) {
                Vec::new()
            } else {
                vec![stages.ended(&event, &self.before)?]
            };
            let close = close_if_open(closing(self.spec.after), view);
            Ok(Batch { drafts, close })
        });
        // The caller is told of the first trouble already.
        drop(written);
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
        let (jobs, _) = log.dir().make_sub(layout::JOBS)?;
        let job = self.job_id(log, &jobs, view)?;
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

    fn job_id(&self, log: &RunLog, jobs: &Dir, view: &View<'_>) -> Result<JobId, LogError> {
        if let Some(job) = &self.spec.job_id {
            if Self::is_free(jobs, view, job) {
                return Ok(job.clone());
            }
            return Err(LogError::JobTaken {
                run: log.run_id().clone(),
                job: job.clone(),
            });
        }
        if self.spec.after == After::CloseOwn {
            // The run is all this job's: they share the name.
            return Ok(Self::free_id(&self.opening.name, jobs, view));
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
        Ok(Self::free_id(&name, jobs, view))
    }

    /// Not in the log, and no output of that name, which may be all that is left of a job
    /// whose events were lost.
    fn is_free(jobs: &Dir, view: &View<'_>, job: &JobId) -> bool {
        let printed = || match jobs.stat(&layout::job_out(job)) {
            Ok(stat) => stat.is_some_and(|stat| stat.st_size > 0),
            Err(_) => true,
        };
        view.state.job(job.as_str()).is_none() && !printed()
    }

    /// An id made from a name, numbered where it is taken.
    fn free_id(name: &str, jobs: &Dir, view: &View<'_>) -> JobId {
        let base = JobId::from_name(name);
        let numbered = (2..).map(|n| base.numbered(n));
        let free = |job: &JobId| Self::is_free(jobs, view, job);
        std::iter::once(base.clone())
            .chain(numbered)
            .find(free)
            .unwrap_or_else(|| base.clone())
    }
}
