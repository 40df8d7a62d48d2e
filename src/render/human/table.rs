//! Columns of text where nothing has to be wrapped: what a table comes to then, for as many
//! rows as there are.

use std::io;
use std::io::Write;

use super::text::{Role, Style};

/// A cell of a table.
#[derive(Debug)]
pub(crate) struct StyledCell {
    pub tone: Role,
    pub text: String,
}

impl StyledCell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            tone: Role::Plain,
            text,
        }
    }
}

/// All that is shown in such columns is one column wide for each character.
fn width_of(text: &str) -> usize {
    text.chars().count()
}

/// How wide each column is that holds the header and these rows.
pub(crate) fn widths<'a>(
    header: &[&str],
    rows: impl Iterator<Item = &'a [StyledCell]>,
) -> Vec<usize> {
    let mut widths: Vec<usize> = header.iter().map(|name| width_of(name)).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width_of(&cell.text));
        }
    }
    widths
}

/// Writes a row as columns that are so wide. `right` are those that stand at their right edge.
///
/// # Errors
/// `out` cannot be written.
pub(crate) fn columns<'a>(
    out: &mut dyn Write,
    style: Style,
    widths: &[usize],
    right: &[usize],
    cells: impl Iterator<Item = (Role, &'a str)>,
) -> io::Result<()> {
    let mut line = String::new();
    // Written before the next text only: no line ends in spaces.
    let mut spaces = 0;
    for (at, ((tone, text), widest)) in cells.zip(widths).enumerate() {
        let space = widest.saturating_sub(width_of(text));
        let (before, behind) = if right.contains(&at) {
            (space, 0)
        } else {
            (0, space)
        };
        spaces += 1 + before;
        if !text.is_empty() {
            line.extend(std::iter::repeat_n(' ', spaces));
            line.push_str(&style.paint(tone, text));
            spaces = 0;
        }
        spaces += behind + 1;
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}
