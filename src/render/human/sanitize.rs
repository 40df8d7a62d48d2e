//! Sanitizing of job output for a terminal.
//!
//! A line is shown in the form that a terminal would show at its end, so a progress bar is one
//! line. Colors are kept if they are enabled. All other escape sequences are removed, and other
//! control characters are escaped.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use super::output_parser::OutputParser;
use super::style::{Role, Style};
use crate::log::StreamId;

/// The character that starts each sequence.
const ESCAPE: char = '\u{1b}';
/// The sequence that erases the rest of a line (ECMA-48, EL).
const ERASE_REST: &str = "\x1b[K";
/// How to replace a line that was written before it was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnfinishedLines {
    /// In place, on a terminal that can move its cursor.
    Overwrite,
    /// By writing it again on the next line.
    Repeat,
}

/// A sanitizer for the output of jobs, which arrives in chunks of any length.
///
/// It writes a line when the line is finished; [`Sanitizer::flush`] writes unfinished lines. If
/// colors are enabled, it keeps the colors of the job, and colors stderr that has none.
#[derive(Debug)]
pub struct Sanitizer {
    style: Style,
    unfinished: UnfinishedLines,
    streams: Vec<SanitizedStream>,
    /// The position in `streams` of each stream of each job.
    positions: HashMap<(String, Option<StreamId>), usize>,
    /// The stream whose unfinished line is the last one on the terminal.
    open: Option<usize>,
}

/// A stream, and the part of it that is on the terminal.
#[derive(Debug)]
struct SanitizedStream {
    role: Role,
    parser: OutputParser,
    /// The unfinished line as it was last written.
    shown: String,
}

impl Sanitizer {
    /// Creates a sanitizer for output from its start.
    pub fn new(style: Style, unfinished: UnfinishedLines) -> Self {
        Self {
            style,
            unfinished,
            streams: Vec::new(),
            positions: HashMap::new(),
            open: None,
        }
    }

    /// Writes the lines that this chunk finishes.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(
        &mut self,
        out: &mut dyn Write,
        job: &str,
        stream: Option<StreamId>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let at = self.position(job, stream);
        let Some(target) = self.streams.get_mut(at) else {
            return Ok(());
        };
        for line in target.parser.parse(bytes) {
            self.show(out, at, &line)?;
            out.write_all(b"\n")?;
            self.open = None;
            if let Some(stream) = self.streams.get_mut(at) {
                stream.shown.clear();
            }
        }
        Ok(())
    }

    fn position(&mut self, job: &str, stream: Option<StreamId>) -> usize {
        let streams = &mut self.streams;
        let position = self.positions.entry((job.to_owned(), stream));
        *position.or_insert_with(|| {
            streams.push(SanitizedStream {
                role: role_of(stream),
                parser: OutputParser::new(self.style),
                shown: String::new(),
            });
            streams.len() - 1
        })
    }

    /// Ends the last line on the terminal, if it is unfinished.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn end_line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.open.take().is_some() {
            out.write_all(b"\n")?;
        }
        self.streams.iter_mut().for_each(|s| s.shown.clear());
        Ok(())
    }

    /// Writes the unfinished lines that have changed since the last call.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for at in 0..self.streams.len() {
            let Some(stream) = self.streams.get(at) else {
                continue;
            };
            let line = stream.parser.unfinished_line();
            if line.is_empty() || line == stream.shown {
                continue;
            }
            self.show(out, at, &line)?;
            self.open = Some(at);
            if let Some(stream) = self.streams.get_mut(at) {
                stream.shown = line;
            }
        }
        Ok(())
    }

    /// Writes a line without its line break, over its unfinished form if that is on the
    /// terminal.
    fn show(&mut self, out: &mut dyn Write, at: usize, line: &str) -> io::Result<()> {
        if self.open.is_some_and(|open| open != at) {
            // Leave the line of another stream unfinished, and repeat it later.
            self.end_line(out)?;
        }
        let stream = self.streams.get(at);
        let colored = line.contains(ESCAPE);
        let role = match stream {
            Some(stream) if !colored => stream.role,
            _ => Role::Plain,
        };
        let shown = stream.filter(|_| self.open.is_some());
        let shown = shown.map(|stream| stream.shown.as_str());
        // The start of a colored line ends with its own sequence.
        let is_rest = |rest: &&str| rest.is_empty() || !colored;
        let added = |shown| line.strip_prefix(shown).filter(is_rest);
        let text = match shown.map(added) {
            None => self.style.paint(role, line),
            Some(Some(added)) => self.style.paint(role, added),
            Some(None) => {
                let line = self.style.paint(role, line);
                match self.unfinished {
                    UnfinishedLines::Overwrite => format!("\r{line}{ERASE_REST}"),
                    UnfinishedLines::Repeat => format!("\n{line}"),
                }
            }
        };
        out.write_all(text.as_bytes())
    }
}

