//! Two runs side by side.

use std::collections::BTreeSet;
use std::io;
use std::io::Write;

use super::format::{duration, size};
use super::run_detail::exit_text;
use super::style::{Role, Style, escape_controls, stage_glyph, status_glyph};
use super::table::{Column, Fit, Layout, StyledCell};
use crate::log::ProbeState;
use crate::render::json::run_diff::{JobDiff, RunDiff};
use crate::render::json::run_record::JobRecord;

const COLUMNS: [Column; 5] = [
    Column::text("JOB", Fit::Whole),
    Column::text("WHAT", Fit::Whole),
    Column::text("A", Fit::Cut(12)),
    Column::text("B", Fit::Cut(12)),
    Column::number("CHANGE", Fit::Whole),
];

/// The values of both runs; `None` if a run has no such value.
type Sides = [Option<String>; 2];

/// Writes a comparison.
///
/// # Errors
/// `out` cannot be written.
pub(crate) fn write_diff(out: &mut dyn Write, diff: &RunDiff, style: Style) -> io::Result<()> {
    // Print the ids above the table: they may be too long to fit into it twice.
    for (name, run) in [("A", &diff.a), ("B", &diff.b)] {
        let id = style.paint(Role::Strong, run.run_id.as_str());
        writeln!(out, "{}  {id}", style.faint(name))?;
    }
    let mut table = DiffTable {
        style,
        job: "(run)".to_owned(),
        rows: Vec::new(),
    };
    table.add_run(diff);
    for job in &diff.jobs {
        table.add_job(job);
    }
    let rows = || table.rows.iter().map(<[_; 5]>::as_slice);
    writeln!(out)?;
    Layout::new(style, &COLUMNS, &rows()).write(out, rows())?;
    let (role, verdict) = if diff.same {
        (Role::Good, "same outcome")
    } else {
        (Role::Bad, "different outcomes")
    };
    writeln!(out, "\n{}", style.paint(role, verdict))
}

/// Returns the readings of a probe: the only one, or the first and the last.
fn probe_text(probe: &ProbeState) -> String {
    let word =
        |reading: Option<bool>| reading.map_or("unknown", |is| if is { "true" } else { "false" });
    match probe.change() {
        Some(change) => change.to_owned(),
        None => word(probe.after.or(probe.before)).to_owned(),
    }
}

struct DiffTable {
    style: Style,
    /// The name of the next row's job; empty in all but its first row.
    job: String,
    rows: Vec<[StyledCell; 5]>,
}

impl DiffTable {
    fn add_run(&mut self, diff: &RunDiff) {
        let (runs, glyphs) = ([&diff.a, &diff.b], self.style.glyphs);
        let states = runs.map(|run| {
            let (glyph, _) = status_glyph(run.state, glyphs);
            Some(format!("{glyph} {}", run.state.as_str()))
        });
        let differs = |what: &str| diff.differs.contains(&what);
        self.add(
            "state",
            states,
            differs("state").then(|| self.changed_mark()),
        );
        let host = |host: &Option<String>| Some(escape_controls(host.as_deref()?).into_owned());
        let hosts = runs.map(|run| host(&run.host));
        self.add("host", hosts, differs("host").then(|| self.changed_mark()));
        self.add_numbers("duration", runs.map(|run| run.duration_ms), duration);
    }

    fn add_job(&mut self, diff: &JobDiff) {
        let sides = [diff.a.as_ref(), diff.b.as_ref()];
        let name = match sides {
            [Some(a), Some(b)] if a.job_id != b.job_id => format!("{}, {}", a.job_id, b.job_id),
            _ => diff.job_id.clone(),
        };
        self.job = escape_controls(&name).into_owned();
        let glyphs = self.style.glyphs;
        let stages = sides.map(|job| {
            let stage = job?.stage;
            let (glyph, _) = stage_glyph(stage, glyphs);
            Some(format!("{glyph} {}", stage.as_str()))
        });
        let differs = |what: &str| diff.differs.contains(&what);
        let is_changed = differs("stage") || differs("missing");
        self.add("stage", stages, is_changed.then(|| self.changed_mark()));
        let exits = sides.map(|job| Some(exit_text(job?)).filter(|exit| !exit.is_empty()));
        let is_changed = differs("exit_code") || differs("signal");
        self.add("exit", exits, is_changed.then(|| self.changed_mark()));
        let of = |number: fn(&JobRecord) -> Option<u64>| sides.map(|job| number(job?));
        self.add_numbers("duration", of(|job| job.duration_ms), duration);
        self.add_numbers("CPU", of(|job| job.cpu_ms), duration);
        self.add_numbers("peak RSS", of(|job| job.max_rss_bytes), size);
        self.add_numbers("read", of(|job| job.read_bytes), size);
        self.add_numbers("written", of(|job| job.written_bytes), size);
        self.add_probes(sides);
    }

    /// Adds the probes that differ, or changed while a job ran.
    fn add_probes(&mut self, sides: [Option<&JobRecord>; 2]) {
        let names: BTreeSet<_> = sides
            .iter()
            .flatten()
            .flat_map(|job| job.probes.keys())
            .collect();
        for name in names {
            let probes = sides.map(|job| job?.probes.get(name));
            let [a, b] = probes;
            if a != b || a.is_some_and(|probe| probe.changed) {
                let what = format!("probe {}", escape_controls(name));
                let change = (a != b).then(|| self.changed_mark());
                self.add(&what, probes.map(|probe| probe.map(probe_text)), change);
            }
        }
    }

    /// Returns the cell that marks an outcome as changed.
    fn changed_mark(&self) -> StyledCell {
        StyledCell::new(Role::Bad, self.style.glyphs.pick("≠", "!="))
    }

    /// Adds a row, unless both sides lack the value.
    fn add(&mut self, what: &str, sides: Sides, change: Option<StyledCell>) {
        if sides.iter().all(Option::is_none) {
            return;
        }
        let job = std::mem::take(&mut self.job);
        let [a, b] = sides.map(|side| StyledCell::plain(side.unwrap_or_else(|| "-".to_owned())));
        self.rows.push([
            StyledCell::plain(job),
            StyledCell::plain(what),
            a,
            b,
            change.unwrap_or_else(|| StyledCell::plain("")),
        ]);
    }

    /// Adds a row of numbers with the change from the first to the second, unless both are 0.
    fn add_numbers(&mut self, what: &str, sides: [Option<u64>; 2], shown: fn(u64) -> String) {
        if sides.iter().all(|n| n.unwrap_or(0) == 0) {
            return;
        }
        let change = match sides {
            [Some(a), Some(b)] if a > 0 && a != b => {
                let ratio = b as f64 / a as f64;
                Some(if ratio >= 10.0 {
                    format!("{}{ratio:.0}", self.style.glyphs.pick("×", "x"))
                } else {
                    format!("{:+.0}%", (ratio - 1.0) * 100.0)
                })
            }
            _ => None,
        };
        let change = change.map(StyledCell::plain);
        self.add(what, sides.map(|n| n.map(shown)), change);
    }
}
