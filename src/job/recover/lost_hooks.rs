//! Hooks of lost jobs, which run after the end of the job is in the log.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::deferred_command;
use super::in_doubt::InDoubt;
use super::recorded_job::recorded_jobs;
use super::undo::UndoError;
use crate::job::capture::stream::OnWarning;
use crate::job::process::file_ownership::check_ownership;
use crate::job::spec::job_spec::Hooks;
use crate::job::spec::stream_plan::OutputDelivery;
use crate::job::status::run_status::inspect_run;
use crate::job::supervise::hooks::{HookResult, MakeHookInput, ended_hook};
use crate::job::supervise::outcome::end_from_log;
use crate::log::format::payload::{JobSubmitted, RecordedHooks};
use crate::log::{
    DamageReason, FollowStart, Follower, Item, JobScope, JobState, Lease, RunLog, RunStatus,
    StorageError, Update,
};
use crate::volume::{Dir, JobId, RunId, Volume, error_chain, layout};

/// A hook of a lost job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostHook {
    /// The job.
    pub job_id: JobId,
    /// The hook, and why it failed or did not run.
    #[serde(flatten)]
    pub result: HookResult,
}

/// Runs the hooks of lost jobs.
pub struct LostHooks<'a> {
    /// The volume.
    pub volume: &'a Volume,
    /// The log of the run, in which the jobs have ended.
    pub log: Arc<RunLog>,
    /// The hooks of jobs that recorded none.
    pub defaults: &'a Hooks,
    /// Creates the input of the hooks.
    pub input: MakeHookInput,
    /// Called for problems.
    pub on_warning: &'a OnWarning,
}

/// Returns the jobs that an earlier recovery ended and that recorded hooks that have not run, and
/// checks that recorded hooks of the run may run.
///
/// # Errors
/// Another user may have written the log, or damage may hide that the hooks ran.
pub fn due_hooks(
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
    in_doubt: InDoubt,
) -> Result<Vec<JobId>, UndoError> {
    let inspected = inspect_run(dir, JobScope::All)?;
    let jobs = inspected.summary.state.jobs.iter();
    let ended = jobs.filter(|job| job.is_lost());
    let ended: Vec<_> = ended.map(|job| job.job_id.clone()).collect();
    let recorded = recorded_jobs(dir, &ended)?;
    let mut ran = EndedHooks::default();
    if !ended.is_empty() {
        ran.catch_up(dir)?;
    }
    let is_due = |job: &JobId| {
        let hooks = recorded.get(job).and_then(|job| job.hooks.clone());
        let hooks = hooks.map(|hooks| ran.without(hooks.into(), job));
        hooks.is_some_and(|hooks| hooks.on_failure.is_some() || hooks.on_end.is_some())
    };
    let due: Vec<_> = ended.into_iter().filter(is_due).collect();
    if inspected.verdict.state != RunStatus::Lost && due.is_empty() {
        return Ok(due);
    }
    if ran.may_lack_some && !due.is_empty() {
        in_doubt.allow_uncertain(run)?;
    }
    match check_ownership(volume, run, dir)? {
        Some(untrusted) => Err(untrusted.into()),
        None => Ok(due),
    }
}

/// The hooks that have an end in the log.
struct EndedHooks {
    log: Follower,
    names: HashSet<(JobId, String)>,
    /// Whether damage may hide the end of another hook.
    may_lack_some: bool,
}

impl Default for EndedHooks {
    fn default() -> Self {
        Self {
            log: Follower::new(FollowStart::Beginning),
            names: HashSet::new(),
            may_lack_some: false,
        }
    }
}