/// Returns the whole output of one stream as sanitized text.
pub(crate) fn sanitize(bytes: &[u8]) -> String {
    let mut parser = OutputParser::default();
    let mut text = parser.parse(bytes).join("\n");
    let rest = parser.finish_line();
    if !text.is_empty() || bytes.contains(&b'\n') {
        text.push('\n');
    }
    text.push_str(&rest);
    text
}

/// Returns a line of a stream, without its line break, sanitized for a terminal. If colors are
/// enabled, the job's colors are kept, and stderr without colors gets one.
pub fn sanitized_line(style: Style, stream: Option<StreamId>, bytes: &[u8]) -> String {
    let mut parser = OutputParser::new(style);
    let mut line = parser.parse(bytes).concat();
    line.push_str(&parser.finish_line());
    let role = if line.contains(ESCAPE) {
        Role::Plain
    } else {
        role_of(stream)
    };
    style.paint(role, &line)
}

fn role_of(stream: Option<StreamId>) -> Role {
    match stream {
        Some(StreamId::Stderr) => Role::Bad,
        Some(StreamId::Stdout | StreamId::Both) | None => Role::Plain,
    }
}

/// Returns the last `n` lines of output that are not blank. The last line may be unfinished.
pub fn last_text_lines(bytes: &[u8], n: usize) -> Vec<String> {
    let text = sanitize(bytes);
    let lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let mut lines: Vec<_> = lines.take(n).map(finish_line).collect();
    lines.reverse();
    lines
}

/// Returns the last line of output that is not blank.
pub(crate) fn last_line(bytes: &[u8]) -> Option<String> {
    last_text_lines(bytes, 1).pop()
}

