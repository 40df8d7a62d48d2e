//! The layout of tables: which columns fit, and their widths.
//!
//! Lines are never wrapped. If a terminal is too narrow, whole columns are dropped, in the order
//! that the table defines, and then other columns are truncated. Columns with text that people
//! copy, such as ids, are never dropped or truncated: an id that is too long extends beyond its
//! column, and the terminal wraps the line, which keeps the id in one piece.

use std::io;
use std::io::Write;

use unicode_width::UnicodeWidthStr as _;

use super::style::{Role, Style};
use super::styled_line::{StyledLine, prefix};

/// The gap between two columns.
const GAP: usize = 2;
/// Spaces for gaps and padding.
const SPACES: &str = "                                ";

/// A cell of a table.
#[derive(Debug, Clone)]
pub struct StyledCell {
    role: Role,
    text: String,
}

impl StyledCell {
    pub(crate) fn new(role: Role, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { role, text }
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::new(Role::Plain, text)
    }
}

/// The edge of a column that its cells are aligned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// How a column adapts to a terminal that is too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The column is neither dropped nor truncated.
    Whole,
    /// The column is dropped. The columns with the lowest numbers are dropped first.
    Drop(u8),
    /// The cells are truncated to no less than this width before any column is dropped.
    Cut(usize),
    /// The cells are truncated to no less than this width once no more columns can be dropped.
    CutLast(usize),
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub name: &'static str,
    pub align: Align,
    pub fit: Fit,
}

impl Column {
    pub(crate) const fn text(name: &'static str, fit: Fit) -> Self {
        Self {
            name,
            align: Align::Left,
            fit,
        }
    }

    pub(crate) const fn number(name: &'static str, fit: Fit) -> Self {
        Self {
            name,
            align: Align::Right,
            fit,
        }
    }
}

/// Returns the width of a text in columns. ASCII is a fast path, because nearly all cells are.
fn columns_of(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.width()
    }
}

fn parts(cells: &[StyledCell]) -> impl Iterator<Item = (Role, &str)> {
    cells.iter().map(|cell| (cell.role, cell.text.as_str()))
}

/// The columns of a table with their widths.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    style: Style,
    /// Each column with its width; `None` for a dropped column.
    columns: Vec<(&'a Column, Option<usize>)>,
}

