//! ULIDs as text: lowercase where runlog writes them, either case where it reads them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serializer};
use ulid::Ulid;

/// Returns a ULID as the log writes it.
pub(crate) fn format_ulid(id: Ulid) -> String {
    id.to_string().to_ascii_lowercase()
}

/// Parses a ULID; `None` if the text is not one.
pub(crate) fn parse_ulid(text: &str) -> Option<Ulid> {
    text.to_ascii_uppercase().parse().ok()
}

/// Writes a ULID or null, for `#[serde(with)]`.
///
/// # Errors
/// The serializer fails.
#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
pub(crate) fn serialize<S: Serializer>(id: &Option<Ulid>, to: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => to.serialize_str(&format_ulid(*id)),
        None => to.serialize_none(),
    }
}

/// Reads a ULID, for `#[serde(with)]`; null and any other text are `None`.
///
/// # Errors
/// The value is neither null nor a string.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ulid>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(from)?;
    Ok(text.and_then(|text| parse_ulid(&text)))
}
