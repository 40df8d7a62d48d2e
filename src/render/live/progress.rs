//! How far a run is, judged by how long runs of its name usually take.

use crate::render::human::styled_line::StyledLine;
use crate::render::human::text::{Role, duration};

/// Columns of the bar.
const BAR: u64 = 20;

/// A bar and what it means; nothing where no former run tells.
pub(crate) fn progress(elapsed_ms: u64, usual_ms: Option<u64>) -> Option<StyledLine> {
    let usual = usual_ms.filter(|ms| *ms > 0)?;
    let is_late = elapsed_ms > usual;
    // It has not ended: whatever the estimate says, something is still to be done.
    let percent = (u128::from(elapsed_ms) * 100 / u128::from(usual)).min(99) as u64;
    let (tone, filled, text) = if is_late {
        let text = format!("longer than usual ({})", duration(usual));
        (Role::Doubt, BAR, text)
    } else {
        let text = format!("~{percent}% of the usual {}", duration(usual));
        (Role::Busy, percent * BAR / 100, text)
    };
    let cells = |cell: &str, n: u64| cell.repeat(n as usize);
    let mut line = StyledLine::with_role(tone, cells("█", filled));
    line.add(Role::Faint, cells("░", BAR - filled));
    line.add(Role::Plain, format!(" {text}"));
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::human::text::Style;

    #[test]
    fn it_is_never_done_while_it_runs() {
        let shown = |elapsed, usual| {
            let line = progress(elapsed, usual)?;
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
