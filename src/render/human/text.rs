//! Text for people: times, sizes, colours, and nothing that a terminal would obey.

use std::borrow::Cow;
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::job::RunStatus;
use crate::log::Stage;

/// How text looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Whether escape sequences for colours are written. Colour is never the only sign.
    pub color: bool,
    /// Columns of the terminal, where there is one.
    pub width: Option<u16>,
}

/// The colours that are used: the basic ones, which every terminal shows readably on its
/// own background, bold and faint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Strong,
    Good,
    Bad,
    Busy,
    Doubt,
    Faint,
    Plain,
}

impl Style {
    /// The text as what matters less.
    pub fn faint(self, text: &str) -> String {
        self.paint(Role::Faint, text)
    }

    /// The text in a colour, where colours are wanted.
    pub(crate) fn paint(self, tone: Role, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Role::Strong => "1",
            Role::Good => "32",
            Role::Bad => "31",
            Role::Busy => "36",
            Role::Doubt => "33",
            Role::Faint => "2",
            Role::Plain => return text.to_owned(),
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The text without characters that a terminal would obey.
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_control(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

/// Control characters, and those that turn the direction of the text around.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Glyph and tone of a run's state.
pub(crate) fn state_role(state: RunStatus) -> (&'static str, Role) {
    match state {
        RunStatus::Completed => ("✓", Role::Good),
        RunStatus::Failed => ("✗", Role::Bad),
        RunStatus::Running => ("▶", Role::Busy),
        RunStatus::Lost => ("!", Role::Bad),
        RunStatus::Unknown => ("?", Role::Doubt),
        RunStatus::Open => ("○", Role::Plain),
    }
}

/// Glyph and tone of a job's stage.
pub(crate) fn stage_role(stage: Stage) -> (&'static str, Role) {
    match stage {
        Stage::Submitted | Stage::Validated => ("○", Role::Plain),
        Stage::Started => ("▶", Role::Busy),
        Stage::Completed => ("✓", Role::Good),
        Stage::Failed => ("✗", Role::Bad),
        Stage::RolledBack => ("↩", Role::Bad),
    }
}

/// A time in the system's time zone, to the second.
pub(crate) fn time(ts: &str) -> String {
    local(ts, "%Y-%m-%d %H:%M:%S")
}

/// The same with its distance from UTC.
pub(crate) fn time_with_zone(ts: &str) -> String {
    local(ts, "%Y-%m-%d %H:%M:%S %:z")
}

/// A time in the system's time zone, to the millisecond.
pub(crate) fn precise_time(ts: &str) -> String {
    local(ts, "%Y-%m-%d %H:%M:%S%.3f")
}

/// Tells the time zone that times are shown in.
static ZONE: OnceLock<fn() -> TimeZone> = OnceLock::new();

/// Times are shown in the zone that `zone` gives, which is asked for each; without this,
/// in the one that jiff finds.
pub fn set_time_zone(zone: fn() -> TimeZone) {
    ZONE.get_or_init(|| zone);
}

fn local(ts: &str, format: &str) -> String {
    let zone = || ZONE.get().map_or_else(TimeZone::system, |zone| zone());
    match ts.parse::<Timestamp>() {
        Ok(at) => at.to_zoned_datetime(zone()).strftime(format).to_string(),
        Err(_) => escape_controls(ts).into_owned(),
    }
}

/// A duration in two units at most: `87ms`, `1.23s`, `2m 03s`, `5h 07m`, `3d 04h`.
pub(crate) fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{}.{:02}s", s, ms % 1000 / 10),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {:02}h", s / 86400, s / 3600 % 24),
    }
}

/// The time since a start, to the millisecond where that matters: `+0.007s`, `+1m 03.250s`,
/// `+5h 07m 03s`, `+3d 04h 07m`; `-…` where the clock went back.
pub(crate) fn elapsed(since: SignedDuration) -> String {
    let sign = if since.is_negative() { '-' } else { '+' };
    let since = since.unsigned_abs();
    let (s, ms) = (since.as_secs(), since.subsec_millis());
    match s {
        0..60 => format!("{sign}{s}.{ms:03}s"),
        60..3600 => format!("{sign}{}m {:02}.{ms:03}s", s / 60, s % 60),
        3600..86400 => format!("{sign}{}h {:02}m {:02}s", s / 3600, s / 60 % 60, s % 60),
        _ => format!(
            "{sign}{}d {:02}h {:02}m",
            s / 86400,
            s / 3600 % 24,
            s / 60 % 60
        ),
    }
}

/// A number of things: `1 job`, `2 jobs`.
pub(crate) fn count(n: u64, thing: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {thing}{s}")
}

/// A size with three digits or so: `512 B`, `3.4 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut name = "B";
    for unit in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    let digits = usize::from(name != "B" && value < 100.0);
    format!("{value:.digits$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_can_read_it() {
        assert_eq!(duration(87), "87ms");
        assert_eq!(duration(1_234), "1.23s");
        assert_eq!(duration(123_000), "2m 03s");
        assert_eq!(duration(18_420_000), "5h 07m");
        assert_eq!(duration(273_600_000), "3d 04h");
        let since = |ms| elapsed(SignedDuration::from_millis(ms));
        assert_eq!(since(7), "+0.007s");
        assert_eq!(since(-1_500), "-1.500s");
        assert_eq!(since(63_250), "+1m 03.250s");
        assert_eq!(since(18_423_000), "+5h 07m 03s");
        assert_eq!(since(274_020_000), "+3d 04h 07m");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(3_565_158), "3.4 MiB");
        assert_eq!(size(u64::MAX), "16384 PiB");
    }

    #[test]
    fn a_terminal_obeys_nothing() {
        assert_eq!(escape_controls("plain ✓"), "plain ✓");
        assert_eq!(
            escape_controls("a\x1b[2J\u{9b}b\n"),
            "a\\u{1b}[2J\\u{9b}b\\n"
        );
    }
}
