//! Masking of secrets in what runlog records.
//!
//! A secret is given as a regular expression (whose own text is masked too, for
//! it may be a secret that was simply pasted) or as `ENV:NAME`, the value of a
//! variable. Each expression is searched for by itself and overlapping finds are
//! masked together, so that one find never leaves the rest of another one
//! readable, which an alternation of them all would do.
//!
//! Nothing here shows a secret: errors name a specification by its number (even
//! the NAME of `ENV:NAME` is a secret if `ENV:$NAME` was written), and
//! `Debug` shows nothing of what is masked or held.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use memchr::memchr;
use regex::bytes::{Regex, RegexBuilder};

use crate::job::redact::stream_masker::StreamMasker;

/// What stands where a secret stood.
const MASK: &[u8] = b"***";

/// Lines of a multi-line value that are shorter are too common to be secrets.
const MIN_LINE_BYTES: usize = 4;

/// How much of an unfinished line is held back, unless a secret is longer.
const HOLD_BYTES: usize = 64 * 1024;

/// How long a match of a pattern is masked for certain in a line that is longer
/// than [`HOLD_BYTES`]; there is no limit in shorter ones.
const PATTERN_REACH_BYTES: usize = HOLD_BYTES / 2;

/// What is kept of the bytes already passed on, so that `^` and `\b` do not take
/// the start of the buffer for the start of a line or word: one character.
pub(crate) const CONTEXT_BYTES: usize = 4;

/// A literal may be a value of the environment, of up to 128 KiB, and its lines.
const LITERALS_SIZE_LIMIT: usize = 256 << 20;

/// Texts between and around whose characters every kind of boundary lies.
const PROBES: [&str; 6] = ["", "a", " ", "a a", "\na\n\n\r\n-", "-é0_ "];

/// Why secrets cannot be masked. Specifications are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The pattern has no text.
    #[error("redaction {number} is empty; give a regular expression, or ENV:NAME")]
    Empty {
        /// Which specification it is.
        number: usize,
    },
    /// The pattern is not a regular expression.
    #[error(
        "redaction {number} is not a regular expression: {reason}; a literal secret is best given \
         as ENV:NAME, the name of an environment variable that holds it"
    )]
    Invalid {
        /// Which specification it is.
        number: usize,
        /// What is wrong, without the pattern.
        reason: String,
    },
    /// The pattern can match where nothing is.
    #[error(
        "redaction {number} also matches the empty string, so that it would match everywhere; \
         write `+` in place of `*`, or ask for at least one character"
    )]
    MatchesEmpty {
        /// Which specification it is.
        number: usize,
    },
    /// The variable is not set.
    #[error(
        "redaction {number} names an environment variable that is not set; write ENV:NAME with \
         the name of the variable, not its value"
    )]
    Unset {
        /// Which specification it is.
        number: usize,
    },
    /// All literals together are too long.
    #[error("the values to be redacted are too long: {reason}; give fewer, or shorter ones")]
    TooLong {
        /// What is wrong, without the values.
        reason: String,
    },
    /// The variable's value is empty, or nothing but line ends.
    #[error(
        "redaction {number} names an environment variable that is empty; set it, or leave the redaction out"
    )]
    EmptyValue {
        /// Which specification it is.
        number: usize,
    },
}

/// Knows the secrets and masks them; cheap to clone.
#[derive(Clone)]
pub struct Redactor {
    secrets: Arc<Secrets>,
}

pub(crate) struct Secrets {
    matchers: Vec<Matcher>,
    /// How much of an unfinished line must be seen again with what follows it.
    pub(crate) overlap: usize,
    /// From how much on an unfinished line is passed on.
    pub(crate) hold: usize,
}

struct Matcher {
    regex: Regex,
    /// Literals are also looked for inside of what already matched: their
    /// length is bounded, so that this stays linear, and none is left half.
    literal: bool,
}

/// Where the search for each matcher's next match begins.
pub(crate) type Starts = Vec<usize>;

impl Redactor {
    /// Makes a redactor of specifications, each a regular expression or
    /// `ENV:NAME`; `env` looks up a variable. `None` if there is nothing to mask.
    ///
    /// # Errors
    ///
    /// When a pattern is empty, invalid, or matches the empty string, or when a
    /// variable is unset or empty.
    pub fn new(
        specs: &[String],
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, RedactError> {
        if specs.is_empty() {
            return Ok(None);
        }
        let mut literals = BTreeSet::new();
        let mut matchers = Vec::new();
        for (number, spec) in (1..).zip(specs) {
            if let Some(name) = spec.strip_prefix("ENV:") {
                let value = env(name).ok_or(RedactError::Unset { number })?;
                add_value(&mut literals, &value.into_vec())
                    .ok_or(RedactError::EmptyValue { number })?;
            } else {
                matchers.push(Matcher {
                    regex: compile_pattern(spec, number)?,
                    literal: false,
                });
                literals.insert(spec.as_bytes().to_vec());
            }
        }
        // Within a line only: that is how streams are masked.
        let longest = literals
            .iter()
            .filter(|literal| memchr(b'\n', literal).is_none())
            .map(Vec::len)
            .max()
            .unwrap_or(1);
        let reach = if matchers.is_empty() {
            0
        } else {
            PATTERN_REACH_BYTES
        };
        let overlap = reach.max(longest - 1);
        matchers.push(Matcher {
            regex: compile_literals(literals)?,
            literal: true,
        });
        Ok(Some(Self {
            secrets: Arc::new(Secrets {
                matchers,
                overlap,
                // At least half of what is held is passed on each time: linear.
                hold: HOLD_BYTES.max(2 * (overlap + CONTEXT_BYTES)),
            }),
        }))
    }

    /// Masks every secret in `bytes`.
    pub fn mask<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let found = self
            .secrets
            .find(bytes, &mut self.secrets.starts(), usize::MAX);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        write_masked(bytes, &found, 0, bytes.len(), &mut out);
        Cow::Owned(out)
    }

