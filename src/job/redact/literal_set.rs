//! A set of literal secrets, which finds them and knows how much of a stream may be the start of
//! one.

use std::collections::BTreeSet;

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, Input, Span};

use super::secret_match::SecretMatch;

/// The maximum total length of literals for the fast kind of automaton, whose size is about a
/// kilobyte for each of these bytes.
const MAX_FAST_BYTES: usize = 8 << 10;

/// The number of bytes at the start of each literal to find with vector instructions. The more
/// bytes, the longer a text full of false starts may take.
const START_BYTES: usize = 16;

/// The literals of a redactor.
pub(crate) struct LiteralSet {
    automaton: AhoCorasick,
    /// Finds where a literal may start, much faster than the automaton; `None` if the processor
    /// lacks the instructions or there are too many literals.
    starts: Option<Searcher>,
    prefixes: Vec<PrefixTable>,
    longest: usize,
}

/// How much of each literal the end of a stream matches.
#[derive(Debug, Default)]
pub(crate) struct PrefixState(Vec<usize>);

impl LiteralSet {
    /// Creates a set of literals, none of which may be empty.
    ///
    /// # Errors
    /// The literals are too long in total.
    pub(crate) fn new(literals: &BTreeSet<Vec<u8>>) -> Result<Self, BuildError> {
        let total: usize = literals.iter().map(Vec::len).sum();
        let kind = (total > MAX_FAST_BYTES).then_some(AhoCorasickKind::ContiguousNFA);
        let automaton = AhoCorasick::builder().kind(kind).build(literals)?;
        let starts: BTreeSet<&[u8]> = literals
            .iter()
            .map(|literal| literal.get(..START_BYTES).unwrap_or(literal))
            .collect();
        let mut packed = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
        Ok(Self {
            automaton,
            starts: packed.extend(starts).build(),
            prefixes: literals.iter().map(|l| PrefixTable::new(l)).collect(),
            longest: literals.iter().map(Vec::len).max().unwrap_or(0),
        })
    }

    /// Returns the length of the longest literal.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Finds the occurrences that start in `start..border`, in the order of their positions.
    /// Overlapping ones are merged.
    pub(crate) fn find(&self, bytes: &[u8], start: usize, border: usize) -> Vec<SecretMatch> {
        let end = border.saturating_add(self.longest).min(bytes.len());
        let mut found: Vec<SecretMatch> = Vec::new();
        if start >= end {
            return found;
        }
        let Some(start) = self.first_start(bytes, start, end) else {
            return found;
        };
        let input = Input::new(bytes).range(start..end);
        for occurrence in self.automaton.find_overlapping_iter(input) {
            let mut range = occurrence.range();
            if range.start >= border {
                continue;
            }
            while let Some(last) = found.pop_if(|last| last.range.end > range.start) {
                range = last.range.start.min(range.start)..last.range.end.max(range.end);
            }
            found.push(SecretMatch {
                range,
                open_ended: false,
            });
        }
        found
    }

    /// Returns a position in `start..end` before which no literal starts, or `None` if none does
    /// at all.
    fn first_start(&self, bytes: &[u8], start: usize, end: usize) -> Option<usize> {
        match &self.starts {
            _ if self.prefixes.is_empty() => None,
            Some(starts) => Some(starts.find_in(bytes, Span { start, end })?.start()),
            None => Some(start),
        }
    }

    /// Returns whether `bytes` contains a literal.
    pub(crate) fn is_match(&self, bytes: &[u8]) -> bool {
        self.automaton.is_match(bytes)
    }

    /// Appends `bytes` to the stream that `state` describes. Returns how many bytes at its end
    /// may be the start of a literal.
    pub(crate) fn pending(&self, state: &mut PrefixState, bytes: &[u8]) -> usize {
        state.0.resize(self.prefixes.len(), 0);
        let advanced = state.0.iter_mut().zip(&self.prefixes).map(|(len, table)| {
            *len = table.advance(*len, bytes);
            *len
        });
        advanced.max().unwrap_or(0)
    }
}

/// The failure function of the Knuth-Morris-Pratt algorithm for one literal.
struct PrefixTable {
    literal: Box<[u8]>,
    /// For each prefix, from one byte on, the length of its longest proper border.
    borders: Box<[u32]>,
}

impl PrefixTable {
    fn new(literal: &[u8]) -> Self {
        let mut table = Self {
            literal: literal.into(),
            borders: Box::new([]),
        };
        let mut borders = vec![0; literal.len()];
        let mut len = 0;
        for (at, byte) in literal.iter().enumerate().skip(1) {
            while len > 0 && literal.get(len) != Some(byte) {
                len = borders.get(len - 1).map_or(0, |border| *border as usize);
            }
            len += usize::from(literal.get(len) == Some(byte));
            if let Some(border) = borders.get_mut(at) {
                *border = len as u32;
            }
        }
        table.borders = borders.into();
        table
    }

    /// Returns the length of the proper prefix of the literal at the end of the stream after
    /// `bytes`, if the stream ended with one of `len` bytes before.
    fn advance(&self, len: usize, bytes: &[u8]) -> usize {
        // A longer history cannot be part of a proper prefix.
        let relevant = bytes.len().saturating_sub(self.literal.len());
        let mut len = if relevant > 0 { 0 } else { len };
        for byte in bytes.get(relevant..).unwrap_or_default() {
            while len > 0 && self.literal.get(len) != Some(byte) {
                len = self.border(len);
            }
            len += usize::from(self.literal.get(len) == Some(byte));
        }
        if len == self.literal.len() {
            len = self.border(len);
        }
        len
    }

    fn border(&self, len: usize) -> usize {
        let border = len.checked_sub(1).and_then(|at| self.borders.get(at));
        border.map_or(0, |border| *border as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn vector_search_skips_no_literal(
            literals in btree_set(vec(b'a'..=b'b', 1..24), 1..10),
            text in vec(b'a'..=b'c', 0..400),
            start in 0..50_usize,
            border in 0..400_usize,
        ) {
            let fast = LiteralSet::new(&literals).unwrap();
            let slow = LiteralSet { starts: None, ..LiteralSet::new(&literals).unwrap() };
            let ranges = |set: &LiteralSet| -> Vec<_> {
                let found = set.find(&text, start, border);
                found.into_iter().map(|found| found.range).collect()
            };
            prop_assert_eq!(ranges(&fast), ranges(&slow));
        }
    }
}
