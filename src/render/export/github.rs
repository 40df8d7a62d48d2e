//! Workflow commands of GitHub Actions: an annotation for each failed job, and a group for each
//! job with its result and, if it failed, the end of its output.
//!
//! "Workflow commands for GitHub Actions": `::name key=value::text`. In the text, `%`, `\r` and
//! `\n` are escaped; in a value, `:` and `,` are too. Output is written between
//! `::stop-commands::` and its token, so that GitHub interprets no part of it as a command.

use std::io;
use std::io::Write;

use super::output_tail::OutputTails;
use crate::job::RunStatus;
use crate::log::{Item, RunState, Stage};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::format::duration;
use crate::render::human::style::escape_controls;
use crate::render::json::run_record::{JobRecord, RunRecord};

/// How much of a failed job's output to show, in bytes.
const MAX_OUTPUT_BYTES: usize = 32 << 10;

/// A writer of workflow commands.
#[derive(Debug)]
pub struct Github {
    output: OutputTails,
    /// The token that ends the part without commands. No job can know it in advance.
    token: String,
}

impl Github {
    /// Creates an export with a token that no output can contain.
    pub fn new(token: String) -> Self {
        Self {
            output: OutputTails::new(MAX_OUTPUT_BYTES),
            token,
        }
    }

    fn job(&self, out: &mut dyn Write, job: &JobRecord, run: &RunRecord) -> io::Result<()> {
        let is_bad = has_failed(job) || run.state == RunStatus::Lost && !job.stage.is_terminal();
        let stage = job.stage.as_str().replace('_', " ");
        let mut title = format!("{}: {stage}", job.job_id);
        if let Some(ms) = job.duration_ms {
            title = format!("{title} after {}", duration(ms));
        }
        writeln!(out, "::group::{}", data(&title))?;
        writeln!(out, "::stop-commands::{}", self.token)?;
        writeln!(out, "{}", escape_controls(&job.command))?;
        if let Some(tail) = self.output.get(job.job_id.as_str()).filter(|_| is_bad) {
            write!(out, "{}", tail.omission_notice())?;
            let text = tail.bytes(|_| true);
            let text = String::from_utf8_lossy(&text);
            // The token must be on its own line.
            writeln!(out, "{}", text.strip_suffix('\n').unwrap_or(&text))?;
        }
        writeln!(out, "::{}::", self.token)?;
        writeln!(out, "::endgroup::")?;
        if is_bad {
            let message = match &job.error {
                Some(error) => format!("{} ({})", error.message, job.command),
                None => format!("{} ({})", run.because, job.command),
            };
            let name = run.title();
            let outcome = match job.stage {
                Stage::RolledBack => "failed and was rolled back",
                stage if stage.is_terminal() => "failed",
                _ => "is lost",
            };
            let title = format!("{name} job {} {outcome}", job.job_id);
            writeln!(out, "::error title={}::{}", value(&title), data(&message))?;
        }
        Ok(())
    }
}

impl Export for Github {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, _: &RunState) -> io::Result<()> {
        match item {
            Item::Damage(damage) => {
                writeln!(out, "::warning title=runlog::{}", data(&damage.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn wants_output(&self) -> bool {
        true
    }

    fn output(&mut self, _: &mut dyn Write, chunk: OutputChunk<'_>) -> io::Result<()> {
        self.output.record(chunk);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        for job in &run.jobs {
            self.job(out, job, run)?;
        }
        let (command, name) = (annotation_level(run.state), run.title());
        let title = format!("{name} {}", run.state.as_str());
        writeln!(
            out,
            "::{command} title={}::{}",
            value(&title),
            data(&run.because)
        )
    }
}

fn has_failed(job: &JobRecord) -> bool {
    job.stage == Stage::Failed || job.stage.is_terminal() && job.error.is_some()
}

fn annotation_level(state: RunStatus) -> &'static str {
    match state {
        RunStatus::Failed | RunStatus::Lost => "error",
        RunStatus::Unknown => "warning",
        RunStatus::Pending | RunStatus::Completed | RunStatus::Running | RunStatus::Open => {
            "notice"
        }
    }
}

/// Escapes the text of a command.
fn data(text: &str) -> String {
    escape_controls(text)
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes the value of a property.
fn value(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
