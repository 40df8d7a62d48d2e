//! The readings of a job's probes while the job ran.

use std::collections::BTreeMap;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::log::format::payload::parse_payload;

/// The text that each line with probe readings contains.
const READINGS: &[u8] = b"\"probes\":{";

/// The readings of one probe during a job; `None` if a reading was inconclusive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProbeState {
    /// The first reading, before the job started.
    #[serde(default)]
    pub before: Option<bool>,
    /// The last reading.
    #[serde(default)]
    pub after: Option<bool>,
    /// Whether the reading changed while the job ran, even if it changed back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
}

impl ProbeState {
    fn apply(&mut self, reading: Option<bool>) {
        let differs = |earlier: Option<bool>| earlier.zip(reading).is_some_and(|(a, b)| a != b);
        self.changed |= differs(self.before) || differs(self.after);
        self.after = reading;
    }

    /// Returns what happened to the probe, as the end of a sentence that starts with its name.
    pub fn change(&self) -> Option<&'static str> {
        match (self.changed, self.before, self.after) {
            (false, ..) => None,
            (true, Some(true), Some(false)) => Some("turned false"),
            (true, Some(false), Some(true)) => Some("turned true"),
            (true, Some(true), _) => Some("was false for a time"),
            (true, Some(false), _) => Some("was true for a time"),
            (true, None, _) => Some("changed"),
        }
    }
}

/// Returns whether a line may contain probe readings. Few jobs have probes, so this avoids
/// parsing most lines.
pub(super) fn has_readings(line: &[u8]) -> bool {
    memmem::find(line, READINGS).is_some()
}

/// Applies the probe readings in the line of a job's event.
pub(super) fn apply_readings(probes: &mut BTreeMap<String, ProbeState>, line: &[u8]) {
    #[derive(Default, Deserialize)]
    struct Readings {
        #[serde(default)]
        probes: BTreeMap<String, Option<bool>>,
    }
    #[derive(Deserialize)]
    struct Event {
        #[serde(default)]
        telemetry_before: Readings,
        #[serde(default)]
        telemetry_after: Readings,
        /// The readings in a sample.
        #[serde(default)]
        probes: BTreeMap<String, Option<bool>>,
    }
    if !has_readings(line) {
        return;
    }
    let Some(event) = parse_payload::<Event>(line) else {
        return;
    };
    let before = event.telemetry_before.probes;
    for (name, reading) in before {
        probes.entry(name).or_insert_with(|| ProbeState {
            before: reading,
            after: reading,
            changed: false,
        });
    }
    let later = event.probes.into_iter();
    for (name, reading) in later.chain(event.telemetry_after.probes) {
        probes.entry(name).or_default().apply(reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(lines: &[&str]) -> BTreeMap<String, ProbeState> {
        let mut probes = BTreeMap::new();
        for line in lines {
            apply_readings(&mut probes, line.as_bytes());
        }
        probes
    }

    #[test]
    fn changes_are_found() {
        let started =
            |reading: &str| format!(r#"{{"telemetry_before":{{"probes":{{"a":{reading}}}}}}}"#);
        let sampled = |reading: &str| format!(r#"{{"job":{{}},"probes":{{"a":{reading}}}}}"#);
        let ended = |reading| {
            let before = r#""telemetry_before":{"probes":{"a":true}}"#;
            format!(r#"{{{before},"telemetry_after":{{"probes":{{"a":{reading}}}}}}}"#)
        };
        for (before, samples, after, expected) in [
            ("true", vec![], "true", None),
            ("true", vec![], "null", None),
            ("null", vec![], "true", None),
            ("true", vec![], "false", Some("turned false")),
            ("false", vec![], "true", Some("turned true")),
            ("true", vec!["false"], "true", Some("was false for a time")),
            ("true", vec!["null"], "false", Some("turned false")),
            ("false", vec!["true"], "null", Some("was true for a time")),
            ("null", vec!["true"], "false", Some("changed")),
        ] {
            let mut lines = vec![started(before)];
            lines.extend(samples.into_iter().map(sampled));
            lines.push(ended(after));
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let probes = fold(&lines);
            assert_eq!(probes["a"].change(), expected, "{lines:?}");
        }
    }

    #[test]
    fn lines_without_readings_change_nothing() {
        let lines = [
            "",
            "{}",
            r#"{"probes":{}}"#,
            r#"{"probes":{"a":1}}"#,
            r#"{"telemetry_before":{}}"#,
        ];
        assert!(fold(&lines).is_empty());
    }
}
