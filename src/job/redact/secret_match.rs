//! Secrets that were found in a text, and masking them.

use std::ops::Range;

/// What replaces a secret.
pub(crate) const MASK: &[u8] = b"***";

/// A secret that was found.
#[derive(Debug)]
pub(crate) struct SecretMatch {
    pub(crate) range: Range<usize>,
    /// The match might be longer if more of the text were known.
    pub(crate) open_ended: bool,
}

/// Writes `bytes` from `at` to `until` with the matches masked. Returns the position up to
/// which it wrote, which is beyond `until` if a match is.
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
