//! A line of parts with different roles, truncated to the width of a terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::style::{Role, Style};

/// A line of parts. No part may contain characters that a terminal interprets.
#[derive(Debug, Clone, Default)]
pub(crate) struct StyledLine(Vec<(Role, String)>);

impl StyledLine {
    /// Creates a line with a single part.
    pub(crate) fn with_role(role: Role, text: impl Into<String>) -> Self {
        Self(vec![(role, text.into())])
    }

    /// Appends a part.
    pub(crate) fn push(&mut self, role: Role, text: impl Into<String>) {
        self.0.push((role, text.into()));
    }

    /// Returns the width of the line in columns.
    fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Appends all parts of another line.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Returns this line with a text in front of it.
    pub(crate) fn prefixed(mut self, text: &str) -> Self {
        self.0.insert(0, (Role::Plain, text.to_owned()));
        self
    }

    /// Returns at most `columns` columns of the line as text. An ellipsis replaces the part that
    /// was cut off.
    pub(crate) fn fit(&self, style: Style, columns: usize) -> String {
        let ellipsis = style.glyphs.ellipsis();
        let is_cut = self.width() > columns;
        let mut room = if is_cut {
            columns.saturating_sub(ellipsis.width())
        } else {
            columns
        };
        let mut shown = String::new();
        for (role, text) in &self.0 {
            let kept = prefix(text, room);
            room = room.saturating_sub(kept.width());
            shown.push_str(&style.paint(*role, kept));
            if kept.len() < text.len() {
                break;
            }
        }
        if is_cut && columns >= ellipsis.width() {
            shown.push_str(ellipsis);
        }
        // Trailing spaces are invisible.
        shown.truncate(shown.trim_end_matches(' ').len());
        shown
    }
}

/// Returns as many whole characters from the start of the text as fit into `columns`.
pub(crate) fn prefix(text: &str, columns: usize) -> &str {
    let mut room = columns;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let width = c.width().unwrap_or(0);
        if width > room {
            break;
        }
        room -= width;
        end = at + c.len_utf8();
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::human::style::Glyphs;

    #[test]
    fn line_is_cut_by_columns() {
        let mut line = StyledLine::with_role(Role::Bad, "ab");
        line.push(Role::Plain, "日本c");
        let plain = |columns| line.fit(Style::default(), columns);
        assert_eq!(line.width(), 7);
        assert_eq!(plain(7), "ab日本c");
        assert_eq!(plain(6), "ab日…");
        assert_eq!(plain(5), "ab日…");
        assert_eq!(plain(2), "a…");
        assert_eq!(plain(0), "");
        let mut style = Style {
            color: true,
            ..Style::default()
        };
        assert_eq!(line.fit(style, 3), "\x1b[31mab\x1b[0m…");
        style.glyphs = Glyphs::Ascii;
        assert_eq!(line.fit(style, 6), "\x1b[31mab\x1b[0m...");
    }
}
