//! Masking of secrets in what runlog records.
//!
//! A secret is given as a regular expression (whose own text is masked too, for
//! it may be a secret that was simply pasted) or as `ENV:NAME`, the value of a
//! variable. Each expression is searched for by itself and overlapping finds are
//! masked together, so that one find never leaves the rest of another one
//! readable, which an alternation of them all would do.
//!
//! Nothing here shows a secret: errors name a specification by its number (even
//! the NAME of `ENV:NAME` is a secret when somebody wrote `ENV:$NAME`), and
//! `Debug` shows nothing of what is masked or held.

use memchr::{memchr, memchr_iter};
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

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
const CONTEXT_BYTES: usize = 4;

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

struct Secrets {
    matchers: Vec<Matcher>,
    /// How much of an unfinished line must be seen again with what follows it.
    overlap: usize,
    /// From how much on an unfinished line is passed on.
    hold: usize,
}

struct Matcher {
    regex: Regex,
    /// Literals are also looked for inside of what already matched: their
    /// length is bounded, so that this stays linear, and none is left half.
    literal: bool,
}

/// Where the search for each matcher's next match begins.
type Starts = Vec<usize>;

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
                    regex: pattern(spec, number)?,
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
            regex: any_of(literals)?,
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
        StreamMasker {
            secrets: Arc::clone(&self.secrets),
            held: Vec::new(),
            written: 0,
            starts: self.secrets.starts(),
            swallow: false,
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// Masks one stream, line by line.
///
/// Complete lines are passed on at once. A line that is not complete is held
/// back; from 64 KiB on it is passed on but for its last bytes, enough that a
/// literal secret that goes on there is still masked whole. So literals are
/// masked as if each line had been seen as a whole, whatever its length. In
/// lines of more than 64 KiB a pattern's match is, up to 32 KiB; a longer one
/// takes the rest of its line with it, for its end cannot be known.
pub struct StreamMasker {
    secrets: Arc<Secrets>,
    /// The unfinished line, but for what is of no use any more.
    held: Vec<u8>,
    /// Up to where `held` has been passed on or masked.
    written: usize,
    starts: Starts,
    /// The rest of this line belongs to a match that was too long to hold.
    swallow: bool,
}

impl StreamMasker {
    /// Takes the next bytes of the stream, and appends to `out` what may be
    /// written now.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut start = 0;
        for newline in memchr_iter(b'\n', chunk) {
            let line = chunk.get(start..newline).unwrap_or_default();
            self.end_line(line, out);
            out.push(b'\n');
            start = newline + 1;
        }
        if !self.swallow {
            self.held
                .extend_from_slice(chunk.get(start..).unwrap_or_default());
        }
        if self.held.len() >= self.secrets.hold {
            self.pass_on(out);
        }
    }

    /// Ends the stream: appends to `out` what is still held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_line(&[], out);
    }

    /// Passes on the line that `rest` completes.
    fn end_line(&mut self, rest: &[u8], out: &mut Vec<u8>) {
        if !self.swallow {
            // Most lines come whole and need not be copied.
            let line = if self.held.is_empty() {
                rest
            } else {
                self.held.extend_from_slice(rest);
                &self.held
            };
            let found = self.secrets.find(line, &mut self.starts, usize::MAX);
            write_masked(line, &found, self.written, line.len(), out);
        }
        self.swallow = false;
        self.held.clear();
        self.written = 0;
        self.starts.fill(0);
    }

    /// Passes on what no longer depends on what is still to come.
    ///
    /// The border lies so that every literal that begins before it has been seen
    /// whole. So matches that begin before it are decided now, even if they end
    /// behind it, and those that begin later are found again with more to see.
    fn pass_on(&mut self, out: &mut Vec<u8>) {
        let len = self.held.len();
        let border = len.saturating_sub(self.secrets.overlap);
        let found = self.secrets.find(&self.held, &mut self.starts, border);
        self.written = write_masked(&self.held, &found, self.written, border, out);
        // Only a pattern's match can begin before the border and not have ended.
        if found.iter().any(|m| m.open_ended && m.range.end == len) {
            self.swallow = true;
            self.held.clear();
            return;
        }
        let gone = border.saturating_sub(CONTEXT_BYTES);
        self.held.drain(..gone);
        self.written -= gone;
        for start in &mut self.starts {
            *start -= gone;
        }
    }
}

