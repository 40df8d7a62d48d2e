//! The events before the start of a job, written in one batch and made durable with one sync.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::append_terminal::{close_if_open, close_policy};
use super::claim::{ClaimedId, JobsSoFar, claim};
use super::control::JobControl;
use super::job_events;
use super::job_events::JobEvents;
use super::output_check::OutputCheck;
use crate::job::capture::output_file::{OutputFile, OutputTarget};
use crate::job::capture::splice_pipe::SplicePipe;
use crate::job::capture::stream::OnUnstored;
use crate::job::process::liveness;
use crate::job::process::signals::signal_name;
use crate::job::process::supervision_page::{ROLLBACK_STEP, SupervisionPage};
use crate::job::process::wait_status::WaitStatus;
use crate::job::spec::job_spec::{AfterJob, JobSpec};
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, RunOpened, SupervisorReplaced};
use crate::log::{
    AppendError, Batch, Close, Draft, Durability, EventType, IndexRecord, JobState, Lease, LogView,
    MAX_JOBS, OutputIndex, Refusal, RunLog, Stage, StorageError, SyncError,
};
use crate::telemetry::Snapshots;
use crate::volume::{Dir, DirStamp, JobId, RunId, error_chain, layout};

/// The facts before the start.
pub(crate) struct Submission<'a> {
    pub spec: &'a JobSpec,
    pub opening: RunOpened,
    pub before: Snapshots,
    pub validated: &'a Result<PathBuf, JobError>,
    pub control: &'a JobControl,
    /// The lease, if a supervisor that died held it.
    pub lease: Option<OwnedFd>,
    /// A pipe for output on its way into the file, which outlives this process.
    pub relay: Option<SplicePipe>,
    /// The target of output after storing has stopped.
    pub on_unstored: Option<OnUnstored>,
    /// How the previous supervisor died.
    pub predecessor: Option<WaitStatus>,
    /// The end of the output that the previous supervisor has indexed, found by
    /// [`Submission::submit`].
    pub indexed: u64,
}

/// A job that is in the log.
pub(crate) struct Submitted {
    pub events: JobEvents,
    pub sink: OutputFile,
    /// The state in the log, if a supervisor that died had submitted the job.
    pub known: Option<JobState>,
}

/// A batch that submits a job, and the claims for it.
struct Claimed {
    submitted: Submitted,
    /// The number of lines up to `job_submitted`.
    lines: usize,
    /// The number of lines up to the end of a job that cannot be started.
    lines_to_end: Option<usize>,
}

