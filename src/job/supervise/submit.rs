//! What precedes the start of a job, written in one batch and made durable by one sync.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::control::JobControl;
use super::job_events;
use super::job_events::JobEvents;
use super::supervisor::{close_if_open, close_policy};
use crate::job::capture::output_file::{OutputFile, OutputTarget};
use crate::job::capture::splice_pipe::SplicePipe;
use crate::job::process::liveness;
use crate::job::process::signals::signal_name;
use crate::job::process::supervision_page::{ROLLBACK_STEP, SupervisionPage};
use crate::job::process::wait_status::WaitStatus;
use crate::job::spec::job_spec::{AfterJob, JobSpec};
use crate::log::format::payload::{
    ErrorKind, JobEnded, JobError, JobValidated, RunOpened, SupervisorReplaced,
};
use crate::log::{
    AppendError, Batch, Close, Draft, Durability, EventType, IndexRecord, JobState, Lease, LogView,
    MAX_JOBS, OutputIndex, Refusal, RunLog, Stage, StorageError, SyncError,
};
use crate::telemetry::Snapshots;
use crate::volume::{Dir, IoContext, JobId, RunId, error_chain, layout};

/// What precedes the start.
pub(crate) struct Submission<'a> {
    pub spec: &'a JobSpec,
    pub opening: RunOpened,
    pub before: Snapshots,
    pub validated: &'a Result<PathBuf, JobError>,
    pub control: &'a JobControl,
    /// The lease, if a supervisor that died had it.
    pub lease: Option<OwnedFd>,
    /// A pipe for output on its way into the file, which outlives this process.
    pub relay: Option<SplicePipe>,
    /// How the supervisor before this one died.
    pub predecessor: Option<WaitStatus>,
}

/// A job that is in the log.
pub(crate) struct Submitted {
    pub stages: JobEvents,
    pub sink: OutputFile,
    /// What the log said of it before, if a supervisor that died had submitted it.
    pub known: Option<JobState>,
}

/// The id of a job, with its lease.
struct ClaimedId {
    job: JobId,
    lease: Lease,
}