impl fmt::Debug for StreamMasker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMasker")
            .field("held_bytes", &self.held.len())
            .finish_non_exhaustive()
    }
}

/// One find.
struct Found {
    range: Range<usize>,
    /// It might have been longer, had there been more to see.
    open_ended: bool,
}

impl Secrets {
    fn starts(&self) -> Starts {
        vec![0; self.matchers.len()]
    }

    /// All matches that begin before `border`, sorted by where they begin.
    /// `starts` are moved to where the search would go on.
    fn find(&self, bytes: &[u8], starts: &mut Starts, border: usize) -> Vec<Found> {
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
                found.push(Found {
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
fn write_masked(
    bytes: &[u8],
    found: &[Found],
    mut at: usize,
    until: usize,
    out: &mut Vec<u8>,
) -> usize {
    for Found { range, .. } in found {
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
fn pattern(spec: &str, number: usize) -> Result<Regex, RedactError> {
    if spec.is_empty() {
        return Err(RedactError::Empty { number });
    }
    let regex = RegexBuilder::new(spec)
        .build()
        .map_err(|e| RedactError::Invalid {
            number,
            reason: reason(&e),
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
fn reason(error: &regex::Error) -> String {
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
fn any_of(literals: BTreeSet<Vec<u8>>) -> Result<Regex, RedactError> {
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
        .map_err(|e| RedactError::TooLong { reason: reason(&e) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn make(specs: &[&str], value: &[u8]) -> Result<Option<Redactor>, RedactError> {
        let specs: Vec<String> = specs.iter().map(|s| (*s).to_owned()).collect();
        Redactor::new(&specs, &|name| {
            (name == "KEY").then(|| OsString::from_vec(value.to_vec()))
        })
    }

    fn redactor(specs: &[&str]) -> Redactor {
        make(specs, b"").unwrap().unwrap()
    }

    fn key(value: &[u8]) -> Redactor {
        make(&["ENV:KEY"], value).unwrap().unwrap()
    }

    fn masked(redactor: &Redactor, text: &str) -> String {
        assert_eq!(
            redactor.changed(text),
            matches!(redactor.mask_str(text), Cow::Owned(_))
        );
        redactor.mask_str(text).into_owned()
    }

    fn streamed<'a>(redactor: &Redactor, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stream = redactor.stream();
        for chunk in chunks {
            stream.push(chunk, &mut out);
        }
        stream.finish(&mut out);
        out
    }

    fn by_line(redactor: &Redactor, text: &[u8]) -> Vec<u8> {
        let lines: Vec<_> = text
            .split(|&b| b == b'\n')
            .map(|line| redactor.mask(line).into_owned())
            .collect();
        lines.join(&b'\n')
    }

    fn holds(bytes: &[u8], literal: &[u8]) -> bool {
        memchr::memmem::find(bytes, literal).is_some()
    }

    #[test]
    fn is_shared_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<Redactor>();
        check::<StreamMasker>();
    }

    #[test]
    fn no_specifications_mean_no_redactor() {
        assert!(Redactor::new(&[], &|_| None).unwrap().is_none());
    }

    #[test]
    fn patterns_match_as_expressions_and_as_they_stand() {
        let r = redactor(&["token=[a-z]+"]);
        assert_eq!(masked(&r, "a token=abc1 b"), "a ***1 b");
        assert_eq!(masked(&r, "a token=[a-z]+ b"), "a *** b");
        assert_eq!(masked(&r, "nothing"), "nothing");
        let r = redactor(&["a.b$c"]);
        assert_eq!(masked(&r, "xa.b$cx"), "x***x");
        assert_eq!(
            masked(&redactor(&["(?i)abc"]), "ABC abc abcABC"),
            "*** *** ******"
        );
        // An `x` comment must not reach beyond its own pattern, nor a name.
        let r = redactor(&["(?x)foo # bar", "(?P<n>q)1", "(?P<n>q)2"]);
        assert_eq!(masked(&r, "foo q1 q2 bar"), "*** *** *** bar");
    }

    #[test]
    fn longer_literals_win_and_none_is_left_half() {
        let r = redactor(&["secret", "secretlong", "longer"]);
        assert_eq!(masked(&r, "secretlong secret"), "*** ***");
        assert_eq!(masked(&r, "secretlonger!"), "***!");
        assert_eq!(masked(&redactor(&["abab"]), "xabababx ababab"), "x***x ***");
        assert_eq!(masked(&redactor(&["abc"]), "abcabc"), "******");
        // A match of a pattern that begins earlier must not uncover the rest.
        assert_eq!(masked(&redactor(&["x+", "xyz"]), "xxyz"), "***");
    }

    #[test]
    fn values_are_literal_bytes() {
        assert_eq!(masked(&key(b"a.c*"), "abc a.c*"), "abc ***");
        let r = key(b"\xff\x00k");
        assert_eq!(r.mask(b"a\xff\x00k!").as_ref(), b"a***!");
        assert_eq!(r.mask(b"a\xffk!").as_ref(), b"a\xffk!");
        // A secret that lies within a character still gives valid text.
        assert_eq!(masked(&key(b"\xa9"), "\u{e9}"), "\u{fffd}***");
    }

    #[test]
    fn lines_of_a_value_are_secrets_too() {
        let r = key(b"-----BEGIN-----\r\nabcdef\nxyz\n\nghij\n");
        assert_eq!(masked(&r, "1 abcdef 2 ghij 3 xyz 4"), "1 *** 2 *** 3 xyz 4");
        assert_eq!(
            masked(&r, "<-----BEGIN-----\r\nabcdef\nxyz\n\nghij\n>"),
            "<***\n>"
        );
        assert_eq!(
            streamed(&r, [&b"-----BEGIN-----\r\nabc"[..], b"def\nghij"]),
            b"***\r\n***\n***"
        );
        // A value with just a newline at its end is that value, however short.
        assert_eq!(masked(&key(b"abc\n"), "abc\nabc"), "***\n***");
    }

    #[test]
    fn bad_specifications_are_refused() {
        let number = |specs: &[&str]| make(specs, b"").unwrap_err().to_string();
        insta::assert_snapshot!(number(&["ok", ""]), @"redaction 2 is empty; give a regular expression, or ENV:NAME");
        insta::assert_snapshot!(number(&["hunter2("]), @"redaction 1 is not a regular expression: unclosed group; a literal secret is best given as ENV:NAME, the name of an environment variable that holds it");
        insta::assert_snapshot!(number(&["ENV:hunter2"]), @"redaction 1 names an environment variable that is not set; write ENV:NAME with the name of the variable, not its value");
        insta::assert_snapshot!(number(&["ENV:KEY"]), @"redaction 1 names an environment variable that is empty; set it, or leave the redaction out");
        insta::assert_snapshot!(number(&["a*"]), @"redaction 1 also matches the empty string, so that it would match everywhere; write `+` in place of `*`, or ask for at least one character");
        assert!(matches!(
            make(&["ENV:"], b""),
            Err(RedactError::Unset { number: 1 })
        ));
        assert!(matches!(
            make(&["ENV:KEY"], b"\r\n\n"),
            Err(RedactError::EmptyValue { number: 1 })
        ));
        for empty in [
            "a?",
            "",
            "^",
            "$",
            "\\b",
            "\\B",
            "(?m)^",
            "(?m)$",
            "x|",
            "(a|b*)",
            "()",
            "a{0}",
            "[a-z]|\\b",
            "\\w|\\b",
            "(?-u:\\b)",
            "\\b{start}",
            "\\b{end}",
            "(?R)$",
            "\\b$",
            "(?s).|\\b",
        ] {
            assert!(make(&[empty], b"").is_err(), "{empty}");
        }
        for fine in [
            "a+",
            "^a",
            "a$",
            "\\bfoo\\b",
            "\\s+",
            "(a|b)c*",
            "(?-u:\\xff)",
            ".",
        ] {
            assert!(make(&[fine], b"").is_ok(), "{fine}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        for spec in [
            "hunter2(",
            "hunter2)",
            "[hunter2",
            "hunter2{2,1}",
            "hunter2\\p{hunter2}",
            "(?hunter2)",
            "*hunter2",
            "(?P<hunter2>a)(?P<hunter2>b)",
            "hunter2\n(",
            "\\x{hunter2}",
            "(?P<hunter2",
            "(hunter2{1000}){1000}{1000}",
            "\\hunter2",
            "(hunter2)*",
            "ENV:hunter2",
            "hunter2\nerror: hunter2(",
        ] {
            let error = make(&[spec], b"").expect_err(spec);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter"), "{shown}");
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                assert!(!format!("{inner} {inner:?}").contains("hunter"));
                source = inner.source();
            }
        }
        let r = redactor(&["hunter2"]);
        let mut stream = r.stream();
        stream.push(b"hunter2", &mut Vec::new());
        insta::assert_snapshot!(format!("{r:?} {stream:?}"), @"Redactor { .. } StreamMasker { held_bytes: 7, .. }");
    }

    #[test]
    fn complete_lines_pass_at_once_and_others_wait() {
        let r = redactor(&["key"]);
        let mut stream = r.stream();
        let mut out = Vec::new();
        stream.push(b"a key\nb k", &mut out);
        assert_eq!(out, b"a ***\n");
        stream.push(b"ey\n\n", &mut out);
        assert_eq!(out, b"a ***\nb ***\n\n");
        stream.push(b"ke", &mut out);
        stream.finish(&mut out);
        assert_eq!(out, b"a ***\nb ***\n\nke");
        // After its end a masker is as new.
        stream.push(b"y", &mut out);
        stream.finish(&mut out);
        assert_eq!(out, b"a ***\nb ***\n\nkey");
    }

    #[test]
    fn little_is_held_of_a_long_line() {
        let r = key(b"key");
        let mut stream = r.stream();
        let mut out = Vec::new();
        for pushed in 1..200_000_usize {
            stream.push(b"x", &mut out);
            assert!(pushed - out.len() < HOLD_BYTES + 4);
            assert!(stream.held.len() <= HOLD_BYTES);
        }
    }

    /// Every way a secret can lie across the border of what is held.
    #[test]
    fn a_secret_across_the_border_is_masked() {
        let secret = b"s3cret-s3cret-value";
        let literal = key(secret);
        let pattern = redactor(&["s3[a-z3-]+value"]);
        for offset in
            (HOLD_BYTES / 2 - 40..HOLD_BYTES / 2 + 40).chain(HOLD_BYTES - 40..HOLD_BYTES + 40)
        {
            let mut text = vec![b'.'; offset];
            text.extend_from_slice(secret);
            text.extend_from_slice(&vec![b','; 70_000]);
            for r in [&literal, &pattern] {
                for size in [1000, 4096, 65_536] {
                    assert_eq!(streamed(r, text.chunks(size)), r.mask(&text).as_ref());
                }
            }
        }
    }

    #[test]
    fn boundaries_are_those_of_the_line_not_of_the_buffer() {
        let r = redactor(&["^abc", "\\bxyz"]);
        let text = b"abcxyz\xc3\xa9".repeat(30_000);
        for size in [1000, 1003, 65_536] {
            assert_eq!(streamed(&r, text.chunks(size)), r.mask(&text).as_ref());
        }
    }

    #[test]
    fn a_match_too_long_to_hold_takes_the_rest_of_its_line() {
        let r = redactor(&["k=[a-z]+"]);
        let mut text = b"go k=".to_vec();
        text.extend_from_slice(&vec![b'z'; 200_000]);
        text.extend_from_slice(b" end\nnext k=a line");
        assert_eq!(streamed(&r, text.chunks(1000)), b"go ***\nnext *** line");
        // Within reach it is masked as it should be.
        let mut text = vec![b'.'; 50_000];
        text.extend_from_slice(b"k=");
        text.extend_from_slice(&vec![b'z'; 30_000]);
        text.extend_from_slice(b" end");
        assert_eq!(streamed(&r, text.chunks(1000)), r.mask(&text).as_ref());
    }

    #[test]
    fn a_value_longer_than_what_is_held_is_masked() {
        let value: Vec<u8> = (0..120_000_u32)
            .map(|i| b'a' + (i % 1000 * i % 23) as u8)
            .collect();
        let r = key(&value);
        let mut text = vec![b'a'; 100_000];
        text.extend_from_slice(&value);
        text.extend_from_slice(b"tail");
        assert_eq!(streamed(&r, text.chunks(4096)), r.mask(&text).as_ref());
        assert!(r.mask(&text).ends_with(b"***tail"));
    }

    #[test]
    fn long_streams_take_linear_time() {
        let started = Instant::now();
        let chunk = vec![b's'; 65_536];
        for r in [redactor(&["secret"]), redactor(&["s+e"]), redactor(&["ss"])] {
            let mut stream = r.stream();
            for _ in 0..32 {
                let mut out = Vec::new();
                stream.push(&chunk, &mut out);
            }
        }
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{:?}",
            started.elapsed()
        );
    }

    /// Text that is full of the secrets, whole, torn and overlapping.
    fn text(max_parts: usize) -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"secret".to_vec()),
            Just(b"secretlong".to_vec()),
            Just(b"abab".to_vec()),
            Just(b"ab".to_vec()),
            Just(b"sec".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\xff\xfe".to_vec()),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(part, 0..max_parts).prop_map(|parts| parts.concat())
    }

    fn chunks<'a>(text: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let mut rest = text;
        let mut out = Vec::new();
        for &size in sizes.iter().cycle().take(text.len()) {
            let (head, tail) = rest.split_at(size.min(rest.len()));
            out.push(head);
            rest = tail;
        }
        out.push(rest);
        out
    }

    const LITERALS: [&[u8]; 4] = [b"secret", b"secretlong", b"abab", b"\xff\xfe"];

    fn literals() -> Redactor {
        make(&["secret", "secretlong", "abab", "ENV:KEY"], b"\xff\xfe")
            .unwrap()
            .unwrap()
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(text in text(60), sizes in prop::collection::vec(1_usize..40, 1..8)) {
            let r = literals();
            let out = streamed(&r, chunks(&text, &sizes));
            prop_assert_eq!(&out, &by_line(&r, &text));
            for literal in LITERALS {
                prop_assert!(!holds(&out, literal));
            }
            let r = redactor(&["[a-c]+\\b", "secret(long)?$", "^s"]);
            prop_assert_eq!(streamed(&r, chunks(&text, &sizes)), by_line(&r, &text));
        }

        #[test]
        fn what_holds_no_secret_is_passed_on_byte_for_byte(
            text in text(60),
            sizes in prop::collection::vec(1_usize..40, 1..8),
        ) {
            let r = redactor(&["never-in-there", "[0-9]{90}"]);
            prop_assert_eq!(streamed(&r, chunks(&text, &sizes)), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn long_lines_are_masked_as_if_seen_whole(
            text in text(60),
            repeat in 1_usize..3000,
            sizes in prop::collection::vec(1_usize..100_000, 1..8),
        ) {
            let line: Vec<u8> = text.iter().copied().filter(|&b| b != b'\n').collect();
            let long = line.repeat(repeat.min(400_000 / (line.len() + 1) + 1));
            let r = literals();
            let out = streamed(&r, chunks(&long, &sizes));
            prop_assert!(out == by_line(&r, &long));
            for literal in LITERALS {
                prop_assert!(!holds(&out, literal));
            }
            let r = redactor(&["never-in-there", "[0-9]{90}"]);
            prop_assert!(streamed(&r, chunks(&long, &sizes)) == long);
        }
    }
}
