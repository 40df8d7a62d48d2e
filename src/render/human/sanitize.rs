//! What a job printed, as a terminal may show it: whatever it is, the terminal obeys nothing
//! of it. Escape sequences are left out, other control characters are written as text, and
//! a carriage return ends a line, so that nothing can be written over.

use std::io;
use std::io::Write;

use super::text::{Role, Style, is_control};
use crate::job::StreamId;

/// Cleans what was printed, in pieces that may end anywhere. At a terminal, what came from
/// stderr has a colour.
#[derive(Debug)]
pub struct Sanitizer {
    style: Style,
    /// Of stdout, of stderr, and of a stream that is not known.
    streams: [SanitizedLine; 3],
}

impl Sanitizer {
    /// Nothing was printed so far.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            streams: Default::default(),
        }
    }

    /// Writes the next piece of a stream.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(
        &mut self,
        out: &mut dyn Write,
        stream: Option<StreamId>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let [stdout, stderr, unknown] = &mut self.streams;
        let (cleaner, tone) = match stream {
            Some(StreamId::Stdout) => (stdout, Role::Plain),
            Some(StreamId::Stderr) => (stderr, Role::Bad),
            None => (unknown, Role::Plain),
        };
        let text = cleaner.clean(bytes);
        for line in text.split_inclusive('\n') {
            // The colour ends with each line.
            let (text, end) = line
                .strip_suffix('\n')
                .map_or((line, ""), |text| (text, "\n"));
            if !text.is_empty() {
                out.write_all(self.style.paint(tone, text).as_bytes())?;
            }
            out.write_all(end.as_bytes())?;
        }
        Ok(())
    }
}

/// The last lines of what was printed that have anything in them; the very last may not be
/// ended yet.
pub(crate) fn last_lines(bytes: &[u8], n: usize) -> Vec<String> {
    let text = SanitizedLine::default().clean(bytes);
    let lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<_> = lines.take(n).map(finish_line).collect();
    lines.reverse();
    lines
}

/// The very last one.
pub(crate) fn last_line(bytes: &[u8]) -> Option<String> {
    last_lines(bytes, 1).pop()
}

/// A tab goes to a column that depends on where the line stands.
fn finish_line(line: &str) -> String {
    line.trim_end().replace('\t', "    ")
}

/// Where in an escape sequence a stream is (ECMA-48, section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum EscapeState {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// In a control sequence: colours, movements.
    Sequence,
    /// In a string: titles, links, what a program sends to the terminal.
    Message,
}

/// Leaves out what a terminal would obey.
#[derive(Debug, Default)]
struct SanitizedLine {
    at: EscapeState,
    /// A carriage return came last.
    returned: bool,
    /// The start of a character whose rest has not come.
    torn: Vec<u8>,
}

