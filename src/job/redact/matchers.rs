//! The matchers of a redactor: its patterns and its literals.

use std::ops::Range;

use regex::bytes::Regex;

use super::literal_set::LiteralSet;
use super::secret_match::SecretMatch;

/// The position from which each matcher searches for its next match.
#[derive(Debug, Clone)]
pub(crate) struct SearchStarts {
    patterns: Vec<usize>,
    literals: usize,
}

impl SearchStarts {
    /// Adjusts the positions after the first `n` bytes of the text were removed.
    pub(crate) fn shift(&mut self, n: usize) {
        for start in &mut self.patterns {
            *start -= n;
        }
        self.literals -= n;
    }
}

/// The patterns and literals to search for.
///
/// Each pattern is searched for separately, and overlapping matches are masked together. With a
/// single alternation, a match could leave part of another one readable.
pub(crate) struct Matchers {
    pub(crate) patterns: Vec<Regex>,
    pub(crate) literals: LiteralSet,
}

impl Matchers {
    /// Returns the starts of a search from the beginning of a text.
    pub(crate) fn starts(&self) -> SearchStarts {
        SearchStarts {
            patterns: vec![0; self.patterns.len()],
            literals: 0,
        }
    }

    /// Finds all matches that start before `border`, sorted by their starts, and moves `starts`
    /// to where the search must continue.
    pub(crate) fn find(
        &self,
        bytes: &[u8],
        starts: &mut SearchStarts,
        border: usize,
    ) -> Vec<SecretMatch> {
        let mut found = self.literals.find(bytes, starts.literals, border);
        starts.literals = starts.literals.max(border);
        for (pattern, start) in self.patterns.iter().zip(&mut starts.patterns) {
            while let Some(range) = next_match(pattern, bytes, *start)
                && range.start < border
            {
                *start = range.end;
                found.push(SecretMatch {
                    range,
                    open_ended: true,
                });
            }
            *start = (*start).max(border);
        }
        found.sort_unstable_by_key(|found| found.range.start);
        found
    }

    /// Returns whether `bytes` contains a secret.
    pub(crate) fn is_match(&self, bytes: &[u8]) -> bool {
        let mut patterns = self.patterns.iter();
        self.literals.is_match(bytes)
            || patterns.any(|pattern| next_match(pattern, bytes, 0).is_some())
    }
}

/// Returns the next match at or after `start` that is not empty.
fn next_match(pattern: &Regex, bytes: &[u8], mut start: usize) -> Option<Range<usize>> {
    // Patterns that match the empty string are rejected where this can be tested. If one is not
    // detected, its empty matches mask nothing.
    while start < bytes.len() {
        let range = pattern.find_at(bytes, start)?.range();
        if !range.is_empty() {
            return Some(range);
        }
        start = range.end + 1;
    }
    None
}
