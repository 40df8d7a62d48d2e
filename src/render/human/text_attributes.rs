//! The appearance of a job's text: the colors and attributes of SGR (ECMA-48, 8.3.117).

/// The attributes that runlog keeps, with the parameters that set and reset them. It drops
/// blinking and hidden text.
const ATTRIBUTES: [(u8, u8); 6] = [(1, 22), (2, 22), (3, 23), (4, 24), (7, 27), (9, 29)];

/// The appearance of a character.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TextAttributes {
    /// Bit N is set for attribute N of [`ATTRIBUTES`].
    attributes: u8,
    foreground: Color,
    background: Color,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Color {
    #[default]
    Default,
    Palette(u8),
    Rgb(u8, u8, u8),
}

impl TextAttributes {
    /// The appearance of text without any sequence before it.
    pub(crate) const PLAIN: Self = Self {
        attributes: 0,
        foreground: Color::Default,
        background: Color::Default,
    };

    /// Applies the parameters of a sequence. A parameter that is not a number belongs to another
    /// sequence.
    pub(crate) fn apply(&mut self, params: &str) {
        if !params
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b';' | b':'))
        {
            return;
        }
        let mut params = params.split([';', ':']).map(|n| n.parse().unwrap_or(0_u8));
        while let Some(n) = params.next() {
            match n {
                0 => *self = Self::default(),
                30..=37 => self.foreground = Color::Palette(n - 30),
                90..=97 => self.foreground = Color::Palette(n - 90 + 8),
                38 => self.foreground = color(&mut params).unwrap_or(self.foreground),
                39 => self.foreground = Color::Default,
                40..=47 => self.background = Color::Palette(n - 40),
                100..=107 => self.background = Color::Palette(n - 100 + 8),
                48 => self.background = color(&mut params).unwrap_or(self.background),
                49 => self.background = Color::Default,
                _ => self.apply_attribute(n),
            }
        }
    }

    fn apply_attribute(&mut self, n: u8) {
        for (bit, (on, off)) in ATTRIBUTES.into_iter().enumerate() {
            if n == on {
                self.attributes |= 1 << bit;
            } else if n == off {
                self.attributes &= !(1 << bit);
            }
        }
    }

    /// Returns the sequence that sets this appearance in plain text.
    pub(crate) fn sequence(self) -> String {
        let mut params = Vec::new();
        for (bit, (on, _)) in ATTRIBUTES.into_iter().enumerate() {
            if self.attributes & 1 << bit != 0 {
                params.push(on.to_string());
            }
        }
        for (color, base) in [(self.foreground, 30_u8), (self.background, 40)] {
            match color {
                Color::Default => {}
                Color::Palette(n @ 0..=7) => params.push((base + n).to_string()),
                Color::Palette(n @ 8..=15) => params.push((base + 52 + n).to_string()),
                Color::Palette(n) => params.push(format!("{};5;{n}", base + 8)),
                Color::Rgb(r, g, b) => params.push(format!("{};2;{r};{g};{b}", base + 8)),
            }
        }
        format!("\x1b[{}m", params.join(";"))
    }
}

/// Parses an extended color: `5;N` or `2;R;G;B`.
fn color(params: &mut impl Iterator<Item = u8>) -> Option<Color> {
    match params.next()? {
        5 => Some(Color::Palette(params.next()?)),
        2 => Some(Color::Rgb(params.next()?, params.next()?, params.next()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(params: &[&str]) -> String {
        let mut attributes = TextAttributes::default();
        for params in params {
            attributes.apply(params);
        }
        attributes.sequence()
    }

    #[test]
    fn attributes_are_read_and_written() {
        assert_eq!(attributes(&["1;31", "44"]), "\x1b[1;31;44m");
        assert_eq!(attributes(&["91;103"]), "\x1b[91;103m");
        assert_eq!(attributes(&["38;5;208"]), "\x1b[38;5;208m");
        assert_eq!(attributes(&["48;2;1;2;3"]), "\x1b[48;2;1;2;3m");
        assert_eq!(attributes(&["1;4;31", "22;39"]), "\x1b[4m");
        for reset in ["", "0", "1;0"] {
            assert_eq!(attributes(&["7;31", reset]), "\x1b[m");
        }
    }

    #[test]
    fn other_sequences_change_nothing() {
        for other in [">4;2", "?1", "1 ", "5", "8", "38;9", "999"] {
            assert_eq!(attributes(&[other]), "\x1b[m", "{other}");
        }
    }
}
