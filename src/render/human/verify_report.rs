//! What `replay --verify` says to people.

use super::text::{Role, Style, count, escape_controls};
use crate::log::{Fault, VerifyReport};
use crate::volume::RunId;

/// One fault, as `file:line:offset: what`.
pub(crate) fn fault(fault: &Fault, style: Style) -> String {
    style.paint(Role::Bad, &escape_controls(&fault.to_string()))
}

/// The last line: how much was looked at, and what came of it.
pub(crate) fn sum(run: &RunId, verified: &VerifyReport, style: Style) -> String {
    let found = match verified.faults {
        // Lines of other programs have no number that could be missing.
        0 if verified.events == 0 && verified.foreign > 0 => style.paint(Role::Good, "no damage"),
        0 => style.paint(Role::Good, "no gaps"),
        n => style.paint(Role::Bad, &count(n, "fault")),
    };
    let mut what = Vec::new();
    if verified.events > 0 || verified.foreign == 0 {
        what.push(count(verified.events, "event"));
    }
    if verified.foreign > 0 {
        let lines = count(verified.foreign, "line");
        what.push(format!("{lines} of other programs"));
    }
    let scope = format!(
        "{}, {}",
        count(verified.segments as u64, "segment"),
        count(verified.jobs as u64, "job")
    );
    format!("{run}: {}, {found} ({scope})", what.join(", "))
}

/// What could not be checked, and what is no fault.
pub(crate) fn notes(verified: &VerifyReport) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(first) = verified.first_seq.filter(|n| *n > 0) {
        notes.push(format!(
            "the log begins with event {first}: what was before it is told by a checkpoint"
        ));
    }
    if verified.foreign > 0 {
        notes.push(
            "lines of other programs have no checksum and no number: only that they can be read \
             was checked"
                .to_owned(),
        );
    }
    if verified.in_flight {
        notes.push("the last line is being written, and was not looked at".to_owned());
    }
    if !verified.has_active {
        notes.push(
            "there is no active segment, as after a rotation that was cut off; the next writer \
             makes it"
                .to_owned(),
        );
    }
    notes
}