impl Submission<'_> {
    /// Under the run's locks: the run is open, the id is free, the output file is made,
    /// its lease is taken, and all that precedes the start is written, in one batch.
    ///
    /// # Errors
    /// The job is not in the log, or not durably, and must not be started.
    pub(crate) fn submit(mut self, log: &RunLog) -> Result<Submitted, AppendError> {
        let mut made = None;
        let budget = EventType::JobSubmitted.lock_budget();
        let written = log.append_with(Durability::Power, budget, |view| {
            let (submitted, batch) = self.batch(log, view)?;
            made = Some(submitted);
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
                if let Some(made) = made.filter(|made| stands && made.known.is_none()) {
                    self.cancel(log, &made.stages, &e);
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
        &mut self,
        log: &RunLog,
        view: &LogView<'_>,
    ) -> Result<(Submitted, Batch), AppendError> {
        let (spec, run) = (self.spec, log.run_id());
        let jobs = log.dir().ensure_dir(layout::JOBS)?.dir;
        let resumed = self.resume(&jobs)?;
        let known = resumed
            .as_ref()
            .and_then(|it| view.state.job(it.job.as_str()));
        if known.is_none() {
            Self::check_open(view, run)?;
        }
        let ClaimedId { job, lease } = match resumed {
            Some(resumed) => resumed,
            None => self.claim(log, &jobs, view)?,
        };
        let sink = self.sink(log, &jobs, &job, lease)?;
        let stages = JobEvents {
            run: run.clone(),
            job,
            before: self.before.clone(),
        };
        let mut drafts = Vec::new();
        if view.is_new {
            drafts.push(Draft::new(EventType::RunOpened, run, None, &self.opening)?);
        }
        let stage = known.map(|job| job.stage);
        if stage.is_none() {
            let front = self.control.front_pid();
            drafts.push(stages.submitted(&job_events::submitted(spec, front))?);
        }
        let mut close = Close::No;
        match self.validated {
            Ok(program) if matches!(stage, None | Some(Stage::Submitted)) => {
                // The name of a file counts from the working directory.
                let program = spec.cwd.join(program.strip_prefix(".").unwrap_or(program));
                let program = program.to_string_lossy().into_owned();
                drafts.push(stages.validated(&JobValidated { program })?);
            }
            Err(error) if matches!(stage, None | Some(Stage::Submitted)) => {
                let ended = JobEnded {
                    error: Some(error.clone()),
                    ..JobEnded::default()
                };
                drafts.push(stages.ended(&ended, &self.before)?);
                close = close_if_open(close_policy(spec.after), view);
            }
            Ok(_) | Err(_) => {}
        }
        if let (Some(died), Some(known)) = (self.predecessor, known)
            && !known.stage.is_terminal()
        {
            drafts.push(stages.supervisor_replaced(&self.replaced(died, &sink))?);
        }
        let known = known.cloned();
        let submitted = Submitted {
            stages,
            sink,
            known,
        };
        Ok((submitted, Batch { drafts, close }))
    }

    fn check_open(view: &LogView<'_>, run: &RunId) -> Result<(), AppendError> {
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
        Ok(())
    }

    /// Returns the id and the lease of the job that a supervisor that died has claimed.
    fn resume(&mut self, jobs: &Dir) -> Result<Option<ClaimedId>, AppendError> {
        let Some(job) = self
            .control
            .page
            .job()
            .and_then(|job| job.parse::<JobId>().ok())
        else {
            return Ok(None);
        };
        let lease = match self.lease.take() {
            Some(lease) => Some(Lease::inherit(lease.into())),
            // It died before it had handed the lease over.
            None => Lease::hold(jobs, &job)?,
        };
        Ok(lease.map(|lease| ClaimedId { job, lease }))
    }

    /// Makes the sink of the job, and hands the lease to the front.
    fn sink(
        &mut self,
        log: &RunLog,
        jobs: &Dir,
        job: &JobId,
        lease: Lease,
    ) -> Result<OutputFile, AppendError> {
        let page = self.control.page;
        page.record_job(job.as_str());
        if let Some(link) = self.control.link() {
            // A front that is gone needs no lease.
            link.send_lease(lease.file().as_fd()).ok();
        }
        let capture = self.spec.output.capture;
        let target = OutputTarget {
            lease,
            index: if capture {
                Some(jobs.append(&layout::job_index(job))?)
            } else {
                None
            },
            indexed: indexed_bytes(log, job, page)?,
            limit: self.spec.output.limit,
            relay: self.relay.take(),
        };
        let mut sink = OutputFile::new(target, self.spec.redactor.as_ref(), page);
        if self.predecessor.is_some() {
            sink.mark_replacement(page.output.in_hand_bytes().iter().sum());
        }
        Ok(sink)
    }

    /// What the log says of the supervisor that died.
    fn replaced(&self, died: WaitStatus, sink: &OutputFile) -> SupervisorReplaced {
        let page = self.control.page;
        let [stdout, stderr] = page.output.in_hand_bytes();
        let (exit_code, signal) = match died {
            WaitStatus::Exited(code) => (Some(code), None),
            WaitStatus::Signaled(signal) => (None, Some(signal_name(signal))),
        };
        let step = page.claimed().map_or(0, |claim| claim.step);
        SupervisorReplaced {
            supervisor: liveness::process(std::process::id()),
            exit_code,
            signal,
            attempt: if step == ROLLBACK_STEP { 0 } else { step },
            captured_bytes: sink.output().captured_bytes,
            uncertain_stdout_bytes: stdout,
            uncertain_stderr_bytes: stderr,
        }
    }

    /// Claims the id of the job, and takes its lease.
    fn claim(
        &self,
        log: &RunLog,
        jobs: &Dir,
        view: &LogView<'_>,
    ) -> Result<ClaimedId, AppendError> {
        if let Some(job) = &self.spec.job_id {
            return Self::claim_one(jobs, view, job)?
                .map(|lease| ClaimedId {
                    job: job.clone(),
                    lease,
                })
                .ok_or_else(|| {
                    let (run, job) = (log.run_id().clone(), job.clone());
                    Refusal::JobTaken { run, job }.into()
                });
        }
        let base = self.default_id();
        let mut job = base.clone();
        for n in 2.. {
            if let Some(lease) = Self::claim_one(jobs, view, &job)? {
                return Ok(ClaimedId { job, lease });
            }
            job = base.numbered(n);
        }
        let run = log.run_id().clone();
        let limit = MAX_JOBS;
        Err(Refusal::TooManyJobs { run, limit }.into())
    }

    /// Takes the lease of an id that is free.
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

/// Returns how far the index of the job's output goes.
fn indexed_bytes(log: &RunLog, job: &JobId, page: &SupervisionPage) -> Result<u64, StorageError> {
    let mut end = 0;
    if page.claimed().is_none() {
        return Ok(end);
    }
    if let Some(mut index) = OutputIndex::open(log.dir(), job)? {
        let path = log.dir().path().join(layout::JOBS);
        while let Some(record) = index
            .next_record()
            .at("read", path.join(layout::job_index(job)))?
        {
            if let IndexRecord::Range(range) = record {
                end = range.end;
            }
        }
    }
    Ok(end)
}

fn sync_jobs(log: &RunLog) -> Result<(), AppendError> {
    let jobs = log.dir().open_dir(layout::JOBS)?;
    Ok(jobs.sync().map_err(SyncError::from_volume)?)
}
