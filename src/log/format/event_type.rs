//! The types of events, and an event on its way into the log.

use std::time::Duration;

use serde::Serialize;

use super::payload::Note;
use super::{envelope, note_data};
use crate::log::error::LogError;
use crate::log::lock::file_lock;
use crate::volume::{JobId, RunId};

/// Longest line of an ordinary event, in bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Longest line of a checkpoint, which holds the state of up to 10,000 jobs.
const MAX_CHECKPOINT_BYTES: usize = crate::log::segment::line_reader::MAX_READ_LINE_BYTES;

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The types of events that this version writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum EventType {
            $($(#[$doc])* $variant,)*
        }

        impl EventType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the log.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The type of that name; `None` for types of a later version.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

event_types! {
    /// The first event of a run.
    RunOpened = "run_opened",
    /// A command was handed in.
    JobSubmitted = "job_submitted",
    /// Its command resolves, its inputs are well formed, its guards hold.
    JobValidated = "job_validated",
    /// It was spawned.
    JobStarted = "job_started",
    /// What its processes use at the moment.
    JobSampled = "job_sampled",
    /// It ended with exit code 0.
    JobCompleted = "job_completed",
    /// It ended otherwise, or never began.
    JobFailed = "job_failed",
    /// Its compensating command is about to run.
    JobRollbackStarted = "job_rollback_started",
    /// Its compensating command ended.
    JobRolledBack = "job_rolled_back",
    /// The last event of a run, but for repairs, rotations and rollbacks.
    RunClosed = "run_closed",
    /// What a user's script added.
    Note = "note",
    /// The first line of a new segment.
    LogRotated = "log_rotated",
    /// A torn end was mended.
    LogRepaired = "log_repaired",
}

impl EventType {
    /// Whether the event must find its place even on a full disk: it uses what the
    /// reserve holds.
    pub fn is_essential(self) -> bool {
        !matches!(
            self,
            Self::Note
                | Self::JobSampled
                | Self::RunOpened
                | Self::JobSubmitted
                | Self::JobValidated
        )
    }

    /// Whether the event may follow the close of its run.
    pub fn may_follow_close(self) -> bool {
        matches!(
            self,
            Self::LogRotated | Self::LogRepaired | Self::JobRollbackStarted | Self::JobRolledBack
        )
    }

    /// How long the event waits for the locks.
    pub fn lock_budget(self) -> Duration {
        match self {
            Self::JobCompleted | Self::JobFailed | Self::JobRolledBack | Self::RunClosed => {
                file_lock::TERMINAL_LOCK_TIMEOUT
            }
            _ => file_lock::LOCK_TIMEOUT,
        }
    }
}

/// What an acknowledged event survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The death of every process: the bytes are with the operating system.
    Process,
    /// A loss of power: the bytes, and the names that lead to them, are synced.
    Power,
}

/// An event that has no `seq`, `id` and `ts` yet.
#[derive(Debug, Clone)]
pub struct Draft {
    kind: EventType,
    body: Vec<u8>,
}

impl Draft {
    /// Makes an event of `run` of a payload, such as those of [`crate::log::format::payload`]: its fields
    /// follow `type`, `run_id` and `job_id`.
    ///
    /// # Errors
    /// The payload is not a JSON object, its line would be over the limit, or the log
    /// writes events of this type itself.
    pub fn new(
        kind: EventType,
        run: &RunId,
        job: Option<&JobId>,
        payload: &impl Serialize,
    ) -> Result<Self, LogError> {
        use EventType::{LogRepaired, LogRotated, RunClosed};
        if matches!(kind, LogRepaired | LogRotated | RunClosed) {
            return Err(LogError::NotForDrafts { kind });
        }
        Self::new_unchecked(kind, run, job, payload)
    }

    /// Makes a `note` about `name`, with any data that can be JSON.
    ///
    /// # Errors
    /// The name or the data holds a NUL, the data is nested deeper than 100 levels or
    /// cannot be JSON, or the line would be over the limit.
    pub fn note(
        run: &RunId,
        job: Option<&JobId>,
        name: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Self, LogError> {
        let checked = |json: String| note_data::compact(&json, MAX_LINE_BYTES, None);
        checked(serde_json::to_string(name)?)?;
        let data = checked(serde_json::to_string(data)?)?;
        let data = Some(&*data);
        Self::new(EventType::Note, run, job, &Note { name, data })
    }

    /// The same as [`Draft::new`], of any type.
    pub(crate) fn new_unchecked(
        kind: EventType,
        run: &RunId,
        job: Option<&JobId>,
        payload: &impl Serialize,
    ) -> Result<Self, LogError> {
        // Type and ids need no escape: they were checked.
        let mut body = Vec::with_capacity(512);
        let mut push = |text: &str| body.extend_from_slice(text.as_bytes());
        push("\"type\":\"");
        push(kind.as_str());
        push("\",\"run_id\":\"");
        push(run.as_str());
        push("\"");
        if let Some(job) = job {
            push(",\"job_id\":\"");
            push(job.as_str());
            push("\"");
        }
        let start = body.len();
        serde_json::to_writer(&mut body, payload)?;
        // `{…}` becomes `,…`; an empty object leaves nothing.
        body.pop();
        match body.get_mut(start) {
            Some(brace) => *brace = b',',
            None => body.truncate(start),
        }
        if body.len() == start + 1 {
            body.truncate(start);
        }
        let limit = match kind {
            EventType::LogRotated => MAX_CHECKPOINT_BYTES,
            _ => MAX_LINE_BYTES,
        };
        let bytes = body.len() + envelope::FRAME_LEN;
        if bytes > limit {
            return Err(LogError::TooLong { bytes, limit });
        }
        Ok(Self { kind, body })
    }

    /// Its type.
    pub fn kind(&self) -> EventType {
        self.kind
    }

    /// What stands between `ts` and `crc` in its line.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Empty {}

    #[test]
    fn drafts_are_parts_of_an_object() {
        let run: RunId = "r".parse().unwrap();
        let job: JobId = "j".parse().unwrap();
        let draft = Draft::new(EventType::Note, &run, None, &Empty {}).unwrap();
        assert_eq!(draft.body, br#""type":"note","run_id":"r""#);
        let payload = serde_json::json!({"name": "x"});
        let draft = Draft::new(EventType::Note, &run, Some(&job), &payload).unwrap();
        assert_eq!(
            draft.body,
            br#""type":"note","run_id":"r","job_id":"j","name":"x""#
        );
        let long = serde_json::json!({"name": "x".repeat(MAX_LINE_BYTES)});
        assert!(matches!(
            Draft::new(EventType::Note, &run, None, &long),
            Err(LogError::TooLong { .. })
        ));
    }

    #[test]
    fn a_note_holds_what_every_reader_can_take() {
        let run: RunId = "r".parse().unwrap();
        let note = |name: &str, data| Draft::note(&run, None, name, &data);
        let draft = note("x", serde_json::json!({"a": [1, " "]})).unwrap();
        assert_eq!(
            draft.body,
            br#""type":"note","run_id":"r","name":"x","data":{"a":[1," "]}"#
        );
        let nul = serde_json::json!("\0");
        assert!(matches!(note("x", nul), Err(LogError::Data(_))));
        let null = serde_json::Value::Null;
        assert!(matches!(note("\0", null), Err(LogError::Data(_))));
        let long = serde_json::json!("x".repeat(MAX_LINE_BYTES - 40));
        assert!(matches!(note("x", long), Err(LogError::TooLong { .. })));
    }

    #[test]
    fn what_the_log_writes_itself_is_no_draft() {
        let run: RunId = "r".parse().unwrap();
        for kind in [
            EventType::LogRepaired,
            EventType::LogRotated,
            EventType::RunClosed,
        ] {
            let refused = Draft::new(kind, &run, None, &Empty {}).unwrap_err();
            assert!(matches!(refused, LogError::NotForDrafts { .. }));
        }
    }
}
