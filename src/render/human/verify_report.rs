//! The report of `runlog replay --verify`, for people.

use super::format::count;
use super::style::{Role, Style, escape_controls};
use crate::log::{Fault, VerifyReport};
use crate::volume::RunId;

/// Returns the line for a fault, as `file:line:offset: reason`.
pub(crate) fn fault_line(fault: &Fault, style: Style) -> String {
    style.paint(Role::Bad, &escape_controls(&fault.to_string()))
}

/// Returns the last line: how much was checked, and the result.
pub(crate) fn verify_summary(run: &RunId, verified: &VerifyReport, style: Style) -> String {
    let found = match verified.faults {
        // Lines of other programs have no sequence numbers, so there may be gaps.
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

/// Returns what could not be checked, and observations that are not faults.
pub(crate) fn verify_notes(verified: &VerifyReport) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(first) = verified.first_seq.filter(|n| *n > 0) {
        notes.push(format!(
            "the log starts with event {first}; a checkpoint holds the state before it"
        ));
    }
    if verified.foreign > 0 {
        notes.push(
            "lines of other programs have no checksum and no sequence number, so they were only \
             checked for being readable"
                .to_owned(),
        );
    }
    if verified.in_flight {
        notes.push("the last line is still being written and was not checked".to_owned());
    }
    if !verified.has_active {
        notes.push(
            "there is no active segment, as after an interrupted rotation; the next writer \
             creates it"
                .to_owned(),
        );
    }
    notes
}
