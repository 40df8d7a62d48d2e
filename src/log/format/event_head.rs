//! The head of a line: the fields that every event has, whatever program wrote it.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use ulid::Ulid;

use super::envelope;
use super::envelope::Envelope;
use super::event_type::EventKind;
use crate::volume::{JobId, parse_ts, parse_ulid};

/// The head of an event, of runlog or of another program.
///
/// This is the only parser of these fields. A field that is missing or malformed is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead<'a> {
    /// The sequence number.
    pub seq: Option<u64>,
    /// The id.
    pub ulid: Option<Ulid>,
    /// When the event was written.
    pub ts: Option<Timestamp>,
    /// The type.
    pub kind: EventKind<'a>,
    /// The job that the event concerns, or the node in a line of omne-cli.
    pub job: Option<JobId>,
}

/// The fields of a line of another program.
#[derive(Deserialize)]
struct ForeignHead<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    seq: Option<u64>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ts: Option<ForeignTime<'a>>,
    #[serde(borrow)]
    job_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    node_id: Option<Cow<'a, str>>,
}

/// A time in a line of another program: text in omne-cli, seconds in runtimo-core.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum ForeignTime<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Seconds(i64),
}

impl ForeignTime<'_> {
    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => parse_ts(text),
            Self::Seconds(seconds) => Timestamp::from_second(*seconds).ok(),
        }
    }
}

impl<'a> EventHead<'a> {
    /// Parses the head of a line that a reader returned; `None` if the line is not an event.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        if line.starts_with(envelope::PREFIX) {
            return Envelope::parse_checked(line).map(|env| Self::from_envelope(&env));
        }
        let head: ForeignHead<'a> = serde_json::from_slice(line).ok()?;
        let job = head.node_id.or(head.job_id);
        Some(Self {
            seq: head.seq,
            ulid: head.id.and_then(|id| parse_ulid(&id)),
            ts: head.ts.and_then(|ts| ts.timestamp()),
            kind: EventKind::new(head.kind),
            job: job.and_then(|id| foreign_job(&id)),
        })
    }

    /// Returns the head of an event of runlog.
    pub fn from_envelope(env: &Envelope<'a>) -> Self {
        Self {
            seq: Some(env.seq),
            ulid: env.ulid(),
            ts: env.timestamp(),
            kind: env.kind,
            job: env.job_id(),
        }
    }
}

/// Returns the job of another program's line.
///
/// A node of omne-cli may have any name. A name that is not a valid id becomes the id most
/// similar to it.
pub(crate) fn foreign_job(id: &str) -> Option<JobId> {
    match id.parse() {
        Ok(id) => Some(id),
        Err(_) if id.is_empty() => None,
        Err(_) => Some(JobId::from_name(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::event_type::EventType;
    use crate::log::test_log::written;

    #[test]
    fn head_of_own_event_has_all_fields() {
        let line = written(
            7,
            r#""type":"job_started","run_id":"r","job_id":"build","attempt":1"#,
        );
        let head = EventHead::parse(line.trim_ascii_end()).unwrap();
        assert_eq!(head.seq, Some(7));
        assert_eq!(head.ulid, Some(Ulid::from_parts(1_800_000_000_007, 42)));
        assert_eq!(head.ts, parse_ts("2026-11-21T21:49:00.123456Z"));
        assert_eq!(head.kind, EventType::JobStarted);
        assert_eq!(head.job.unwrap(), *"build");
        let line = written(8, r#""type":"later","run_id":"r","data":{"job_id":"x"}"#);
        let head = EventHead::parse(line.trim_ascii_end()).unwrap();
        assert_eq!(head.kind, EventKind::Unknown("later"));
        assert_eq!(head.job, None);
    }

    #[test]
    fn head_of_foreign_line_has_its_fields() {
        let omne = br#"{"type":"node.started","id":"x","ts":"2026-04-15T12:00:01Z","run_id":"r","node_id":"a b","kind":"bash"}"#;
        let head = EventHead::parse(omne).unwrap();
        assert_eq!((head.seq, head.ulid), (None, None));
        assert_eq!(head.ts, parse_ts("2026-04-15T12:00:01Z"));
        assert_eq!(head.kind.as_str(), "node.started");
        assert_eq!(head.job.unwrap(), *"a-b");
        let runtimo = br#"{"seq":3,"ts":1715800000,"type":"job_started","job_id":""}"#;
        let head = EventHead::parse(runtimo).unwrap();
        assert_eq!(head.seq, Some(3));
        assert_eq!(head.ts, Timestamp::from_second(1_715_800_000).ok());
        assert_eq!(
            (head.kind, head.job),
            (EventKind::Known(EventType::JobStarted), None)
        );
        assert_eq!(EventHead::parse(b"no"), None);
    }
}