impl EndedHooks {
    /// Reads the events that were added to the log of the run in `dir` since the last call.
    ///
    /// # Errors
    /// The log cannot be read.
    fn catch_up(&mut self, dir: &Dir) -> Result<(), StorageError> {
        let Some(Update { mut reader, .. }) = self.log.poll(dir, &|_| true)? else {
            return Ok(());
        };
        while let Some(item) = reader.next_item()? {
            self.names.extend(ended_hook(&item));
            match &item {
                Item::Damage(damage) => {
                    self.may_lack_some |= damage.reason != DamageReason::Repeated;
                }
                Item::Dropped(_) => self.may_lack_some = true,
                Item::Event(..) | Item::Foreign(..) => {}
            }
        }
        self.log.mark_read(&reader);
        Ok(())
    }

    /// Returns the hooks of a job without those that have ended.
    fn without(&self, mut hooks: Hooks, job: &JobId) -> Hooks {
        for (name, command) in [
            ("on_failure", &mut hooks.on_failure),
            ("on_end", &mut hooks.on_end),
        ] {
            if self.names.contains(&(job.clone(), name.to_owned())) {
                *command = None;
            }
        }
        hooks
    }
}

impl LostHooks<'_> {
    /// Runs the hooks of these jobs, one after the other. Problems do not affect the recovery,
    /// which is complete.
    pub fn run(&self, jobs: &[JobId]) -> Vec<LostHook> {
        let mut ran = Vec::new();
        if let Err(e) = self.run_jobs(jobs, &mut ran) {
            (self.on_warning)(&format!("hooks were not run: {}", error_chain(&e)));
        }
        ran
    }

    fn run_jobs(&self, jobs: &[JobId], ran: &mut Vec<LostHook>) -> Result<(), UndoError> {
        let dir = self.log.dir();
        let recorded = recorded_jobs(dir, jobs)?;
        let state = crate::log::fold(dir)?;
        let mut ended = EndedHooks::default();
        for id in jobs {
            let Some(job) = state.job(id.as_str()) else {
                continue;
            };
            let results = self.run_hooks(job, recorded.get(id), &mut ended)?;
            ran.extend(results.into_iter().map(|result| LostHook {
                job_id: id.clone(),
                result,
            }));
        }
        Ok(())
    }

    fn run_hooks(
        &self,
        job: &JobState,
        recorded: Option<&JobSubmitted>,
        ended: &mut EndedHooks,
    ) -> Result<Vec<HookResult>, UndoError> {
        let id = &job.job_id;
        let hooks = recorded.and_then(|submitted| submitted.hooks.clone());
        let is_masked = hooks.as_ref().is_some_and(|hooks| hooks.redacted);
        let hooks = hooks.map_or_else(|| self.defaults.clone(), Hooks::from);
        let jobs = self.log.dir().ensure_dir(layout::JOBS);
        let jobs = jobs.map_err(StorageError::from)?.dir;
        let Some(lease) = Lease::hold(&jobs, id)? else {
            (self.on_warning)(&format!(
                "the hooks of job {id} were not run: another process holds its lease"
            ));
            return Ok(Vec::new());
        };
        // Another recovery may have run them before this one got the lease.
        ended.catch_up(self.log.dir())?;
        let hooks = ended.without(hooks, id);
        let cwd = recorded.and_then(JobSubmitted::recorded_cwd);
        let spec = deferred_command::spec(id, cwd, hooks);
        let (mut supervisor, events) = deferred_command::supervisor(
            &spec,
            self.volume,
            &self.log,
            (id, lease),
            self.on_warning,
        )?;
        let end = end_from_log(job);
        Ok(if is_masked {
            supervisor.refuse_hooks(
                &events,
                &end,
                "its recorded command contains masked secrets",
            )
        } else {
            supervisor.run_hooks(&events, &end, &self.input)
        })
    }
}

impl From<RecordedHooks> for Hooks {
    fn from(recorded: RecordedHooks) -> Self {
        Self {
            on_success: recorded.on_success,
            on_failure: recorded.on_failure,
            on_end: recorded.on_end,
            delivery: OutputDelivery::AsItArrives,
        }
    }
}
