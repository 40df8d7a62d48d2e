//! Styles of text for people: roles instead of colors, glyphs, and escaped control characters.

use std::borrow::Cow;

use crate::job::RunStatus;
use crate::log::Stage;

/// The capabilities of the terminal that text is printed to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Whether to write escape sequences for colors. Color is never the only signal.
    pub color: bool,
    /// The width of the terminal in columns, if the output is a terminal.
    pub width: Option<u16>,
    /// The characters used for symbols.
    pub glyphs: Glyphs,
}

/// The characters used for symbols.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// Unicode symbols such as `✓`.
    #[default]
    Unicode,
    /// ASCII only, for locales whose encoding is not UTF-8.
    Ascii,
}

impl Glyphs {
    /// Returns the first symbol, or the second one if only ASCII can be shown.
    pub(crate) fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }

    /// Returns the mark for text that was cut off.
    pub(crate) fn ellipsis(self) -> &'static str {
        self.pick("…", "...")
    }
}

/// The meaning of a text, which decides its color.
///
/// runlog uses only bold, faint and the basic colors, which every terminal shows readably on its
/// own background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Strong,
    Good,
    Bad,
    Busy,
    Doubt,
    Faint,
    Match,
    Plain,
}

impl Style {
    /// Returns the text styled as secondary information.
    pub fn faint(self, text: &str) -> String {
        self.paint(Role::Faint, text)
    }

    /// Returns the text in one of a few colors, if colors are enabled.
    ///
    /// The same number always gives the same color, which distinguishes the lines of one source
    /// from those of others.
    pub fn numbered(self, number: usize, text: &str) -> String {
        let role = match number % 4 {
            0 => Role::Busy,
            1 => Role::Doubt,
            2 => Role::Good,
            _ => Role::Strong,
        };
        self.paint(role, text)
    }

    /// Returns the text in the color of its role, if colors are enabled.
    pub(crate) fn paint(self, role: Role, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match role {
            Role::Strong => "1",
            Role::Good => "32",
            Role::Bad => "31",
            Role::Busy => "36",
            Role::Doubt => "33",
            Role::Faint => "2",
            Role::Match => "1;31",
            Role::Plain => return text.to_owned(),
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Returns the text with escapes in place of characters that a terminal would interpret.
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_control(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

/// Returns whether a terminal would interpret this character: control characters, and those that
/// change the direction of text.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the glyph and the role of a run's state.
pub(crate) fn status_glyph(state: RunStatus, glyphs: Glyphs) -> (&'static str, Role) {
    let pick = |unicode, ascii| glyphs.pick(unicode, ascii);
    match state {
        RunStatus::Pending => (pick("·", "."), Role::Faint),
        RunStatus::Completed => (pick("✓", "+"), Role::Good),
        RunStatus::Failed => (pick("✗", "x"), Role::Bad),
        RunStatus::Running => (pick("▶", ">"), Role::Busy),
        RunStatus::Lost => ("!", Role::Bad),
        RunStatus::Unknown => ("?", Role::Doubt),
        RunStatus::Open => (pick("○", "o"), Role::Plain),
    }
}

/// Returns the glyph and the role of a job's stage.
pub(crate) fn stage_glyph(stage: Stage, glyphs: Glyphs) -> (&'static str, Role) {
    let pick = |unicode, ascii| glyphs.pick(unicode, ascii);
    match stage {
        Stage::Submitted | Stage::Validated => (pick("○", "o"), Role::Plain),
        Stage::Started => (pick("▶", ">"), Role::Busy),
        Stage::Completed => (pick("✓", "+"), Role::Good),
        Stage::Failed => (pick("✗", "x"), Role::Bad),
        Stage::RolledBack => (pick("↩", "<"), Role::Bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape_controls("plain ✓"), "plain ✓");
        assert_eq!(
            escape_controls("a\x1b[2J\u{9b}b\n"),
            "a\\u{1b}[2J\\u{9b}b\\n"
        );
    }
}
