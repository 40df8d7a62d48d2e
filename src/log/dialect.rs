//! Lines of other programs that may stand in a run's log.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::{self, Envelope, Reason};

/// A program whose lines we read as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// omne-cli 0.2: `pipe.*`, `node.*`, `gate.*`, `iteration.*`.
    Omne,
    /// runtimo-core: `{seq, ts: seconds, type: job_*, job_id, …}`.
    Runtimo,
}

/// What a whole line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class<'a> {
    /// An event of ours whose checksum fits.
    Ours(Envelope<'a>),
    /// A line of another program.
    Foreign(Dialect),
    /// Neither.
    Damage(Reason),
}

/// Tells what a line without its `\n` is: one that begins as ours do is ours and
/// must check; else a known dialect; else damage.
pub(super) fn classify(line: &[u8]) -> Class<'_> {
    if line.starts_with(envelope::PREFIX) {
        return match Envelope::parse(line) {
            Ok(env) => Class::Ours(env),
            Err(reason) => Class::Damage(reason),
        };
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        return Class::Damage(Reason::Blank);
    }
    match dialect_of(line) {
        Some(dialect) => Class::Foreign(dialect),
        None => Class::Damage(Reason::Unrecognised),
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
    let probe: Probe<'_> = serde_json::from_slice(line).ok()?;
    let kind = probe.kind?;
    let is = |value: Option<&RawValue>, text: bool| {
        value.is_some_and(|v| v.get().starts_with('"') == text)
    };
    let omne = ["pipe.", "node.", "gate.", "iteration."];
    if omne.iter().any(|p| kind.starts_with(p)) && is(probe.ts, true) && is(probe.run_id, true) {
        return Some(Dialect::Omne);
    }
    let runtimo = kind.starts_with("job_") && is(probe.ts, false) && is(probe.seq, false);
    (runtimo && is(probe.job_id, true)).then_some(Dialect::Runtimo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let omne = br#"{"type":"node.started","id":"x","ts":"2026-04-15T00:00:00Z","run_id":"r","node_id":"n","kind":"bash"}"#;
        assert_eq!(classify(omne), Class::Foreign(Dialect::Omne));
        let runtimo = br#"{"seq":0,"ts":1715800000,"type":"job_started","job_id":"abc"}"#;
        assert_eq!(classify(runtimo), Class::Foreign(Dialect::Runtimo));
        for (line, reason) in [
            (&b""[..], Reason::Blank),
            (b"  \r", Reason::Blank),
            (b"not json", Reason::Unrecognised),
            (b"{}", Reason::Unrecognised),
            (b"[]", Reason::Unrecognised),
            (b"{\"v\":1}", Reason::NoChecksum),
            (b"{\"type\":\"node.started\"", Reason::Unrecognised),
            (b"\0\0\0\0", Reason::Unrecognised),
        ] {
            assert_eq!(classify(line), Class::Damage(reason), "{line:?}");
        }
    }
}
