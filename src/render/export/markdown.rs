//! A summary of a run in Markdown, for job summaries and comments on GitHub.

use std::io;
use std::io::Write;

use crate::log::{Item, RunState};
use crate::render::export::Export;
use crate::render::human::format::{count, duration, size, time_with_zone};
use crate::render::human::style::{Glyphs, escape_controls, stage_glyph, status_glyph};
use crate::render::json::run_record::RunRecord;

/// The maximum number of jobs to show. GitHub accepts at most 1 MiB.
const MAX_JOB_ROWS: usize = 500;

/// A writer of the summary of one run.
#[derive(Debug, Default)]
pub struct Markdown;

impl Export for Markdown {
    fn item(&mut self, _: &mut dyn Write, _: &Item<'_>, _: &RunState) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        markdown(out, run)
    }
}

/// Writes the summary of a run.
///
/// # Errors
/// `out` cannot be written.
pub fn markdown(out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
    let (glyph, _) = status_glyph(run.state, Glyphs::Unicode);
    writeln!(
        out,
        "### {glyph} {}: {}\n",
        plain_text(run.title()),
        run.state.as_str()
    )?;
    writeln!(out, "{}\n", plain_text(&run.because))?;
    let mut facts = vec![format!("Run {}", code(run.run_id.as_str()))];
    if let Some(opened) = run.opened_ts {
        facts.push(format!("started {}", plain_text(&time_with_zone(opened))));
    }
    if let Some(host) = &run.host {
        facts.push(format!("on {}", plain_text(host)));
    }
    if let Some(ms) = run.duration_ms {
        facts.push(format!("took {}", duration(ms)));
    }
    if run.damaged > 0 {
        facts.push(count(run.damaged, "damaged place"));
    }
    writeln!(out, "{}\n", facts.join(", "))?;
    writeln!(
        out,
        "| Job | Stage | Result | Duration | CPU | Peak RSS | Command |"
    )?;
    writeln!(out, "| --- | --- | --- | ---: | ---: | ---: | --- |")?;
    for job in run.jobs.iter().take(MAX_JOB_ROWS) {
        let (glyph, _) = stage_glyph(job.stage, Glyphs::Unicode);
        let result = match (&job.error, job.exit_code) {
            (Some(error), _) => plain_text(&error.message),
            (None, Some(exit)) => format!("exit {exit}"),
            (None, None) => String::new(),
        };
        let tries = job.attempt.filter(|n| *n > 1);
        let tries = tries.map(|n| format!(" (attempt {n})")).unwrap_or_default();
        writeln!(
            out,
            "| {} | {glyph} {} | {result}{tries} | {} | {} | {} | {} |",
            plain_text(job.job_id.as_str()),
            job.stage.as_str(),
            job.duration_ms.map(duration).unwrap_or_default(),
            job.cpu_ms.map(duration).unwrap_or_default(),
            job.max_rss_bytes.map(size).unwrap_or_default(),
            code(&job.command),
        )?;
    }
    let more = run.jobs.len().saturating_sub(MAX_JOB_ROWS);
    if more > 0 {
        writeln!(out, "\nand {}", count(more as u64, "more job"))?;
    }
    writeln!(out)
}

/// Returns text without markup, in which `@name` and `#1` do not notify or link.
///
/// GitHub looks for these after decoding entities, so a zero-width space follows them, as
/// GitHub's own bots do it.
fn plain_text(text: &str) -> String {
    let escaped = entities(text).replace("&#64;", "&#64;&#8203;");
    escaped.replace("&#35;", "&#35;&#8203;")
}

/// Returns text as code, in which GitHub does not look for names and numbers.
fn code(code: &str) -> String {
    if code.is_empty() {
        return String::new();
    }
    format!("<code>{}</code>", entities(code))
}

/// Escapes everything that could be markup (`CommonMark` 6.2 and 2.5).
fn entities(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in escape_controls(text).chars() {
        if c.is_ascii_punctuation() && !".,:()/-".contains(c) {
            escaped.push_str("&#");
            escaped.push_str(&u32::from(c).to_string());
            escaped.push(';');
        } else {
            escaped.push(c);
        }
    }
    // Prevent automatic links (GFM 6.9).
    escaped
        .replace("://", ":&#47;/")
        .replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            plain_text("a|b <img> `x` @me"),
            "a&#124;b &#60;img&#62; &#96;x&#96; &#64;&#8203;me"
        );
        assert_eq!(plain_text("#1 www.x"), "&#35;&#8203;1 www&#46;x");
        assert_eq!(code("a@b"), "<code>a&#64;b</code>");
        assert_eq!(code("a\nb"), "<code>a&#92;nb</code>");
    }
}
