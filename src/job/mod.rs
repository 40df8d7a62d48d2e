//! Jobs: one wrapped command each, supervised from its submission to its end.

mod capture;
mod child;
mod detach;
mod end;
mod error;
mod inspect;
mod output;
mod past;
mod playback;
mod recorder;
pub mod redact;
mod rollback;
mod run;
mod sink;
mod spec;
mod stages;
mod submit;
mod sys;
mod validate;

pub use capture::{StreamId, Trouble};
pub use detach::{Detached, detach};
pub use end::{End, Outcome};
pub use error::StartError;
pub use inspect::{Examined, Inspected, RunStateKind, examine, inspect};
pub use output::{JobOutput, SkipLines};
pub use past::inspect_past;
pub use playback::{Played, play};
pub use recorder::OnStarted;
pub use run::{Setup, run_job};
pub use spec::{After, Guards, JobSpec, OutputMode};
pub use sys::ignore_file_size_signal;
