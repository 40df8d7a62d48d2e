//! A line made of parts in colours, cut to the width of a terminal.

use std::ops::Range;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::text::{Role, Style};

/// Parts of a line, none of which has anything that a terminal would obey.
#[derive(Debug, Clone, Default)]
pub(crate) struct StyledLine(Vec<(Role, String)>);

impl StyledLine {
    /// A line of one part.
    pub(crate) fn with_role(tone: Role, text: impl Into<String>) -> Self {
        Self(vec![(tone, text.into())])
    }

    /// Adds a part at its end.
    pub(crate) fn add(&mut self, tone: Role, text: impl Into<String>) {
        self.0.push((tone, text.into()));
    }

    /// Columns that it takes.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Adds another line at its end.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The same line behind a text.
    pub(crate) fn behind(mut self, text: &str) -> Self {
        self.0.insert(0, (Role::Plain, text.to_owned()));
        self
    }

    /// At most so many columns of it; `…` stands for what was cut.
    pub(crate) fn cut(&self, columns: usize) -> Self {
        if self.width() <= columns {
            return self.clone();
        }
        let mut room = columns.saturating_sub(1);
        let mut cut = Self::default();
        for (tone, text) in &self.0 {
            let mut end = 0;
            for (at, c) in text.char_indices() {
                let width = c.width().unwrap_or(0);
                if width > room {
                    break;
                }
                room -= width;
                end = at + c.len_utf8();
            }
            cut.add(*tone, text.get(..end).unwrap_or_default());
            if end < text.len() {
                break;
            }
        }
        if columns > 0 {
            cut.add(Role::Plain, "…");
        }
        cut
    }

    /// The text of at most so many columns of it.
    pub(crate) fn fit(&self, style: Style, columns: usize) -> String {
        let parts = self.cut(columns).0;
        let shown: String = parts
            .iter()
            .map(|(tone, text)| style.paint(*tone, text))
            .collect();
        // Where colours would end is not to be seen.
        shown.trim_end_matches(' ').to_owned()
    }
}

/// Makes each column as wide as its widest cell in these rows.
pub(crate) fn widen<'a, const N: usize>(
    widths: &mut [usize; N],
    rows: impl IntoIterator<Item = &'a [StyledLine; N]>,
) {
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(cell.width());
        }
    }
}

/// A row of columns that are so wide, 0 for one that is left out; `right` are those that
/// stand at their right edge. A cell that is too wide is cut.
pub(crate) fn row<const N: usize>(
    cells: &[StyledLine; N],
    widths: &[usize; N],
    right: &Range<usize>,
) -> StyledLine {
    let mut row = StyledLine::default();
    for (at, (cell, width)) in cells.iter().zip(*widths).enumerate() {
        if width == 0 {
            continue;
        }
        let cell = cell.cut(width);
        let space = " ".repeat(width - cell.width());
        let (before, behind) = if right.contains(&at) {
            (space, String::new())
        } else {
            (String::new(), space)
        };
        row.add(Role::Plain, format!(" {before}"));
        row.append(cell);
        row.add(Role::Plain, format!("{behind} "));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_counts_columns() {
        let mut line = StyledLine::with_role(Role::Bad, "ab");
        line.add(Role::Plain, "日本c");
        let plain = |columns| line.fit(Style::default(), columns);
        assert_eq!(line.width(), 7);
        assert_eq!(plain(7), "ab日本c");
        assert_eq!(plain(6), "ab日…");
        assert_eq!(plain(5), "ab日…");
        assert_eq!(plain(2), "a…");
        assert_eq!(plain(0), "");
        let style = Style {
            color: true,
            width: None,
        };
        assert_eq!(line.fit(style, 3), "\x1b[31mab\x1b[0m…");
    }
}
