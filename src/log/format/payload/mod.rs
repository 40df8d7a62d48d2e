//! The payloads of the events: the fields after `type`, `run_id` and `job_id`, without the
//! snapshots of the host. The writer, the fold, `--verify` and the output all use these types.

mod job;
mod job_ended;
mod log;
mod run;

use serde::{Deserialize, Serialize};

pub use self::job::{
    JobRerun, JobSampled, JobStarted, JobSubmitted, JobValidated, ProcessRef, RecordedHooks,
    RecordedOptions, RollbackStarted, SupervisorReplaced,
};
pub use self::job_ended::{
    Cost, ErrorKind, ForwardedSignal, HookEnded, JobCompleted, JobEnded, JobError, JobFailed,
    JobRolledBack, Output, SignalSender,
};
pub(crate) use self::log::records_loss;
pub use self::log::{LogRepaired, LogRotated, RepairAction, Sealed};
pub use self::run::{EnclosingJob, Note, RunClosed, RunOpened, Summarized};
use crate::log::format::event_type::EventType;

/// The payload of the events of one type.
pub trait EventPayload: Serialize {
    /// The type.
    const TYPE: EventType;
}

impl<P: EventPayload> EventPayload for &P {
    const TYPE: EventType = P::TYPE;
}

/// Parses the payload of a line, or a part of it; `None` if the fields do not fit.
pub fn parse_payload<'a, P: Deserialize<'a>>(line: &'a [u8]) -> Option<P> {
    serde_json::from_slice(line).ok()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
