//! Statistics of runs by name as a table.

use std::io;
use std::io::Write;

use super::format::{duration, size};
use super::style::{Glyphs, Role, Style, escape_controls, status_glyph};
use super::table::{Column, Fit, Layout, StyledCell};
use crate::render::json::name_stats::NameStats;

const COLUMNS: [Column; 10] = [
    Column::text("NAME", Fit::Whole),
    Column::number("RUNS", Fit::Whole),
    Column::text("FAILED", Fit::Whole),
    Column::number("P50", Fit::Drop(6)),
    Column::number("P95", Fit::Drop(4)),
    Column::number("MAX", Fit::Drop(2)),
    Column::number("PEAK RSS", Fit::Drop(1)),
    Column::number("ATTEMPTS", Fit::Drop(0)),
    Column::text("LAST RUNS", Fit::Drop(5)),
    Column::text("DURATIONS", Fit::Drop(3)),
];

/// Writes the statistics.
///
/// # Errors
/// `out` cannot be written.
pub fn write_stats(out: &mut dyn Write, stats: &[NameStats], style: Style) -> io::Result<()> {
    if stats.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = stats.iter().map(|name| row(name, style)).collect();
    let rows = || rows.iter().map(<[_; 10]>::as_slice);
    Layout::new(style, &COLUMNS, &rows()).write(out, rows())
}

fn row(stats: &NameStats, style: Style) -> [StyledCell; 10] {
    let plain = |text: String| StyledCell::plain(text);
    let time = |ms: Option<u64>| plain(ms.map(duration).unwrap_or_default());
    let failed = match stats.failed {
        0 => StyledCell::plain("0"),
        n => StyledCell::new(
            Role::Bad,
            format!("{n} ({})", percent(stats.failed_percent)),
        ),
    };
    let glyph = |state| status_glyph(state, style.glyphs).0;
    [
        plain(escape_controls(&stats.name).into_owned()),
        plain(stats.runs.to_string()),
        failed,
        time(stats.duration_p50_ms),
        time(stats.duration_p95_ms),
        time(stats.duration_max_ms),
        plain(stats.max_rss_bytes.map(size).unwrap_or_default()),
        plain(
            stats
                .attempts_mean
                .map(|n| format!("{n:.2}"))
                .unwrap_or_default(),
        ),
        plain(stats.last_states.iter().copied().map(glyph).collect()),
        plain(sparkline(&stats.last_durations_ms, style.glyphs)),
    ]
}

/// Returns a share without decimals, but 0 % only for none, and 100 % only for all.
fn percent(percent: f64) -> String {
    match percent {
        p if p < 1.0 => "<1%".to_owned(),
        p if p > 99.0 && p < 100.0 => ">99%".to_owned(),
        p => format!("{p:.0}%"),
    }
}

/// Returns a character for each value, scaled from the lowest to the highest.
///
/// If the values differ by less than a fifth of the highest one, they do not span the whole
/// height, so that noise looks flat.
fn sparkline(values: &[u64], glyphs: Glyphs) -> String {
    let levels = match glyphs {
        Glyphs::Unicode => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        Glyphs::Ascii => ['_', '.', ',', '-', '~', '+', '*', '#'],
    };
    let highest = values.iter().copied().max().unwrap_or(0);
    let lowest = values.iter().copied().min().unwrap_or(0);
    let span = (highest - lowest).max(highest / 5).max(1);
    let top = levels.len() as u64 - 1;
    let level = |value: &u64| u128::from(value - lowest) * u128::from(top) / u128::from(span);
    let character = |value| levels.get(level(value) as usize).copied();
    values.iter().filter_map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparkline_spans_values() {
        assert_eq!(sparkline(&[], Glyphs::Unicode), "");
        assert_eq!(sparkline(&[0, 0], Glyphs::Unicode), "▁▁");
        assert_eq!(sparkline(&[10, 80, 45], Glyphs::Unicode), "▁█▄");
        assert_eq!(sparkline(&[0, u64::MAX], Glyphs::Ascii), "_#");
        assert_eq!(sparkline(&[1000, 1010], Glyphs::Unicode), "▁▁", "noise");
    }

    #[test]
    fn percent_is_exact_at_both_ends() {
        let texts = [0.01, 1.4, 99.99, 100.0].map(percent);
        assert_eq!(texts, ["<1%", "1%", ">99%", "100%"]);
    }
}
