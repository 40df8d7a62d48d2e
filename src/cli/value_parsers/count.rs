//! N: a whole number.

use std::num::IntErrorKind;
use std::str::FromStr;

/// Parses a whole number.
///
/// # Errors
///
/// Returns a message if `text` is not one, or is too large for the option.
pub(crate) fn parse_count<T>(text: &str) -> Result<T, String>
where
    T: FromStr<Err = std::num::ParseIntError>,
{
    text.parse().map_err(|e: T::Err| match e.kind() {
        IntErrorKind::PosOverflow => format!("`{text}` is too large"),
        _ => format!("`{text}` is not a whole number, such as 10"),
    })
}