impl<'a> Layout<'a> {
    /// Lays out the columns for these rows within the width of the terminal.
    pub(crate) fn new<'r>(
        style: Style,
        columns: &'a [Column],
        rows: &(impl Iterator<Item = &'r [StyledCell]> + Clone),
    ) -> Self {
        let mut widths: Vec<usize> = columns.iter().map(|column| column.name.len()).collect();
        for row in rows.clone() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns_of(&cell.text));
            }
        }
        let columns = columns.iter().zip(widths.into_iter().map(Some)).collect();
        let mut layout = Self { style, columns };
        if let Some(room) = style.width {
            layout.exclude_overlong(usize::from(room), rows);
            layout.narrow(usize::from(room));
        }
        layout
    }

    /// Lets a cell that does not fit beside the other columns that are never dropped extend
    /// beyond its column, so that other rows keep their columns. If no cell fits, this applies
    /// only to those longer than a line.
    fn exclude_overlong<'r>(
        &mut self,
        room: usize,
        rows: &(impl Iterator<Item = &'r [StyledCell]> + Clone),
    ) {
        let whole = |(column, width): &(&Column, Option<usize>)| {
            let is_whole = column.fit == Fit::Whole;
            width.filter(|_| is_whole).map_or(0, |width| width + GAP)
        };
        let mut needed: usize = self.columns.iter().map(whole).sum();
        for (at, (column, width)) in self.columns.iter_mut().enumerate() {
            let Some(width) = width.as_mut().filter(|_| column.fit == Fit::Whole) else {
                continue;
            };
            if needed <= room + GAP {
                return;
            }
            let limit = (room + GAP + *width).saturating_sub(needed);
            let cells = rows.clone().filter_map(|row| row.get(at));
            let lengths = cells.map(|cell| columns_of(&cell.text));
            let longest = |limit| lengths.clone().filter(|length| *length <= limit).max();
            let Some(fitting) = longest(limit).or_else(|| longest(room)) else {
                return;
            };
            needed -= *width;
            *width = fitting.max(column.name.len());
            needed += *width;
        }
    }

    /// Drops and truncates columns until the table fits, or until nothing more can be removed.
    fn narrow(&mut self, room: usize) {
        let mut optional: Vec<(u8, usize)> = Vec::new();
        for (at, (column, _)) in self.columns.iter().enumerate() {
            if let Fit::Drop(order) = column.fit {
                optional.push((order, at));
            }
        }
        optional.sort_unstable();
        for (_, at) in optional {
            if self.width_if_cut() <= room {
                break;
            }
            if let Some((_, width)) = self.columns.get_mut(at) {
                *width = None;
            }
        }
        let mut excess = self.width().saturating_sub(room);
        for (column, width) in &mut self.columns {
            if let (Fit::Cut(min) | Fit::CutLast(min), Some(width)) = (column.fit, width) {
                let cut = excess.min(width.saturating_sub(min));
                *width -= cut;
                excess -= cut;
            }
        }
    }

    fn width(&self) -> usize {
        let widths = self.columns.iter().filter_map(|(_, width)| *width);
        widths
            .map(|width| width + GAP)
            .sum::<usize>()
            .saturating_sub(GAP)
    }

    /// Returns the width of the table with all cells truncated as far as possible.
    fn width_if_cut(&self) -> usize {
        let spare = self.columns.iter().map(|(column, width)| match column.fit {
            Fit::Cut(min) => width.unwrap_or(0).saturating_sub(min),
            Fit::Whole | Fit::Drop(_) | Fit::CutLast(_) => 0,
        });
        self.width().saturating_sub(spare.sum())
    }

    /// Returns the line with the names of the columns, truncated to the width of the terminal.
    pub(crate) fn header(&self) -> String {
        self.cut(&self.styled_line(self.names()))
    }

    /// Returns the line for a row, truncated to the width of the terminal.
    ///
    /// Unlike [`Layout::write`], this is for a screen that would not wrap a longer line.
    pub(crate) fn row(&self, cells: &[StyledCell]) -> String {
        self.cut(&self.styled_line(parts(cells)))
    }

    fn cut(&self, line: &StyledLine) -> String {
        let room = self.style.width.map_or(usize::MAX, usize::from);
        line.fit(self.style, room)
    }

    fn names(&self) -> impl Iterator<Item = (Role, &'static str)> {
        let names = self.columns.iter().map(|(column, _)| column.name);
        names.map(|name| (Role::Strong, name))
    }

    /// Returns whether this text does not fit into the column at this position.
    pub(crate) fn cuts(&self, column: usize, text: &str) -> bool {
        let width = self.columns.get(column).and_then(|(_, width)| *width);
        width.is_none_or(|width| columns_of(text) > width)
    }

    /// Writes the header and these rows.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub(crate) fn write<'r>(
        &self,
        out: &mut dyn Write,
        rows: impl Iterator<Item = &'r [StyledCell]>,
    ) -> io::Result<()> {
        writeln!(out, "{}", self.line(self.names()))?;
        for row in rows {
            writeln!(out, "{}", self.line(parts(row)))?;
        }
        Ok(())
    }

    /// Passes on the parts of a line, from left to right.
    fn emit<'c>(
        &self,
        cells: impl Iterator<Item = (Role, &'c str)>,
        mut push: impl FnMut(Role, &str),
    ) {
        // Written only before the next text, so that no line ends in spaces.
        let mut spaces = 0;
        let ellipsis = self.style.glyphs.ellipsis();
        for ((role, text), (column, width)) in cells.zip(&self.columns) {
            let Some(width) = *width else {
                continue;
            };
            let (kept, mark) = if columns_of(text) > width && column.fit != Fit::Whole {
                let room = width.saturating_sub(columns_of(ellipsis));
                (prefix(text, room), ellipsis)
            } else {
                (text, "")
            };
            let padding = width.saturating_sub(columns_of(kept) + columns_of(mark));
            if column.align == Align::Right {
                spaces += padding;
            }
            if !kept.is_empty() {
                while spaces > 0 {
                    let padding = SPACES.get(..spaces).unwrap_or(SPACES);
                    push(Role::Plain, padding);
                    spaces -= padding.len();
                }
                push(role, kept);
                push(Role::Plain, mark);
            }
            if column.align == Align::Left {
                spaces += padding;
            }
            spaces += GAP;
        }
    }

    fn line<'c>(&self, cells: impl Iterator<Item = (Role, &'c str)>) -> String {
        let mut line = String::new();
        self.emit(cells, |role, text| {
            if self.style.color && role != Role::Plain {
                line.push_str(&self.style.paint(role, text));
            } else {
                line.push_str(text);
            }
        });
        line
    }

    fn styled_line<'c>(&self, cells: impl Iterator<Item = (Role, &'c str)>) -> StyledLine {
        let mut line = StyledLine::default();
        self.emit(cells, |role, text| line.push(role, text));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("ID", Fit::Whole),
        Column::number("N", Fit::Drop(1)),
        Column::text("WHEN", Fit::Drop(0)),
        Column::text("COMMAND", Fit::Cut(12)),
    ];

    fn shown(width: Option<u16>) -> String {
        let style = Style {
            width,
            ..Style::default()
        };
        let rows = [
            ["a-long-id-1", "7", "yesterday", "make everything at once"],
            ["b", "1234", "", "日本語"],
        ];
        let rows = rows.map(|row| row.map(StyledCell::plain));
        let mut out = Vec::new();
        let slices = || rows.iter().map(<[_; 4]>::as_slice);
        let layout = Layout::new(style, &COLUMNS, &slices());
        layout.write(&mut out, slices()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned() {
        insta::assert_snapshot!(shown(None), @"
        ID              N  WHEN       COMMAND
        a-long-id-1     7  yesterday  make everything at once
        b            1234             日本語
        ");
    }

    #[test]
    fn cells_are_cut_before_columns_are_dropped() {
        insta::assert_snapshot!(shown(Some(45)), @"
        ID              N  WHEN       COMMAND
        a-long-id-1     7  yesterday  make everythin…
        b            1234             日本語
        ");
    }

    #[test]
    fn columns_are_dropped_in_order() {
        insta::assert_snapshot!(shown(Some(35)), @"
        ID              N  COMMAND
        a-long-id-1     7  make everything…
        b            1234  日本語
        ");
        insta::assert_snapshot!(shown(Some(27)), @"
        ID           COMMAND
        a-long-id-1  make everythi…
        b            日本語
        ");
    }

    #[test]
    fn overlong_id_leaves_other_rows_alone() {
        let style = Style {
            width: Some(40),
            ..Style::default()
        };
        let long = "an-id-that-is-longer-than-the-whole-terminal";
        let rows = [[long, "7", "", "make"], ["b", "1234", "yesterday", "make"]];
        let rows = rows.map(|row| row.map(StyledCell::plain));
        let slices = || rows.iter().map(<[_; 4]>::as_slice);
        let mut out = Vec::new();
        let layout = Layout::new(style, &COLUMNS, &slices());
        layout.write(&mut out, slices()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @"
        ID     N  WHEN       COMMAND
        an-id-that-is-longer-than-the-whole-terminal     7             make
        b   1234  yesterday  make
        ");
    }

    #[test]
    fn ids_are_never_cut() {
        insta::assert_snapshot!(shown(Some(5)), @"
        ID  COMMAND
        a-long-id-1  make everyt…
        b   日本語
        ");
    }
}
