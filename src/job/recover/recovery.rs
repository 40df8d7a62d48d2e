//! The options and the outcome of a recovery.

use serde::Serialize;

use super::in_doubt::InDoubt;
use super::lost_hooks::LostHook;
use super::undo::UndoOutcome;
use crate::job::process::job_processes::JobProcess;
use crate::job::status::run_status::InspectedRun;
use crate::log::{DamageList, RunStatus};
use crate::volume::JobId;

/// The action of recovery on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryAction {
    /// Nothing to do.
    None,
    /// Only its torn tail was repaired.
    Repaired,
    /// The jobs, or the run itself, got a terminal event.
    Recovered,
    /// The run was not changed.
    Skipped,
}

/// Whether recovery runs the rollbacks that lost jobs recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostJobRollback {
    /// Do not run them.
    Skip,
    /// Run them.
    Run,
}

/// The limits of recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryOptions {
    /// Whether the rollbacks of lost jobs are run.
    pub rollback: LostJobRollback,
    /// The policy for a run whose log may lack events, and for rollbacks while daemons of their
    /// jobs are running.
    pub in_doubt: InDoubt,
}

/// The outcome of the recovery of a run.
#[derive(Debug, Serialize)]
pub struct RecoveryOutcome {
    /// The action.
    pub action: RecoveryAction,
    /// The state before the recovery.
    pub was: RunStatus,
    /// The current state.
    pub state: RunStatus,
    /// The reason for that state, or why the run was skipped.
    pub because: String,
    /// The jobs that got a terminal event.
    pub jobs: Vec<JobId>,
    /// The outcomes of the rollbacks that were run.
    pub undone: Vec<UndoOutcome>,
    /// The hooks of the lost jobs, whether they ran or could not run.
    pub hooks: Vec<LostHook>,
    /// The jobs that an earlier recovery ended and whose recorded hooks are due.
    #[serde(skip)]
    pub hooks_due: Vec<JobId>,
    /// The processes that left their jobs and are still running.
    pub daemons: Vec<Daemon>,
    /// The jobs whose rollback was started but has no terminal event.
    #[serde(rename = "in_doubt")]
    pub unfinished_rollbacks: Vec<JobId>,
    /// The damage that was found in the log before the recovery.
    #[serde(skip)]
    pub damage: DamageList,
    /// Whether another program wrote the run.
    #[serde(skip)]
    pub is_foreign: bool,
}

impl RecoveryOutcome {
    /// Creates the outcome for an unchanged run.
    pub(super) fn new(inspected: &InspectedRun) -> Self {
        Self {
            action: RecoveryAction::None,
            was: inspected.verdict.state,
            state: inspected.verdict.state,
            because: inspected.verdict.because.clone(),
            jobs: Vec::new(),
            undone: Vec::new(),
            hooks: Vec::new(),
            hooks_due: Vec::new(),
            daemons: Vec::new(),
            unfinished_rollbacks: Vec::new(),
            damage: inspected.summary.damage.clone(),
            is_foreign: inspected.summary.state.foreign,
        }
    }

    /// Records why the run was not changed, or not completely.
    pub(super) fn skip(&mut self, why: String) {
        self.action = RecoveryAction::Skipped;
        self.because = why;
    }
}

/// A process that left the group and the session of its job, which has ended, and that continues
/// by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Daemon {
    /// The job that started it.
    pub job_id: JobId,
    /// The process.
    #[serde(flatten)]
    pub process: JobProcess,
}