impl Submission<'_> {
    /// Submits the job under the locks of its run: the run is open and the id is unused, the
    /// output file is created and its lease taken, and all events before the start are appended
    /// in one batch.
    ///
    /// # Errors
    /// The job is not in the log, or not durably, and must not be started.
    pub(crate) fn submit(mut self, log: &RunLog) -> Result<Submitted, AppendError> {
        let mut claimed = None;
        let timeout = EventType::JobSubmitted.lock_budget();
        self.indexed = self.indexed_bytes(log)?;
        let mut appended = Ok(());
        if !self.needs_state() {
            let outputs = OutputCheck::new(log)?;
            if outputs.is_complete {
                appended = log
                    .append_counted(Durability::Power, timeout, |view, counts| {
                        let so_far = JobsSoFar::Counted(counts, &outputs);
                        self.batch(log, view, so_far, &mut claimed)
                    })
                    .map(drop);
            }
        }
        if appended.is_ok() && claimed.is_none() {
            // Only the log shows whether the id is unused.
            appended = log
                .append_with_state(Durability::Power, timeout, |view, state| {
                    let so_far = if view.is_uncertain {
                        JobsSoFar::Uncertain(state)
                    } else {
                        JobsSoFar::Folded(state)
                    };
                    self.batch(log, view, so_far, &mut claimed)
                })
                .map(drop);
        }
        let in_log = match &appended {
            Ok(()) | Err(AppendError::NotDurable(_)) => usize::MAX,
            Err(AppendError::Partial { written, .. }) => *written,
            Err(_) => 0,
        };
        // Sync the name of the lease too. Without it, nothing would show after a power loss
        // whether the supervisor is alive.
        match (appended.and_then(|()| sync_jobs(log)), claimed) {
            (Ok(()), Some(claimed)) => {
                self.control.page.output.clear_in_hand();
                Ok(claimed.submitted)
            }
            (Ok(()), None) => Err(StorageError::RunRemoved {
                path: log.dir().path().to_owned(),
            }
            .into()),
            (Err(e), claimed) => {
                match claimed {
                    Some(claimed) if claimed.submitted.known.is_some() => {}
                    Some(claimed) if in_log > 0 => self.cancel(log, &claimed, in_log, &e),
                    // The front holds the lease too, and would keep the empty directory.
                    Some(claimed) => claimed.submitted.sink.release_lease(),
                    None => {}
                }
                Err(e)
            }
        }
    }

    /// Returns whether the batch depends on the state of the run: a supervisor that died may
    /// have submitted the job, or the run may close with it.
    fn needs_state(&self) -> bool {
        let closes = self.validated.is_err() && close_policy(self.spec.after) != Close::No;
        closes || self.predecessor.is_some() || self.control.page.job().is_some()
    }

    /// Ends a job that will not be started, if the log allows it. `in_log` is the number of
    /// lines of its submission that are in the log.
    fn cancel(&self, log: &RunLog, claimed: &Claimed, in_log: usize, why: &AppendError) {
        let what = if self.spec.log_optional {
            "the job runs without a log"
        } else {
            "the job was not started"
        };
        let error = JobError {
            kind: ErrorKind::Canceled,
            message: format!("{what}: {}", error_chain(why)),
        };
        let event = JobEnded {
            error: Some(error),
            ..JobEnded::default()
        };
        let is_open = in_log >= claimed.lines && claimed.lines_to_end.is_none_or(|n| in_log < n);
        let timeout = EventType::JobSubmitted.lock_budget();
        let canceled = log.append_with(Durability::Power, timeout, |view| {
            let mut drafts = Vec::new();
            if is_open {
                drafts.push(claimed.submitted.events.ended(&event, &self.before)?);
            }
            let close = close_if_open(close_policy(self.spec.after), view);
            Ok(Batch { drafts, close })
        });
        // The caller reports the first error.
        drop(canceled);
    }

    /// Creates the batch, and claims what the job needs. Without a claim, the batch is empty.
    fn batch(
        &mut self,
        log: &RunLog,
        view: LogView,
        so_far: JobsSoFar<'_>,
        claimed: &mut Option<Claimed>,
    ) -> Result<Batch, AppendError> {
        let (spec, run) = (self.spec, log.run_id());
        let jobs = log.dir().ensure_dir(layout::JOBS)?.dir;
        let resumed = self.resume(&jobs)?;
        let known = resumed.as_ref().and_then(|it| so_far.job(&it.job));
        if known.is_none() {
            check_open(view, so_far, run)?;
        }
        let wanted = spec.job_id.as_ref();
        let allows_stamp = so_far.allows_stamp(&jobs);
        let claim = match resumed {
            Some(resumed) => Some(resumed),
            None => claim(run, &jobs, so_far, wanted, || self.default_id())?,
        };
        let Some(ClaimedId { job, lease }) = claim else {
            return Ok(Batch::only(Close::No));
        };
        let sink = self.sink(&jobs, &job, lease)?;
        if allows_stamp {
            DirStamp::store(&jobs);
        }
        let events = JobEvents {
            run: run.clone(),
            job,
            before: self.before.clone(),
            redaction: self.spec.redaction.clone(),
        };
        let mut drafts = Vec::new();
        if view.is_new {
            drafts.push(Draft::new(run, None, &self.opening)?);
        }
        let stage = known.map(|job| job.stage);
        if stage.is_none() {
            let front = self.control.front_pid();
            drafts.push(events.submitted(&job_events::submitted(spec, front))?);
        }
        let lines = drafts.len();
        let mut lines_to_end = None;
        let mut close = Close::No;
        match self.validated {
            Ok(program) if matches!(stage, None | Some(Stage::Submitted)) => {
                // The name of a file is relative to the working directory.
                let program = spec.cwd.join(program.strip_prefix(".").unwrap_or(program));
                drafts.push(events.validated(&job_events::validated(spec, &program))?);
            }
            Err(error) if matches!(stage, None | Some(Stage::Submitted)) => {
                let ended = JobEnded {
                    error: Some(error.clone()),
                    ..JobEnded::default()
                };
                drafts.push(events.ended(&ended, &self.before)?);
                lines_to_end = Some(drafts.len());
                close = close_if_open(close_policy(spec.after), view);
            }
            Ok(_) | Err(_) => {}
        }
        if let (Some(died), Some(known)) = (self.predecessor, known)
            && !view.is_closed
            && (!known.stage.is_terminal() || known.rollback_is_unfinished())
        {
            drafts.push(events.supervisor_replaced(&self.replaced(died, &sink))?);
        }
        let known = known.cloned();
        let submitted = Submitted {
            events,
            sink,
            known,
        };
        *claimed = Some(Claimed {
            submitted,
            lines,
            lines_to_end,
        });
        Ok(Batch { drafts, close })
    }

    /// Returns the id and the lease of the job that a supervisor that died had claimed.
    fn resume(&mut self, jobs: &Dir) -> Result<Option<ClaimedId>, AppendError> {
        let Some(job) = claimed_job(self.control.page) else {
            return Ok(None);
        };
        let lease = match self.lease.take() {
            Some(lease) => Some(Lease::inherit(lease.into())),
            // It died before it had sent the lease.
            None => Lease::hold(jobs, &job)?,
        };
        Ok(lease.map(|lease| ClaimedId { job, lease }))
    }

    /// Creates the sink of the job, and sends the lease to the front.
    fn sink(&mut self, jobs: &Dir, job: &JobId, lease: Lease) -> Result<OutputFile, AppendError> {
        let page = self.control.page;
        page.record_job(job.as_str());
        if let Some(link) = self.control.link() {
            // A front that has exited needs no lease.
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
            indexed: self.indexed,
            limit: self.spec.output.limit,
            on_unstored: self.on_unstored.clone(),
            relay: self.relay.take(),
        };
        let mut sink = OutputFile::new(target, self.spec.redaction.all(), page);
        if self.predecessor.is_some() {
            sink.mark_replacement(page.output.in_hand_bytes());
        }
        Ok(sink)
    }

    /// Returns the record of the supervisor that died.
    fn replaced(&self, died: WaitStatus, sink: &OutputFile) -> SupervisorReplaced {
        let page = self.control.page;
        let [stdout, stderr, both] = sink.uncertain();
        let step = page.claimed().map_or(0, |claim| claim.step);
        SupervisorReplaced {
            supervisor: liveness::process(std::process::id()),
            exit_code: died.exit_code(),
            signal: died.signal().map(signal_name),
            attempt: if step == ROLLBACK_STEP { 0 } else { step },
            captured_bytes: sink.output().captured_bytes,
            uncertain_stdout_bytes: stdout,
            uncertain_stderr_bytes: stderr,
            uncertain_both_bytes: (both > 0).then_some(both),
        }
    }

    /// Returns the end of the output that a supervisor that died has indexed. Must be called
    /// without the locks, because it reads the whole index.
    fn indexed_bytes(&self, log: &RunLog) -> Result<u64, StorageError> {
        let mut end = 0;
        let page = self.control.page;
        let Some(job) = page.claimed().and_then(|_| claimed_job(page)) else {
            return Ok(end);
        };
        if let Some(mut index) = OutputIndex::open(log.dir(), &job)? {
            while let Some(record) = index.next_record()? {
                if let IndexRecord::Range(range) = record {
                    end = range.end;
                }
            }
        }
        Ok(end)
    }

    fn default_id(&self) -> JobId {
        if self.spec.after == AfterJob::CloseOwn {
            // The whole run belongs to this job, so they share the name.
            return JobId::from_name(&self.opening.name);
        }
        if let Some(of) = &self.spec.rerun_of {
            return of.job_id.clone();
        }
        let program = self.spec.argv.first().map(Path::new);
        let name = program.and_then(Path::file_name).unwrap_or_default();
        JobId::from_name(&self.spec.redaction.mask_message(&name.to_string_lossy()))
    }
}

/// Returns the job that a supervisor has claimed.
fn claimed_job(page: &SupervisionPage) -> Option<JobId> {
    page.job()?.parse().ok()
}

/// Rejects a job that the run does not accept.
fn check_open(view: LogView, so_far: JobsSoFar<'_>, run: &RunId) -> Result<(), AppendError> {
    let run = run.clone();
    if view.is_closed {
        return Err(Refusal::Closed { run }.into());
    }
    if so_far.counts().submitted >= MAX_JOBS as u64 {
        let limit = MAX_JOBS;
        return Err(Refusal::TooManyJobs { run, limit }.into());
    }
    Ok(())
}

fn sync_jobs(log: &RunLog) -> Result<(), AppendError> {
    let jobs = log.dir().open_dir(layout::JOBS)?;
    Ok(jobs.sync().map_err(SyncError::from_volume)?)
}