    /// Masks every secret in `text`.
    pub fn mask_str<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.mask(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A secret that is not UTF-8 may have been cut out of a character.
            Cow::Owned(bytes) => Cow::Owned(
                String::from_utf8(bytes)
                    .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
            ),
        }
    }

    /// Whether `text` holds a secret.
    pub fn changed(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        self.secrets
            .matchers
            .iter()
            .any(|matcher| matcher.next(bytes, 0).is_some())
    }

    /// Makes a masker for one stream.
    pub fn stream(&self) -> StreamMasker {
        StreamMasker::new(&self.secrets)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// One find.
pub(crate) struct SecretMatch {
    pub(crate) range: Range<usize>,
    /// It might have been longer, had there been more to see.
    pub(crate) open_ended: bool,
}

impl Secrets {
    pub(crate) fn starts(&self) -> Starts {
        vec![0; self.matchers.len()]
    }

    /// All matches that begin before `border`, sorted by where they begin.
    /// `starts` are moved to where the search would go on.
    pub(crate) fn find(
        &self,
        bytes: &[u8],
        starts: &mut Starts,
        border: usize,
    ) -> Vec<SecretMatch> {
        let mut found = Vec::new();
        for (matcher, start) in self.matchers.iter().zip(starts) {
            while let Some(range) = matcher.next(bytes, *start)
                && range.start < border
            {
                *start = if matcher.literal {
                    range.start + 1
                } else {
                    range.end
                };
                found.push(SecretMatch {
                    range,
                    open_ended: !matcher.literal,
                });
            }
            *start = (*start).max(border);
        }
        found.sort_unstable_by_key(|found| found.range.start);
        found
    }
}

impl Matcher {
    /// The next match at or after `start` that is not empty.
    fn next(&self, bytes: &[u8], mut start: usize) -> Option<Range<usize>> {
        // Patterns that match the empty string are refused as far as that can be
        // told from outside; should one do so after all, nothing is masked there.
        while start < bytes.len() {
            let range = self.regex.find_at(bytes, start)?.range();
            if !range.is_empty() {
                return Some(range);
            }
            start = range.end + 1;
        }
        None
    }
}

/// Writes `bytes` from `at` to `until` with what was found masked, and returns
/// up to where it is written: further than `until` if a match goes beyond.
pub(crate) fn write_masked(
    bytes: &[u8],
    found: &[SecretMatch],
    mut at: usize,
    until: usize,
    out: &mut Vec<u8>,
) -> usize {
    for SecretMatch { range, .. } in found {
        // One that begins before `at` overlaps another, whose mask serves both.
        if range.start >= at {
            out.extend_from_slice(bytes.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(MASK);
        }
        at = at.max(range.end);
    }
    out.extend_from_slice(bytes.get(at..until).unwrap_or_default());
    at.max(until)
}

/// Compiles a user's pattern.
fn compile_pattern(spec: &str, number: usize) -> Result<Regex, RedactError> {
    if spec.is_empty() {
        return Err(RedactError::Empty { number });
    }
    let regex = RegexBuilder::new(spec)
        .build()
        .map_err(|e| RedactError::Invalid {
            number,
            reason: safe_reason(&e),
        })?;
    let matches_empty = |probe: &[u8]| {
        (0..=probe.len())
            .filter_map(|at| regex.find_at(probe, at))
            .any(|found| found.is_empty())
    };
    if PROBES.iter().any(|probe| matches_empty(probe.as_bytes())) {
        return Err(RedactError::MatchesEmpty { number });
    }
    Ok(regex)
}

/// What is wrong with a pattern, without the picture of it that regex draws: the
/// pattern may be a secret.
fn safe_reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it takes more than {limit} bytes once compiled")
        }
        other => other
            .to_string()
            .lines()
            .next_back()
            .and_then(|line| line.strip_prefix("error: "))
            .unwrap_or("its syntax is wrong")
            .to_owned(),
    }
}

/// Adds a variable's value, and its lines, since streams are masked by line.
/// `None` if nothing is left of it without the line ends around it.
fn add_value(literals: &mut BTreeSet<Vec<u8>>, value: &[u8]) -> Option<()> {
    let is_line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let first = value.iter().position(|byte| !is_line_end(byte))?;
    let last = value.iter().rposition(|byte| !is_line_end(byte))?;
    let value = value.get(first..=last)?;
    literals.insert(value.to_vec());
    for line in value.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() >= MIN_LINE_BYTES {
            literals.insert(line.to_vec());
        }
    }
    Some(())
}

/// One expression for all literals, the longest first, so that it wins.
fn compile_literals(literals: BTreeSet<Vec<u8>>) -> Result<Regex, RedactError> {
    let mut literals: Vec<_> = literals.into_iter().collect();
    literals.sort_by_key(|literal| std::cmp::Reverse(literal.len()));
    let mut expression = String::new();
    for literal in literals {
        if !expression.is_empty() {
            expression.push('|');
        }
        expression.push_str("(?-u:");
        for byte in literal {
            // Writing to a string does not fail.
            _ = write!(expression, "\\x{byte:02x}");
        }
        expression.push(')');
    }
    RegexBuilder::new(&expression)
        .size_limit(LITERALS_SIZE_LIMIT)
        .build()
        .map_err(|e| RedactError::TooLong {
            reason: safe_reason(&e),
        })
}

#[cfg(test)]
#[path = "masker_tests.rs"]
mod tests;
