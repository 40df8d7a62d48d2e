//! Jobs: one wrapped command each, supervised from its submission to its end.

pub(crate) mod capture;
mod error;
pub mod gc;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod recover;
pub(crate) mod redact;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod supervise;

pub use crate::job::capture::output_capture::{StreamId, Trouble};
pub use crate::job::error::StartError;
pub use crate::job::output::interleave::{Played, play};
pub use crate::job::output::job_output::{JobOutput, Piece, SkipLines, Unindexed, end_of_output};
pub use crate::job::process::sys::{Asked, Interrupts, ignore_file_size_signal, unread_of_socket};
pub use crate::job::recover::recover_run::{Action, Recovery, recover};
pub use crate::job::recover::undo::{UndoError, Undone, undo};
pub use crate::job::spec::job_spec::{
    After, Guards, JOB_VARIABLE, JobSpec, OutputMode, RUN_VARIABLE,
};
pub use crate::job::status::live_run::{JobSample, LiveJob, LiveRun};
pub use crate::job::status::run_status::{Examined, Inspected, examine, examine_runs, inspect};
pub use crate::job::status::status_at::inspect_past;
pub use crate::job::status::typical_duration::Usual;
pub use crate::job::supervise::detach::{Detached, detach};
pub use crate::job::supervise::outcome::{End, Outcome};
pub use crate::job::supervise::recorder::OnStarted;
pub use crate::job::supervise::run::{Prepared, Setup, prepare, run_job};
pub use crate::log::RunStateKind;
