//! Parses the output of a job into the lines that a terminal would show.

use super::style::{Style, is_control};
use super::terminal_line::TerminalLine;

/// The maximum length of the parameters of a control sequence that is interpreted.
const MAX_PARAMS: usize = 64;

/// The parser's state within an escape sequence (ECMA-48, section 5).
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

/// A parser that turns the bytes of one stream into lines.
#[derive(Debug, Default)]
pub(super) struct OutputParser {
    state: EscapeState,
    /// The parameters of the control sequence so far.
    params: String,
    line: TerminalLine,
    /// The start of a character whose remaining bytes have not arrived yet.
    torn: Vec<u8>,
}

impl OutputParser {
    /// Creates a parser that keeps colors if the style has colors.
    pub(super) fn new(style: Style) -> Self {
        Self {
            line: TerminalLine::new(style),
            ..Self::default()
        }
    }

    /// Returns the line that is not finished yet.
    pub(super) fn unfinished_line(&self) -> String {
        self.line.text()
    }

    /// Finishes the current line and returns it.
    pub(super) fn finish_line(&mut self) -> String {
        self.line.finish()
    }

    /// Returns the lines that these bytes finish.
    pub(super) fn parse(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut input = std::mem::take(&mut self.torn);
        input.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut rest = input.as_slice();
        while let Err(e) = std::str::from_utf8(rest) {
            let (valid, bad) = rest.split_at_checked(e.valid_up_to()).unwrap_or_default();
            self.feed_all(valid, &mut lines);
            let Some(len) = e.error_len() else {
                self.torn = bad.to_vec();
                return lines;
            };
            self.feed('\u{fffd}', &mut lines);
            rest = bad.get(len..).unwrap_or_default();
        }
        self.feed_all(rest, &mut lines);
        lines
    }

    fn feed_all(&mut self, valid: &[u8], lines: &mut Vec<String>) {
        for c in std::str::from_utf8(valid).unwrap_or_default().chars() {
            self.feed(c, lines);
        }
    }

    fn feed(&mut self, c: char, lines: &mut Vec<String>) {
        if self.line.is_full() {
            lines.push(self.line.finish());
        }
        self.state = match (self.state, c) {
            // A line break ends any sequence, so that an unterminated one hides only one line.
            (_, '\n') => {
                lines.push(self.line.finish());
                EscapeState::Text
            }
            (_, '\r') => {
                self.line.carriage_return();
                EscapeState::Text
            }
            (_, '\u{1b}') | (EscapeState::Escape, ' '..='/') => EscapeState::Escape,
            (EscapeState::Sequence, '@'..='~') => {
                self.line.control(c, &self.params);
                EscapeState::Text
            }
            (EscapeState::Escape, '0'..='O' | 'Q'..='W' | 'Y' | 'Z' | '\\' | '`'..='~')
            | (EscapeState::Message, '\u{7}' | '\u{9c}') => EscapeState::Text,
            (EscapeState::Message, _)
            | (EscapeState::Escape, ']' | 'P' | 'X' | '^' | '_')
            | (_, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => EscapeState::Message,
            (EscapeState::Sequence, ' '..='?') => {
                if self.params.len() < MAX_PARAMS {
                    self.params.push(c);
                }
                EscapeState::Sequence
            }
            (EscapeState::Escape, '[') | (_, '\u{9b}') => {
                self.params.clear();
                EscapeState::Sequence
            }
            (_, '\u{8}') => {
                self.line.backspace();
                EscapeState::Text
            }
            (_, c) => {
                if c != '\t' && is_control(c) {
                    c.escape_default().for_each(|c| self.line.put(c));
                } else {
                    self.line.put(c);
                }
                EscapeState::Text
            }
        };
    }
}
