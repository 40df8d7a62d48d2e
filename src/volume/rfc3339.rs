//! Timestamps in JSON: RFC 3339 in UTC with exactly six decimals.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Formats a time as in the log.
pub fn format_ts(ts: Timestamp) -> String {
    format!("{ts:.6}")
}

/// Parses a timestamp of an event; `None` if it is not RFC 3339.
pub fn parse_ts(ts: &str) -> Option<Timestamp> {
    ts.parse().ok()
}

/// Serializes a timestamp, for `#[serde(with)]`.
///
/// # Errors
/// The serializer fails.
pub fn serialize<S: Serializer>(ts: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{ts:.6}"))
}

/// Deserializes a timestamp, for `#[serde(with)]`.
///
/// # Errors
/// The value is not an RFC 3339 string.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

/// Optional timestamps, for `#[serde(with)]`.
pub mod option {
    use std::borrow::Cow;

    use jiff::Timestamp;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Serializes a timestamp or null.
    ///
    /// # Errors
    /// The serializer fails.
    #[expect(clippy::ref_option, reason = "serde requires this signature")]
    pub fn serialize<S: Serializer>(ts: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match ts {
            Some(ts) => super::serialize(ts, to),
            None => to.serialize_none(),
        }
    }

    /// Deserializes a timestamp or null.
    ///
    /// # Errors
    /// The value is neither null nor an RFC 3339 string.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Times {
        #[serde(with = "super")]
        at: Timestamp,
        #[serde(with = "super::option")]
        end_ts: Option<Timestamp>,
    }

    #[test]
    fn timestamps_roundtrip_with_six_decimals() {
        let text = r#"{"at":"2026-11-21T21:49:00.123000Z","end_ts":null}"#;
        let times: Times = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&times).unwrap(), text);
        let offset = r#"{"at":"2026-11-21T22:49:00.123+01:00"}"#;
        assert_eq!(serde_json::from_str::<Times>(offset).unwrap(), times);
        assert_eq!(
            serde_json::from_str::<Times>("{}").unwrap(),
            Times::default()
        );
        assert!(serde_json::from_str::<Times>(r#"{"at":"yesterday"}"#).is_err());
    }
}
