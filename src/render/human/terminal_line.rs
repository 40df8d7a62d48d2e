//! One line as a terminal would show it, after carriage returns, backspaces and erasures.

/// The maximum length of a line in characters. What is beyond starts a new line.
pub(crate) const MAX_LINE_CHARS: usize = 64 << 10;
/// The maximum column that a control sequence can move the cursor to.
const MAX_MOVE: usize = 4096;

/// A line with a cursor. Each character takes one column: wide ones are only exact where a line
/// is replaced as a whole, as progress bars do.
#[derive(Debug, Default)]
pub(crate) struct TerminalLine {
    cells: Vec<char>,
    cursor: usize,
}

impl TerminalLine {
    /// Writes a character at the cursor.
    pub(crate) fn put(&mut self, c: char) {
        while self.cells.len() < self.cursor {
            self.cells.push(' ');
        }
        match self.cells.get_mut(self.cursor) {
            Some(cell) => *cell = c,
            None => self.cells.push(c),
        }
        self.cursor += 1;
    }

    pub(crate) fn carriage_return(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn backspace(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    /// Applies a control sequence, if it only changes this line (ECMA-48, section 8.3: CHA,
    /// CUF, CUB and EL). Sequences that change the whole screen are ignored: nothing that was
    /// printed before may disappear.
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
                    .for_each(|c| *c = ' '),
                _ => self.cells.clear(),
            },
            _ => {}
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.cells.len() >= MAX_LINE_CHARS
    }

    /// Returns the text of the line.
    pub(crate) fn text(&self) -> String {
        self.cells.iter().collect()
    }

    /// Returns the text of the line, and starts the next one.
    pub(crate) fn finish(&mut self) -> String {
        let text = self.text();
        self.cells.clear();
        self.cursor = 0;
        text
    }
}
