//! Masking secrets in texts.
//!
//! A secret is specified as a regular expression (whose own text is masked too, because it may
//! be a pasted secret) or as `ENV:NAME`, the value of a variable. A regular expression without
//! special characters is a literal.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use memchr::memchr;
use regex::bytes::{Regex, RegexBuilder};

use super::literal_set::LiteralSet;
use super::matchers::Matchers;
use super::secret_match::write_masked;
use super::stream_masker::StreamMasker;

/// The start of a specification that names an environment variable.
pub(crate) const ENV: &str = "ENV:";

/// The minimum length of a line of a multi-line value that is masked separately. Shorter lines
/// are too common to be secrets.
const MIN_LINE_BYTES: usize = 4;

/// The characters that make a regular expression more than a literal.
const SPECIAL_CHARACTERS: [char; 14] = [
    '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$',
];

/// Texts with every kind of boundary between and around their characters.
const PROBES: [&str; 6] = ["", "a", " ", "a a", "\na\n\n\r\n-", "-é0_ "];

/// An error in the specification of secrets. Specifications are counted from 1.
///
/// Messages never show a specification: even the NAME of `ENV:NAME` is a secret if the user
/// wrote `ENV:$NAME`.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The pattern is empty.
    #[error("redaction {number} is empty; give a regular expression, or ENV:NAME")]
    Empty {
        /// The number of the specification.
        number: usize,
    },
    /// The pattern is not a regular expression.
    #[error(
        "redaction {number} is not a regular expression: {reason}; a literal secret is best given \
         as ENV:NAME, the name of an environment variable that holds it"
    )]
    Invalid {
        /// The number of the specification.
        number: usize,
        /// The cause, without the pattern.
        reason: String,
    },
    /// The pattern matches the empty string.
    #[error(
        "redaction {number} matches the empty string and would mask everything; replace `*` with \
         `+`, or require at least one character"
    )]
    MatchesEmpty {
        /// The number of the specification.
        number: usize,
    },
    /// The variable is not set.
    #[error(
        "redaction {number} names an environment variable that is not set; write ENV:NAME with \
         the name of the variable, not its value"
    )]
    Unset {
        /// The number of the specification.
        number: usize,
    },
    /// The literals are too long in total.
    #[error("the values to redact are too long: {reason}; give fewer or shorter ones")]
    TooLong {
        /// The cause, without the values.
        reason: String,
    },
    /// The value of the variable is empty or has only line ends.
    #[error(
        "redaction {number} names an environment variable that is empty; set it, or omit the redaction"
    )]
    EmptyValue {
        /// The number of the specification.
        number: usize,
    },
}

/// The secrets of a redactor under construction.
#[derive(Default)]
pub(crate) struct SecretSpecs {
    patterns: Vec<Regex>,
    literals: BTreeSet<Vec<u8>>,
}

impl SecretSpecs {
    /// Parses specifications, each a regular expression or `ENV:NAME`. `env` looks up a
    /// variable.
    ///
    /// # Errors
    /// A pattern is empty, invalid, or matches the empty string, or a variable is unset or
    /// empty.
    pub(crate) fn parse(
        specs: &[String],
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, RedactError> {
        let mut secrets = Self::default();
        for (number, spec) in (1..).zip(specs) {
            if let Some(name) = spec.strip_prefix(ENV) {
                let value = env(name).ok_or(RedactError::Unset { number })?;
                if !secrets.add_value(&value.into_vec(), MIN_LINE_BYTES) {
                    return Err(RedactError::EmptyValue { number });
                }
                continue;
            }
            let pattern = compile_pattern(spec, number)?;
            secrets.literals.insert(spec.as_bytes().to_vec());
            if spec.contains(SPECIAL_CHARACTERS) {
                secrets.patterns.push(pattern);
            }
        }
        Ok(secrets)
    }

    /// Adds a value, its lines of at least `min_line_bytes`, and its form in JSON. Returns
    /// `false` if the value is empty without the line ends around it.
    pub(crate) fn add_value(&mut self, value: &[u8], min_line_bytes: usize) -> bool {
        let value = trim_line_ends(value);
        if value.is_empty() {
            return false;
        }
        self.literals.insert(value.to_vec());
        self.literals.extend(json_escaped(value));
        for line in value.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() >= min_line_bytes {
                self.literals.insert(line.to_vec());
            }
        }
        true
    }

