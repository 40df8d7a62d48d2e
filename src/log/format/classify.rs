//! Lines of other programs that may be in a run's log.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope;
use super::envelope::{DamageReason, Envelope};

/// A program whose lines runlog reads without changing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// omne-cli 0.2: `pipe.*`, `node.*`, `gate.*`, `iteration.*`.
    Omne,
    /// runtimo-core 0.1 and 0.10: `{seq, ts: seconds, type: job_*, job_id, …}`.
    Runtimo,
}

/// The prefixes of the types of omne's lines.
const OMNE: [&str; 4] = ["pipe.", "node.", "gate.", "iteration."];
/// The types of runtimo's lines since 0.10, other than `job_*`.
const RUNTIMO: [&str; 4] = [
    "command_executed",
    "backup_created",
    "safety_evaluated",
    "writer_initialized",
];

/// The class of a whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineClass<'a> {
    /// An event of runlog with a matching checksum.
    Ours(Envelope<'a>),
    /// A line of another program.
    Foreign(Dialect),
    /// Any other line.
    Damage(DamageReason),
}

/// What a whole line is, according to its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineCheck {
    /// A line of runlog whose checksum matches.
    Ours,
    /// A line of another program.
    Foreign(Dialect),
    /// Neither.
    Damage(DamageReason),
}

/// Checks a line without its `\n`.
///
/// A line that starts like one of runlog's must have a matching checksum. Any other line is of a
/// known dialect or damaged.
pub(crate) fn check_line(line: &[u8]) -> LineCheck {
    if line.starts_with(envelope::PREFIX) {
        return match envelope::check_frame(line) {
            Ok(()) => LineCheck::Ours,
            Err(reason) => LineCheck::Damage(reason),
        };
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        return LineCheck::Damage(DamageReason::Blank);
    }
    match dialect_of(line) {
        Some(dialect) => LineCheck::Foreign(dialect),
        None => LineCheck::Damage(DamageReason::Unrecognized),
    }
}

/// Classifies a line without its `\n`, see [`check_line`].
pub(crate) fn classify(line: &[u8]) -> LineClass<'_> {
    classify_checked(check_line(line), line)
}

/// Classifies a line that was checked.
#[inline]
pub(crate) fn classify_checked(check: LineCheck, line: &[u8]) -> LineClass<'_> {
    match check {
        LineCheck::Ours => match Envelope::parse_checked(line) {
            Some(env) => LineClass::Ours(env),
            None => LineClass::Damage(DamageReason::BadFrame),
        },
        LineCheck::Foreign(dialect) => LineClass::Foreign(dialect),
        LineCheck::Damage(reason) => LineClass::Damage(reason),
    }
}

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
    #[serde(borrow)]
    run_id: Option<&'a RawValue>,
    #[serde(borrow)]
    job_id: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
}

fn dialect_of(line: &[u8]) -> Option<Dialect> {
    // Serde would accept an array with the right items as the object, and would not check
    // skipped text for valid UTF-8.
    let text = std::str::from_utf8(line).ok()?;
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let probe: Probe<'_> = serde_json::from_str(text).ok()?;
    let kind = probe.kind?;
    let is_text = |value: Option<&RawValue>| value.is_some_and(|v| v.get().starts_with('"'));
    let is_count = |value: Option<&RawValue>| {
        value.is_some_and(|v| v.get().bytes().all(|b| b.is_ascii_digit()))
    };
    if OMNE.iter().any(|p| kind.starts_with(p)) && is_text(probe.ts) && is_text(probe.run_id) {
        return Some(Dialect::Omne);
    }
    let is_runtimo = kind.starts_with("job_")
        || kind.starts_with("observe_")
        || RUNTIMO.contains(&kind.as_ref());
    let framed = is_count(probe.ts) && is_count(probe.seq) && is_text(probe.job_id);
    (is_runtimo && framed).then_some(Dialect::Runtimo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_classified() {
        let omne = br#"{"type":"node.started","id":"x","ts":"2026-04-15T00:00:00Z","run_id":"r","node_id":"n","kind":"bash"}"#;
        assert_eq!(classify(omne), LineClass::Foreign(Dialect::Omne));
        let runtimo = br#"{"seq":0,"ts":1715800000,"type":"job_started","job_id":"abc"}"#;
        assert_eq!(classify(runtimo), LineClass::Foreign(Dialect::Runtimo));
        let marker = br#"{"seq":4,"ts":1715800000,"type":"writer_initialized","job_id":""}"#;
        assert_eq!(classify(marker), LineClass::Foreign(Dialect::Runtimo));
        for (line, reason) in [
            (&b""[..], DamageReason::Blank),
            (b"  \r", DamageReason::Blank),
            (b"not json", DamageReason::Unrecognized),
            (b"{}", DamageReason::Unrecognized),
            (b"[]", DamageReason::Unrecognized),
            (
                br#"["node.started","t","r",null,null]"#,
                DamageReason::Unrecognized,
            ),
            (
                br#"{"seq":0,"ts":-1,"type":"job_started","job_id":"a"}"#,
                DamageReason::Unrecognized,
            ),
            (
                b"{\"seq\":0,\"ts\":1,\"type\":\"job_started\",\"job_id\":\"a\",\"x\":\"\xff\"}",
                DamageReason::Unrecognized,
            ),
            (b"{\"v\":1}", DamageReason::NoChecksum),
            (b"{\"type\":\"node.started\"", DamageReason::Unrecognized),
            (b"\0\0\0\0", DamageReason::Unrecognized),
        ] {
            assert_eq!(classify(line), LineClass::Damage(reason), "{line:?}");
        }
    }
}