/// Replaces tabs, whose width would depend on the position of the line.
fn finish_line(line: &str) -> String {
    line.trim_end().replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: StreamId = StreamId::Stdout;
    const ERR: StreamId = StreamId::Stderr;

    /// Returns the text that is written for these chunks, with a flush after each.
    fn shown(chunks: &[(StreamId, &[u8])], color: bool) -> String {
        let style = Style {
            color,
            ..Style::default()
        };
        let mut sanitizer = Sanitizer::new(style, UnfinishedLines::Overwrite);
        let mut out = Vec::new();
        for (stream, bytes) in chunks {
            sanitizer
                .write(&mut out, "j", Some(*stream), bytes)
                .unwrap();
            sanitizer.flush(&mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn clean(text: &str) -> String {
        shown(&[(OUT, text.as_bytes())], true)
    }

    #[test]
    fn single_line_keeps_enabled_colors() {
        let line = |color, stream, bytes: &[u8]| {
            let style = Style {
                color,
                ..Style::default()
            };
            sanitized_line(style, Some(stream), bytes)
        };
        let printed = b"10%\r\x1b[1;31mred\x1b[0m\x1b]52;c;aGk=\x07 x\x07";
        assert_eq!(line(false, OUT, printed), "red x\\u{7}");
        assert_eq!(line(true, OUT, printed), "\x1b[1;31mred\x1b[0m x\\u{7}");
        assert_eq!(line(true, ERR, printed), "\x1b[1;31mred\x1b[0m x\\u{7}");
        assert_eq!(line(true, ERR, b"plain"), "\x1b[31mplain\x1b[0m");
    }

    #[test]
    fn colors_are_kept_where_they_are_enabled() {
        let printed = b"\x1b[1;31mred\x1b[0m\x1b[5m no\x1b[32mgreen\ntoo\n";
        assert_eq!(shown(&[(OUT, printed)], false), "red nogreen\ntoo\n");
        let line = "\x1b[1;31mred\x1b[0m no\x1b[32mgreen\x1b[0m";
        let colored = format!("{line}\n\x1b[32mtoo\x1b[0m\n");
        assert_eq!(shown(&[(OUT, printed)], true), colored);
        assert_eq!(shown(&[(ERR, printed)], true), colored);
    }

    #[test]
    fn colored_line_is_replaced_as_a_whole() {
        let chunks: [(StreamId, &[u8]); 3] =
            [(OUT, b"\x1b[31m10%"), (OUT, b"\r\x1b[32m99%"), (OUT, b"\n")];
        assert_eq!(
            shown(&chunks, true),
            "\x1b[31m10%\x1b[0m\r\x1b[32m99%\x1b[0m\x1b[K\n"
        );
    }

    #[test]
    fn escape_sequences_are_stripped() {
        assert_eq!(clean("plain\ttext ✓\n"), "plain\ttext ✓\n");
        assert_eq!(clean("\x1b[H\x1b[2Jhome\x1b[>4;2m\n"), "home\n");
        assert_eq!(clean("\x1b]0;title\x07a\x1b]8;;x\x1b\\b\n"), "ab\n");
        assert_eq!(clean("\u{9b}2Ja\u{9d}t\u{9c}b\n"), "ab\n");
        assert_eq!(clean("\x1b]52;c;b3duZWQ=\x07a\x1b[?1049hb\n"), "ab\n");
        assert_eq!(clean("b\x07\u{202e}c\n"), "b\\u{7}\\u{202e}c\n");
        assert_eq!(clean("\x1b(0\x1bcx\n"), "x\n");
    }

    #[test]
    fn unterminated_sequence_ends_with_line() {
        assert_eq!(clean("\x1b]0;never ended\nnext\n"), "\nnext\n");
        assert_eq!(clean("\x1b[3\nnext\n"), "\nnext\n");
    }

    #[test]
    fn line_is_shown_as_terminal_leaves_it() {
        assert_eq!(clean(" 10%\r 20%\r100%\r\nend\n"), "100%\nend\n");
        assert_eq!(clean("long text\rshort\n"), "shorttext\n");
        assert_eq!(clean("long text\r\x1b[Kshort\n"), "short\n");
        assert_eq!(clean("abc\x1b[2K\rd\n"), "d\n");
        assert_eq!(clean("|\x08/\x08-\n"), "-\n");
        assert_eq!(clean("ab\x1b[1Gc\x1b[3Cd\x1b[2De\n"), "cb ed\n");
        assert_eq!(clean("\x1b[999999999Cx\n").trim_start_matches(' '), "x\n");
        assert!(clean("\x1b[999999999Cx\n").len() < 10_000);
    }

    #[test]
    fn unfinished_line_is_rewritten_in_place() {
        let chunks: [(StreamId, &[u8]); 4] = [
            (OUT, b"10%"),
            (OUT, b"\r20%"),
            (OUT, b" of all"),
            (OUT, b"\n"),
        ];
        assert_eq!(shown(&chunks, false), "10%\r20%\x1b[K of all\n");
    }

    #[test]
    fn unfinished_line_is_repeated_after_other_stream() {
        let chunks: [(StreamId, &[u8]); 3] = [(ERR, b"one\ntw"), (OUT, b"out\n"), (ERR, b"o\n")];
        assert_eq!(shown(&chunks, false), "one\ntw\nout\ntwo\n");
        let red = |text| format!("\x1b[31m{text}\x1b[0m");
        let expected = [
            &red("one"),
            "\n",
            &red("tw"),
            "\nout\n",
            &red("tw"),
            &red("o"),
            "\n",
        ];
        assert_eq!(shown(&chunks, true), expected.concat());
    }

    #[test]
    fn split_escape_sequence_is_stripped() {
        let text = "é\x1b[1;31m✓\x1b]0;t\x07\r\n\u{9b}mx".as_bytes();
        let whole = shown(&[(OUT, text)], false);
        assert_eq!(whole, "é✓\nx");
        let each: Vec<_> = text.chunks(1).map(|b| (OUT, b)).collect();
        assert_eq!(shown(&each, false), whole);
        assert_eq!(shown(&[(OUT, b"a\xffb\xe2\x82")], true), "a\u{fffd}b");
    }

    #[test]
    fn line_length_is_bounded() {
        let line = "x".repeat(200_000);
        let text = clean(&line);
        assert_eq!(text.replace('\n', ""), line);
        assert!(text.contains('\n'));
    }

    #[test]
    fn last_line_is_not_blank() {
        assert_eq!(last_line(b"one\ntwo\n\n \n"), Some("two".to_owned()));
        assert_eq!(last_line(b"10%\r20%\r"), Some("20%".to_owned()));
        assert_eq!(last_line(b"no end"), Some("no end".to_owned()));
        assert_eq!(last_line(b"\x1b[2K\n"), None);
    }
}