    /// Builds the redactor. Returns `None` if there is nothing to mask.
    ///
    /// # Errors
    /// The literals are too long in total.
    pub(crate) fn build(self) -> Result<Option<Redactor>, RedactError> {
        if self.patterns.is_empty() && self.literals.is_empty() {
            return Ok(None);
        }
        let texts = matchers(&self.patterns, &self.literals)?;
        let (in_lines, across): (BTreeSet<_>, BTreeSet<_>) = self
            .literals
            .into_iter()
            .partition(|literal| memchr(b'\n', literal).is_none());
        // Without patterns, a stream need not be split into lines.
        if self.patterns.is_empty() || across.is_empty() {
            return Ok(Some(Redactor {
                lines: Arc::clone(&texts),
                across_lines: None,
                texts,
            }));
        }
        Ok(Some(Redactor {
            lines: matchers(&self.patterns, &in_lines)?,
            across_lines: Some(matchers(&[], &across)?),
            texts,
        }))
    }
}

fn matchers(
    patterns: &[Regex],
    literals: &BTreeSet<Vec<u8>>,
) -> Result<Arc<Matchers>, RedactError> {
    let literals = LiteralSet::new(literals).map_err(|e| RedactError::TooLong {
        reason: e.to_string(),
    })?;
    Ok(Arc::new(Matchers {
        patterns: patterns.to_vec(),
        literals,
    }))
}

/// Returns the form of the value in a JSON string, if that differs.
fn json_escaped(value: &[u8]) -> Option<Vec<u8>> {
    let json = serde_json::to_string(std::str::from_utf8(value).ok()?).ok()?;
    let escaped = json.get(1..json.len() - 1)?.as_bytes();
    (escaped != value).then(|| escaped.to_vec())
}

/// A redactor that masks secrets. Cloning it is cheap.
#[derive(Clone)]
pub struct Redactor {
    /// The matchers for whole texts.
    texts: Arc<Matchers>,
    /// The matchers for streams, in which patterns match only within lines.
    lines: Arc<Matchers>,
    /// The literals with a line end for streams, if there are patterns.
    across_lines: Option<Arc<Matchers>>,
}

impl Redactor {
    /// Masks every secret in `bytes`.
    pub fn mask<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let found = self.texts.find(bytes, &mut self.texts.starts(), usize::MAX);
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

    /// Returns whether `text` contains a secret.
    pub fn is_match(&self, text: &str) -> bool {
        self.texts.is_match(text.as_bytes())
    }

    /// Returns a masker for one stream.
    pub fn stream(&self) -> StreamMasker {
        StreamMasker::new(&self.lines, self.across_lines.as_ref())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// Removes the line ends around a value.
pub(crate) fn trim_line_ends(value: &[u8]) -> &[u8] {
    let is_line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let first = value.iter().position(|byte| !is_line_end(byte));
    let last = value.iter().rposition(|byte| !is_line_end(byte));
    match (first, last) {
        (Some(first), Some(last)) => value.get(first..=last).unwrap_or_default(),
        _ => &[],
    }
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

/// Returns the cause of an error without the excerpt of the pattern that regex adds, because the
/// pattern may be a secret.
fn safe_reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("its compiled size exceeds {limit} bytes")
        }
        other => other
            .to_string()
            .lines()
            .next_back()
            .and_then(|line| line.strip_prefix("error: "))
            .unwrap_or("invalid syntax")
            .to_owned(),
    }
}
