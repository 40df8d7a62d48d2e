//! Jobs: wrapped commands, supervised from their submission to their end.

pub(crate) mod capture;
mod error;
pub mod gc;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod recover;
pub(crate) mod redact;
pub(crate) mod search;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod supervise;

pub use crate::job::capture::stream::{OnUnstored, OnWarning};
pub use crate::job::error::StartError;
pub use crate::job::output::interleave::{PlaybackItem, play};
pub use crate::job::output::job_output::{
    CopyError, JobOutput, PrintedChunk, SkipLines, UnindexedBytes, last_output_bytes,
};
pub use crate::job::process::file_ownership::UntrustedLog;
pub use crate::job::process::fork::wait_for_other_threads;
pub(crate) use crate::job::process::inherited::was_closed;
pub use crate::job::process::interrupts::{Interrupts, ShutdownSignal};
pub use crate::job::process::job_env::{
    JOB_VARIABLE, JOB_VOLUME_VARIABLE, JOBS_VARIABLE, RUN_VARIABLE, enclosing_jobs,
};
pub use crate::job::process::open_file_limit::raise_open_file_limit;
pub use crate::job::process::signals::{end_by, ignore_file_size_signal, parse_signal};
pub use crate::job::process::socket::unread_of_socket;
pub use crate::job::process::supervision_page::RunResult;
pub use crate::job::recover::in_doubt::{InDoubt, UncertainLog};
pub use crate::job::recover::lost_hooks::{LostHook, LostHooks, due_hooks};
pub use crate::job::recover::recorded_job::expand_references;
pub use crate::job::recover::recover_run::{plan_recovery, recover};
pub use crate::job::recover::recovery::{
    LostJobRollback, RecoveryAction, RecoveryOptions, RecoveryOutcome,
};
pub use crate::job::recover::rerun::{
    RecordedJob, RerunError, RerunJobs, RunningJob, jobs_to_rerun, record_rerun,
};
pub use crate::job::recover::stop_run::{PendingStop, StopOptions, StopOutcome};
pub use crate::job::recover::undo::{UndoError, UndoOutcome, plan_undo, undo};
pub use crate::job::redact::redaction::{Redaction, SecretEnv};
pub use crate::job::redact::secret_variables::variable_reference;
pub use crate::job::search::event_search::search_events;
pub use crate::job::search::line_search::{
    FoundLine, LineKind, LinePattern, LineSearch, PatternCase, SearchItem, SearchOptions,
};
pub use crate::job::search::output_search::{OutputSelection, search_output, stored_outputs};
pub use crate::job::spec::job_spec::{
    AfterJob, DEFAULT_KILL_AFTER, DurationBounds, Guards, HeldLock, Hooks, JobSpec, JobTrace,
    OutputMode, RerunOf,
};
pub use crate::job::spec::retry_policy::{RetryOn, RetryPolicy};
pub use crate::job::spec::stream_plan::{OutputDelivery, StreamLayout, StreamPlan, TerminalUse};
pub use crate::job::spec::validate::{DIRECTORY, NOT_EXECUTABLE, REQUIRED_PROBE};
pub use crate::job::status::live_run::{LiveJob, LiveRun};
pub use crate::job::status::run_status::{
    InspectedRun, RunVerdict, has_live_runlog, inspect_run, inspect_runs, run_verdict,
};
pub use crate::job::status::status_at::status_at;
pub use crate::job::status::typical_duration::{
    DurationVerdict, TypicalDurations, UsualDuration, median, usual_duration,
};
pub use crate::job::supervise::attached::{Attached, FrontOptions, Progress};
pub use crate::job::supervise::detach::{Detached, END_OF_REPORT, detach};
pub use crate::job::supervise::front::{FrontEnd, ProcessRole, start};
pub use crate::job::supervise::hooks::{HookInput, HookTrigger, MakeHookInput};
pub use crate::job::supervise::outcome::{JobEnd, Outcome};
pub use crate::job::supervise::run::{Prepared, Setup, prepare, run_job};
pub use crate::job::supervise::spawn_error::{
    BUSY_PROGRAM, FOREIGN_PROGRAM, MISSING_INTERPRETER, MISSING_LOADER, TOO_LONG,
    UNUSABLE_INTERPRETER,
};
pub use crate::job::supervise::unlogged::exec_unlogged;
pub use crate::log::RunStatus;
