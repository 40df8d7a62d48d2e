//! A search for a regular expression, line by line, with the libraries of ripgrep.

use std::io;
use std::ops::Range;

use grep_matcher::Matcher as _;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder};
use jiff::Timestamp;

use crate::volume::JobId;

/// Whether upper and lower case letters are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternCase {
    /// They differ.
    Sensitive,
    /// They are the same.
    Ignored,
}

/// The pattern, and the number of lines to include around each match.
#[derive(Debug, Clone, Copy)]
pub struct SearchOptions<'a> {
    /// The regular expression.
    pub pattern: &'a str,
    /// Whether case matters.
    pub case: PatternCase,
    /// The number of lines before each match.
    pub before: usize,
    /// The number of lines after each match.
    pub after: usize,
}

/// A compiled search. Each thread needs its own clone.
#[derive(Debug, Clone)]
pub struct LineSearch {
    pub(crate) pattern: LinePattern,
    pub(crate) searcher: Searcher,
}

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub struct LinePattern(pub(crate) RegexMatcher);

/// The next item of a search.
#[derive(Debug)]
pub enum SearchItem<'a> {
    /// A line.
    Line(FoundLine<'a>),
    /// A break: the next line does not directly follow the last one.
    Break,
}

/// A line that matches, or that is close to one that does.
#[derive(Debug)]
pub struct FoundLine<'a> {
    /// The origin of the line.
    pub origin: LineOrigin,
    /// The line without its end.
    pub bytes: &'a [u8],
    /// Whether it matches.
    pub kind: LineKind,
}

/// Whether a line matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// It matches.
    Match,
    /// It is close to a line that does.
    Context,
}

/// The origin of a line.
#[derive(Debug, Clone)]
pub struct LineOrigin {
    /// The job, if the line concerns one.
    pub job: Option<JobId>,
    /// The stream that it was printed to, or `events`; `None` if unknown.
    pub stream: Option<&'static str>,
    /// When it was written, if known.
    pub ts: Option<Timestamp>,
    /// The file in the run's directory.
    pub file: String,
    /// The offset of the line in that file before compression, in bytes.
    pub offset: u64,
}

/// A callback for the items of a search.
pub type OnFound<'a> = dyn FnMut(SearchItem<'_>) -> io::Result<()> + 'a;

impl LineSearch {
    /// Compiles a search.
    ///
    /// # Errors
    /// The pattern is not a regular expression. The message is a single line.
    pub fn new(options: SearchOptions<'_>) -> Result<Self, String> {
        let matcher = RegexMatcherBuilder::new()
            .case_insensitive(options.case == PatternCase::Ignored)
            .multi_line(true)
            .line_terminator(Some(b'\n'))
            .build(options.pattern)
            .map_err(|e| last_line_of(&e.to_string()))?;
        let searcher = SearcherBuilder::new()
            .line_number(false)
            .bom_sniffing(false)
            .binary_detection(BinaryDetection::none())
            .before_context(options.before)
            .after_context(options.after)
            .build();
        let pattern = LinePattern(matcher);
        Ok(Self { pattern, searcher })
    }

    /// Returns the pattern.
    pub fn pattern(&self) -> &LinePattern {
        &self.pattern
    }
}

impl LinePattern {
    /// Returns the ranges of all matches in a line.
    pub fn matches(&self, line: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let searched = self.0.find_iter(line, |m| {
            found.push(m.start()..m.end());
            true
        });
        // This matcher cannot fail.
        searched.map_or_else(|_| Vec::new(), |()| found)
    }
}

/// Returns the problem with a pattern. The other lines of the message draw its position.
fn last_line_of(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(pattern: &str, case: PatternCase) -> Result<LinePattern, String> {
        let search = LineSearch::new(SearchOptions {
            pattern,
            case,
            before: 0,
            after: 0,
        })?;
        Ok(search.pattern)
    }

    #[test]
    fn matches_are_found_in_one_line() {
        let search = compile("a+", PatternCase::Ignored).unwrap();
        assert_eq!(search.matches(b"xaA\xffa"), [1..3, 4..5]);
        let search = compile("^é", PatternCase::Sensitive).unwrap();
        assert_eq!(search.matches("éÉé".as_bytes()).first(), Some(&(0..2)));
    }

    #[test]
    fn bad_pattern_is_reported_in_one_line() {
        let error = |pattern| compile(pattern, PatternCase::Sensitive).unwrap_err();
        assert_eq!(error("(x"), "unclosed group");
        assert!(!error(r"a\nb").contains('\n'));
    }
}