impl SanitizedLine {
    fn clean(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.torn);
        input.extend_from_slice(bytes);
        let mut text = String::with_capacity(input.len());
        let mut rest = input.as_slice();
        while let Err(e) = std::str::from_utf8(rest) {
            let (valid, bad) = rest.split_at_checked(e.valid_up_to()).unwrap_or_default();
            self.feed_all(valid, &mut text);
            let Some(len) = e.error_len() else {
                self.torn = bad.to_vec();
                return text;
            };
            self.feed('\u{fffd}', &mut text);
            rest = bad.get(len..).unwrap_or_default();
        }
        self.feed_all(rest, &mut text);
        text
    }

    fn feed_all(&mut self, valid: &[u8], text: &mut String) {
        for c in std::str::from_utf8(valid).unwrap_or_default().chars() {
            self.feed(c, text);
        }
    }

    fn feed(&mut self, c: char, text: &mut String) {
        if std::mem::take(&mut self.returned) && c != '\n' {
            text.push('\n');
        }
        self.at = match (self.at, c) {
            // No sequence goes over the end of a line, so that a torn one hides no more.
            (_, '\n') => {
                text.push('\n');
                EscapeState::Text
            }
            (_, '\r') => {
                self.returned = true;
                EscapeState::Text
            }
            (_, '\u{1b}') | (EscapeState::Escape, ' '..='/') => EscapeState::Escape,
            (EscapeState::Escape, '0'..='O' | 'Q'..='W' | 'Y' | 'Z' | '\\' | '`'..='~')
            | (EscapeState::Sequence, '@'..='~')
            | (EscapeState::Message, '\u{7}' | '\u{9c}') => EscapeState::Text,
            (EscapeState::Message, _)
            | (EscapeState::Escape, ']' | 'P' | 'X' | '^' | '_')
            | (_, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => EscapeState::Message,
            (EscapeState::Escape, '[') | (EscapeState::Sequence, ' '..='?') | (_, '\u{9b}') => {
                EscapeState::Sequence
            }
            (_, c) => {
                if c != '\t' && is_control(c) {
                    text.extend(c.escape_default());
                } else {
                    text.push(c);
                }
                EscapeState::Text
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[(StreamId, &[u8])], color: bool) -> String {
        let mut printed = Sanitizer::new(Style { color, width: None });
        let mut out = Vec::new();
        for (stream, bytes) in pieces {
            printed.write(&mut out, Some(*stream), bytes).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn clean(text: &str) -> String {
        shown(&[(StreamId::Stdout, text.as_bytes())], true)
    }

    #[test]
    fn nothing_is_obeyed() {
        assert_eq!(clean("plain\ttext ✓\n"), "plain\ttext ✓\n");
        assert_eq!(
            clean("\x1b[31mred\x1b[0m \x1b[2J\x1b[Hgone\n"),
            "red gone\n"
        );
        assert_eq!(clean("\x1b]0;title\x07a\x1b]8;;x\x1b\\b\n"), "ab\n");
        assert_eq!(clean("\u{9b}2Ja\u{9d}t\u{9c}b\n"), "ab\n");
        assert_eq!(clean("a\x08b\x07\u{202e}c\n"), "a\\u{8}b\\u{7}\\u{202e}c\n");
        assert_eq!(clean("\x1b(0\x1bcx\n"), "x\n");
    }

    #[test]
    fn nothing_is_written_over_or_hidden_behind_a_line() {
        assert_eq!(
            clean("all is lost\rall is well\r\nend\n"),
            "all is lost\nall is well\nend\n"
        );
        assert_eq!(clean("\x1b]0;never ended\nnext\n"), "\nnext\n");
        assert_eq!(clean("\x1b[3\nnext\n"), "\nnext\n");
    }

    #[test]
    fn a_colour_ends_with_its_line_and_its_piece() {
        let pieces: [(StreamId, &[u8]); 3] = [
            (StreamId::Stderr, b"one\ntw"),
            (StreamId::Stdout, b"out\n"),
            (StreamId::Stderr, b"o\n"),
        ];
        let red = |text| format!("\x1b[31m{text}\x1b[0m");
        let expected = format!("{}\n{}out\n{}\n", red("one"), red("tw"), red("o"));
        assert_eq!(shown(&pieces, true), expected);
        assert_eq!(shown(&pieces, false), "one\ntwout\no\n");
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let text = "é\x1b[1;31m✓\x1b]0;t\x07\r\n\u{9b}mx".as_bytes();
        let whole = shown(&[(StreamId::Stdout, text)], true);
        assert_eq!(whole, "é✓\nx");
        let each: Vec<_> = text.chunks(1).map(|b| (StreamId::Stdout, b)).collect();
        assert_eq!(shown(&each, true), whole);
        assert_eq!(
            shown(&[(StreamId::Stdout, b"a\xffb\xe2\x82")], true),
            "a\u{fffd}b"
        );
    }

    #[test]
    fn the_last_line_has_something_in_it() {
        assert_eq!(last_line(b"one\ntwo\n\n \n"), Some("two".to_owned()));
        assert_eq!(last_line(b"10%\r20%\r"), Some("20%".to_owned()));
        assert_eq!(last_line(b"no end"), Some("no end".to_owned()));
        assert_eq!(last_line(b"\x1b[2K\n"), None);
    }
}
