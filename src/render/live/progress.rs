//! The progress of a run, estimated from the usual duration of runs with its name.

use crate::render::human::format::duration;
use crate::render::human::style::{Glyphs, Role};
use crate::render::human::styled_line::StyledLine;

/// The width of the bar in columns.
const BAR_WIDTH: u64 = 20;

/// Returns a progress bar with its meaning; nothing if no earlier run allows an estimate.
pub(crate) fn progress_bar(
    elapsed_ms: u64,
    usual_ms: Option<u64>,
    glyphs: Glyphs,
) -> Option<StyledLine> {
    let usual = usual_ms.filter(|ms| *ms > 0)?;
    let is_late = elapsed_ms > usual;
    // The run has not ended, so it is never at 100 percent, whatever the estimate.
    let percent = (u128::from(elapsed_ms) * 100 / u128::from(usual)).min(99) as u64;
    let (role, filled, text) = if is_late {
        let text = format!("longer than usual ({})", duration(usual));
        (Role::Doubt, BAR_WIDTH, text)
    } else {
        let text = format!("~{percent}% of the usual {}", duration(usual));
        (Role::Busy, percent * BAR_WIDTH / 100, text)
    };
    let cells = |cell: &str, n: u64| cell.repeat(n as usize);
    let mut line = StyledLine::with_role(role, cells(glyphs.pick("█", "#"), filled));
    line.push(
        Role::Faint,
        cells(glyphs.pick("░", "-"), BAR_WIDTH - filled),
    );
    line.push(Role::Plain, format!(" {text}"));
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::human::style::Style;

    #[test]
    fn running_run_is_never_at_100_percent() {
        let shown = |elapsed, usual| {
            let line = progress_bar(elapsed, usual, Glyphs::Unicode)?;
            Some(line.fit(Style::default(), 80))
        };
        assert_eq!(shown(5, None), None);
        assert_eq!(shown(5, Some(0)), None);
        assert_eq!(
            shown(0, Some(190_000)).unwrap(),
            "░░░░░░░░░░░░░░░░░░░░ ~0% of the usual 3m 10s"
        );
        assert_eq!(
            shown(118_000, Some(190_000)).unwrap(),
            "████████████░░░░░░░░ ~62% of the usual 3m 10s"
        );
        assert_eq!(
            shown(190_000, Some(190_000)).unwrap(),
            "███████████████████░ ~99% of the usual 3m 10s"
        );
        assert_eq!(
            shown(190_001, Some(190_000)).unwrap(),
            "████████████████████ longer than usual (3m 10s)"
        );
        assert!(shown(u64::MAX, Some(u64::MAX)).unwrap().contains("~99%"));
    }
}
