//! Makes what a job printed safe for a terminal: escape sequences are stripped, other control
//! characters are escaped, and a carriage return ends a line, so that nothing can be
//! overwritten.

use std::io;
use std::io::Write;

use super::style::{Role, Style, is_control};
use crate::job::StreamId;

/// Sanitizes output that arrives in chunks, which may end anywhere.
///
/// Where colors are enabled, stderr has one.
#[derive(Debug)]
pub struct Sanitizer {
    style: Style,
    /// The states of stdout, stderr and an unknown stream.
    streams: [SanitizedLine; 3],
}

impl Sanitizer {
    /// Creates a sanitizer for output from its start.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            streams: Default::default(),
        }
    }

    /// Writes the next chunk of a stream.
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
        let (line, role) = match stream {
            Some(StreamId::Stdout) => (stdout, Role::Plain),
            Some(StreamId::Stderr) => (stderr, Role::Bad),
            None => (unknown, Role::Plain),
        };
        let text = line.sanitize(bytes);
        for line in text.split_inclusive('\n') {
            // The color ends with each line.
            let (text, end) = line
                .strip_suffix('\n')
                .map_or((line, ""), |text| (text, "\n"));
            if !text.is_empty() {
                out.write_all(self.style.paint(role, text).as_bytes())?;
            }
            out.write_all(end.as_bytes())?;
        }
        Ok(())
    }
}

/// Returns the whole output of one stream as safe text.
pub(crate) fn sanitize(bytes: &[u8]) -> String {
    SanitizedLine::default().sanitize(bytes)
}

/// Returns the last `n` lines of output that are not blank. The last line may be unfinished.
pub(crate) fn last_lines(bytes: &[u8], n: usize) -> Vec<String> {
    let text = sanitize(bytes);
    let lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<_> = lines.take(n).map(finish_line).collect();
    lines.reverse();
    lines
}

/// Returns the last line of output that is not blank.
pub(crate) fn last_line(bytes: &[u8]) -> Option<String> {
    last_lines(bytes, 1).pop()
}

/// Replaces tabs, whose width would depend on where the line is shown.
fn finish_line(line: &str) -> String {
    line.trim_end().replace('\t', "    ")
}

/// The position of a stream in an escape sequence (ECMA-48, section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum EscapeState {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence: colors, cursor movements.
    Sequence,
    /// In a control string: titles, links, device commands.
    Message,
}

/// The state of one stream.
#[derive(Debug, Default)]
struct SanitizedLine {
    at: EscapeState,
    /// Whether the last character was a carriage return.
    returned: bool,
    /// The start of a character whose other bytes have not arrived yet.
    torn: Vec<u8>,
}

impl SanitizedLine {
    fn sanitize(&mut self, bytes: &[u8]) -> String {
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
            // No sequence extends past a line, so that an unterminated one hides no more.
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

    fn shown(chunks: &[(StreamId, &[u8])], color: bool) -> String {
        let mut printed = Sanitizer::new(Style {
            color,
            ..Style::default()
        });
        let mut out = Vec::new();
        for (stream, bytes) in chunks {
            printed.write(&mut out, Some(*stream), bytes).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn clean(text: &str) -> String {
        shown(&[(StreamId::Stdout, text.as_bytes())], true)
    }

    #[test]
    fn escape_sequences_are_stripped() {
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
    fn carriage_return_ends_line() {
        assert_eq!(
            clean("all is lost\rall is well\r\nend\n"),
            "all is lost\nall is well\nend\n"
        );
        assert_eq!(clean("\x1b]0;never ended\nnext\n"), "\nnext\n");
        assert_eq!(clean("\x1b[3\nnext\n"), "\nnext\n");
    }

    #[test]
    fn color_ends_with_line_and_chunk() {
        let chunks: [(StreamId, &[u8]); 3] = [
            (StreamId::Stderr, b"one\ntw"),
            (StreamId::Stdout, b"out\n"),
            (StreamId::Stderr, b"o\n"),
        ];
        let red = |text| format!("\x1b[31m{text}\x1b[0m");
        let expected = format!("{}\n{}out\n{}\n", red("one"), red("tw"), red("o"));
        assert_eq!(shown(&chunks, true), expected);
        assert_eq!(shown(&chunks, false), "one\ntwout\no\n");
    }

    #[test]
    fn split_escape_sequence_is_stripped() {
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
    fn last_line_is_not_blank() {
        assert_eq!(last_line(b"one\ntwo\n\n \n"), Some("two".to_owned()));
        assert_eq!(last_line(b"10%\r20%\r"), Some("20%".to_owned()));
        assert_eq!(last_line(b"no end"), Some("no end".to_owned()));
        assert_eq!(last_line(b"\x1b[2K\n"), None);
    }
}
