//! ULIDs as text: runlog writes lowercase and reads either case.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serializer};
use ulid::Ulid;

/// Formats a ULID as in the log.
pub(crate) fn format_ulid(id: Ulid) -> String {
    id.to_string().to_ascii_lowercase()
}

/// Parses a ULID; `None` if the text is not one.
pub(crate) fn parse_ulid(text: &str) -> Option<Ulid> {
    text.to_ascii_uppercase().parse().ok()
}

/// Serializes a ULID or null, for `#[serde(with)]`.
///
/// # Errors
/// The serializer fails.
#[expect(clippy::ref_option, reason = "serde requires this signature")]
pub(crate) fn serialize<S: Serializer>(id: &Option<Ulid>, to: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => to.serialize_str(&format_ulid(*id)),
        None => to.serialize_none(),
    }
}

/// Deserializes a ULID, for `#[serde(with)]`. Null and any other text are `None`.
///
/// # Errors
/// The value is neither null nor a string.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ulid>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(from)?;
    Ok(text.and_then(|text| parse_ulid(&text)))
}
