//! Secrets in a text, and masking them.

use std::ops::Range;

/// The replacement of a secret.
pub(crate) const MASK: &[u8] = b"***";

/// A secret in a text.
#[derive(Debug)]
pub(crate) struct SecretMatch {
    pub(crate) range: Range<usize>,
    /// Whether the match might be longer if more of the text were known.
    pub(crate) open_ended: bool,
}

/// Writes `bytes` from `at` to `until` with the matches masked. Returns the end of the written
/// part, which is after `until` if a match extends past it.
pub(crate) fn write_masked(
    bytes: &[u8],
    found: &[SecretMatch],
    mut at: usize,
    until: usize,
    out: &mut Vec<u8>,
) -> usize {
    for SecretMatch { range, .. } in found {
        // A match that starts before `at` overlaps another one and shares its mask.
        if range.start >= at {
            out.extend_from_slice(bytes.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(MASK);
        }
        at = at.max(range.end);
    }
    out.extend_from_slice(bytes.get(at..until).unwrap_or_default());
    at.max(until)
}
