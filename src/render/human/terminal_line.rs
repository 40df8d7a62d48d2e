//! One line as a terminal would show it, after carriage returns, backspaces and erasures.

use super::style::Style;
use super::text_attributes::TextAttributes;

/// The maximum length of a line in characters. Further characters start a new line.
pub(crate) const MAX_LINE_CHARS: usize = 64 << 10;
/// The maximum column that a control sequence can move the cursor to.
const MAX_MOVE: usize = 4096;

/// A character and its appearance.
#[derive(Debug, Clone, Copy)]
struct Cell {
    shown: char,
    attributes: TextAttributes,
}

/// The sequence that resets all colors and attributes.
const RESET: &str = "\x1b[0m";

/// An empty cell.
const BLANK: Cell = Cell {
    shown: ' ',
    attributes: TextAttributes::PLAIN,
};

/// A line with a cursor. Each character takes one column, so a line with wide characters is
/// exact only if it is replaced as a whole, as progress bars do.
#[derive(Debug, Default)]
pub(crate) struct TerminalLine {
    cells: Vec<Cell>,
    cursor: usize,
    /// The appearance of the next character.
    attributes: TextAttributes,
    /// Whether colors and attributes are kept.
    colored: bool,
}

impl TerminalLine {
    /// Creates an empty line that keeps colors and attributes if the style has colors.
    pub(crate) fn new(style: Style) -> Self {
        Self {
            colored: style.color,
            ..Self::default()
        }
    }

    /// Writes a character at the cursor.
    pub(crate) fn put(&mut self, c: char) {
        while self.cells.len() < self.cursor {
            self.cells.push(BLANK);
        }
        let new = Cell {
            shown: c,
            attributes: self.attributes,
        };
        match self.cells.get_mut(self.cursor) {
            Some(cell) => *cell = new,
            None => self.cells.push(new),
        }
        self.cursor += 1;
    }

    pub(crate) fn carriage_return(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn backspace(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    /// Applies a control sequence if it changes only this line (ECMA-48, section 8.3: CHA, CUF,
    /// CUB, EL and SGR).
    ///
    /// Ignores sequences that change the whole screen, because no earlier output may disappear.
    pub(crate) fn control(&mut self, last: char, params: &str) {
        let n: usize = params.split(';').next().unwrap_or("").parse().unwrap_or(0);
        match last {
            'C' => {
                let limit = MAX_MOVE.max(self.cursor);
                self.cursor = (self.cursor + n.clamp(1, MAX_MOVE)).min(limit);
            }
            'D' => self.cursor = self.cursor.saturating_sub(n.max(1)),
            'G' => self.cursor = n.clamp(1, MAX_MOVE) - 1,
            'K' => match n {
                0 => self.cells.truncate(self.cursor),
                1 => self
                    .cells
                    .iter_mut()
                    .take(self.cursor + 1)
                    .for_each(|c| *c = BLANK),
                _ => self.cells.clear(),
            },
            'm' if self.colored => self.attributes.apply(params),
            _ => {}
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.cells.len() >= MAX_LINE_CHARS
    }

    /// Returns the text of the line, with its colors if they are kept.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.cells.len());
        let mut current = TextAttributes::PLAIN;
        for cell in &self.cells {
            if cell.attributes != current {
                if current != TextAttributes::PLAIN {
                    text.push_str(RESET);
                }
                current = cell.attributes;
                if current != TextAttributes::PLAIN {
                    text.push_str(&current.sequence());
                }
            }
            text.push(cell.shown);
        }
        if current != TextAttributes::PLAIN {
            text.push_str(RESET);
        }
        text
    }

    /// Returns the text of the line, and starts the next one.
    pub(crate) fn finish(&mut self) -> String {
        let text = self.text();
        self.cells.clear();
        self.cursor = 0;
        text
    }
}
