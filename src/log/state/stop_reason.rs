//! The reason for a stop, from the note that records it.

use memchr::memmem;
use serde::Deserialize;

use crate::log::format::payload::parse_payload;

/// The name of the note about a stop.
pub(crate) const STOP_REQUESTED: &str = "stop_requested";

/// The maximum length of a reason in a state, in characters.
const MAX_REASON_CHARS: usize = 200;

/// The part of the note that the state needs.
#[derive(Deserialize)]
struct StopNote {
    name: String,
    data: StopData,
}

#[derive(Deserialize)]
struct StopData {
    reason: String,
}

/// Returns the reason in a note's line if the note is about a stop: one line without control
/// characters, truncated.
pub(super) fn stop_reason(line: &[u8]) -> Option<String> {
    // Avoids parsing most notes, which can be long.
    memmem::find(line, STOP_REQUESTED.as_bytes())?;
    let note = parse_payload::<StopNote>(line).filter(|note| note.name == STOP_REQUESTED)?;
    let words = note.data.reason.replace(char::is_control, " ");
    let mut reason = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if reason.is_empty() {
        return None;
    }
    if let Some((at, _)) = reason.char_indices().nth(MAX_REASON_CHARS) {
        reason.truncate(at);
        reason.push('…');
    }
    Some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_notes_about_stops_have_reasons() {
        let of = |fields: &str| stop_reason(format!("{{{fields}}}").as_bytes());
        let stop = r#""name":"stop_requested","data":{"pid":1,"reason":"release"}"#;
        assert_eq!(of(stop).as_deref(), Some("release"));
        assert_eq!(of(r#""name":"stop_requested","data":{"pid":1}"#), None);
        assert_eq!(of(r#""name":"stop_requested"}"#), None);
        assert_eq!(
            of(r#""name":"other","data":{"reason":"stop_requested"}"#),
            None
        );
    }

    #[test]
    fn reason_is_one_line() {
        let of = |reason: &str| {
            let line = format!(r#"{{"name":"stop_requested","data":{{"reason":"{reason}"}}}}"#);
            stop_reason(line.as_bytes())
        };
        assert_eq!(
            of(r" new\n\u001b[31mrelease\u0007").as_deref(),
            Some("new [31mrelease")
        );
        assert_eq!(of(" "), None);
    }

    #[test]
    fn long_reason_is_truncated() {
        let reason = "é".repeat(300);
        let line = format!(r#"{{"name":"stop_requested","data":{{"reason":"{reason}"}}}}"#);
        let short = stop_reason(line.as_bytes()).unwrap();
        assert_eq!(short.chars().count(), MAX_REASON_CHARS + 1);
    }
}
