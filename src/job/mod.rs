//! Jobs: one wrapped command each, supervised from its submission to its end.

mod capture;
mod child;
mod context;
mod detach;
mod end;
mod error;
pub mod gc;
mod inspect;
mod liveness;
mod output;
mod recorder;
mod recover;
pub mod redact;
mod rollback;
mod run;
mod sink;
mod spec;
mod stages;
mod submit;
mod sys;
mod trust;
mod undo;
mod validate;

pub use crate::log::RunStateKind;
pub use capture::{StreamId, Trouble};
pub use detach::{Detached, detach};
pub use end::{End, Outcome};
pub use error::StartError;
pub use inspect::{Examined, Inspected, examine, inspect};
pub use output::{JobOutput, SkipLines};
pub use recorder::OnStarted;
pub use recover::{Action, Recovery, recover};
pub use run::{Setup, run_job};
pub use spec::{After, Guards, JOB_VARIABLE, JobSpec, OutputMode, RUN_VARIABLE};
pub use sys::{Interrupts, ignore_file_size_signal};
pub use undo::{UndoError, Undone, undo};
