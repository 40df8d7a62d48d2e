//! Columns of text where nothing has to be coloured or wrapped: what a table comes to
//! then, for as many rows as there are.

use std::io::{self, Write};

/// Writes rows as columns, each as wide as its widest cell. `right` are the columns that
/// stand at their right edge; the header does not.
///
/// # Errors
/// `out` cannot be written.
pub(super) fn columns<'a>(
    out: &mut dyn Write,
    header: &[&str],
    right: &[usize],
    rows: impl Iterator<Item = &'a [String]> + Clone,
) -> io::Result<()> {
    // All that is shown in such columns is one column wide for each character.
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = header.iter().map(|name| width(name)).collect();
    for row in rows.clone() {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let mut line = String::new();
    let mut write = |cells: &mut dyn Iterator<Item = &str>, right: &[usize]| {
        line.clear();
        for (at, (cell, widest)) in cells.zip(&widths).enumerate() {
            let space = widest - width(cell);
            let (before, behind) = if right.contains(&at) {
                (space, 0)
            } else {
                (0, space)
            };
            line.push(' ');
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', behind + 1));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        out.write_all(line.as_bytes())
    };
    write(&mut header.iter().copied(), &[])?;
    for row in rows {
        write(&mut row.iter().map(String::as_str), right)?;
    }
    Ok(())
}
