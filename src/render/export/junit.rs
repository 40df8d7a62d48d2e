//! `JUnit` XML as Jenkins, GitLab and others read it: the run is a suite, a job is a case.
//!
//! There is no one standard: the elements are those of Apache Ant's task, with
//! `flakyFailure` and `rerunFailure` of Maven Surefire for attempts that were tried again.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use super::output_tail::{OutputTail, OutputTails};
use super::spans::{Phase, Span, Spans};
use crate::job::{RunStatus, StreamId};
use crate::log::format::payload::{ErrorKind, JobError};
use crate::log::{Item, RunState, Stage};
use crate::render::export::{Export, OutputChunk};
use crate::render::json::run_record::{JobRecord, RunRecord};
use crate::volume::JobId;

/// Held of what each job printed, in bytes.
const MAX_OUTPUT_BYTES: usize = 256 << 10;

/// Writes a report.
#[derive(Debug)]
pub struct Junit {
    spans: Spans,
    /// The attempts of each job that were tried again.
    retried: HashMap<JobId, Vec<Span>>,
    kept: OutputTail,
}

impl Default for Junit {
    fn default() -> Self {
        Self {
            spans: Spans::default(),
            retried: HashMap::new(),
            kept: OutputTail::new(MAX_OUTPUT_BYTES),
        }
    }
}

/// What a case is in the end.
enum Verdict<'a> {
    Passed,
    /// The command said no.
    Failure(&'a JobError),
    /// It could not say anything.
    Error(String, String),
    Skipped(&'static str),
}

impl Export for Junit {
    fn item(&mut self, _: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        for span in self.spans.apply(item, run) {
            let is_retried = span.ended.as_ref().is_some_and(|e| e.retry_in_ms.is_some());
            if is_retried && let Phase::Attempt(_) = span.phase {
                self.retried.entry(span.job.clone()).or_default().push(span);
            }
        }
        Ok(())
    }

    fn wants_output(&self) -> bool {
        true
    }

    fn output(&mut self, _: &mut dyn Write, piece: OutputChunk<'_>) -> io::Result<()> {
        self.kept.record(piece);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        let verdicts: Vec<_> = run.jobs.iter().map(|job| verdict(job, run)).collect();
        let count = |is: fn(&Verdict<'_>) -> bool| verdicts.iter().filter(|v| is(v)).count();
        let counts = format!(
            "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
            verdicts.len(),
            count(|v| matches!(v, Verdict::Failure(_))),
            count(|v| matches!(v, Verdict::Error(..))),
            count(|v| matches!(v, Verdict::Skipped(_))),
            seconds(run.duration_ms.unwrap_or(0)),
        );
        let name = attribute(run.run_id.as_str());
        writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        writeln!(out, "<testsuites name=\"{name}\" {counts}>")?;
        write!(out, "  <testsuite name=\"{name}\" {counts}")?;
        if let Some(opened) = run.opened_ts {
            // Without a zone, which is UTC: the schema of Ant's task has no place for it.
            let seconds = opened.strftime("%Y-%m-%dT%H:%M:%S");
            write!(out, " timestamp=\"{seconds}\"")?;
        }
        if let Some(host) = &run.host {
            write!(out, " hostname=\"{}\"", attribute(host))?;
        }
        writeln!(out, ">")?;
        properties(
            out,
            4,
            &[
                ("run_id", run.run_id.as_str()),
                ("name", &run.name),
                ("state", run.state.as_str()),
                ("because", &run.because),
            ],
        )?;
        for (job, verdict) in run.jobs.iter().zip(&verdicts) {
            self.case(out, job, verdict, run)?;
        }
        writeln!(out, "  </testsuite>\n</testsuites>")
    }
}

impl Junit {
    fn case(
        &self,
        out: &mut dyn Write,
        job: &JobRecord,
        verdict: &Verdict<'_>,
        run: &RunRecord,
    ) -> io::Result<()> {
        writeln!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\">",
            attribute(run.title()),
            attribute(job.job_id.as_str()),
            seconds(job.duration_ms.unwrap_or(0)),
        )?;
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        let facts = [
            ("command", Some(job.command.clone())),
            ("stage", Some(job.stage.as_str().to_owned())),
            ("exit_code", job.exit_code.map(|n| n.to_string())),
            ("signal", job.signal.clone()),
            ("attempt", job.attempt.map(|n| n.to_string())),
            ("cpu_ms", number(job.cpu_ms)),
            ("max_rss_bytes", number(job.max_rss_bytes)),
        ];
        let labels = job
            .labels
            .iter()
            .map(|(key, value)| (format!("label.{key}"), value.clone()));
        let all: Vec<(String, String)> = facts
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .chain(labels)
            .collect();
        let all: Vec<_> = all.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        properties(out, 6, &all)?;
        let again = match verdict {
            Verdict::Passed => "flakyFailure",
            _ => "rerunFailure",
        };
        match verdict {
            Verdict::Passed => {}
            Verdict::Failure(error) => {
                let kind = error.kind.as_str();
                element(out, "failure", &error.message, kind, &error.message)?;
            }
            Verdict::Error(kind, message) => element(out, "error", message, kind, message)?,
            Verdict::Skipped(why) => {
                writeln!(out, "      <skipped message=\"{}\"/>", attribute(why))?;
            }
        }
        for span in self.retried.get(&job.job_id).into_iter().flatten() {
            let error = span.ended.as_ref().and_then(|e| e.error.as_ref());
            let message = error.map_or("", |e| &*e.message);
            let kind = error.map_or("other", |e| e.kind.as_str());
            let told = format!("{}: {message}", span.phase.name());
            element(out, again, message, kind, &told)?;
        }
        if let Some(output) = self.kept.tail_of(job.job_id.as_str()) {
            let is_err = |stream| stream == Some(StreamId::Stderr);
            printed(out, "system-out", output, |stream| !is_err(stream))?;
            printed(out, "system-err", output, is_err)?;
        }
        writeln!(out, "    </testcase>")
    }
}

fn verdict<'a>(job: &'a JobRecord, run: &RunRecord) -> Verdict<'a> {
    match (&job.error, job.stage) {
        // A job that completed and was undone later has no error either.
        (None, Stage::Completed | Stage::RolledBack) => Verdict::Passed,
        (Some(error), stage) if stage.is_terminal() => match error.kind {
            ErrorKind::Exit | ErrorKind::Signal | ErrorKind::Timeout => Verdict::Failure(error),
            kind => Verdict::Error(kind.as_str().to_owned(), error.message.clone()),
        },
        (None, Stage::Failed) => Verdict::Error("other".to_owned(), String::new()),
        _ => match run.state {
            RunStatus::Lost => Verdict::Error("lost".to_owned(), run.because.clone()),
            RunStatus::Running => Verdict::Skipped("it has not ended yet"),
            _ => Verdict::Skipped("its end is not known"),
        },
    }
}

fn properties(out: &mut dyn Write, indent: usize, all: &[(&str, &str)]) -> io::Result<()> {
    writeln!(out, "{:indent$}<properties>", "")?;
    for (name, value) in all {
        let (name, value) = (attribute(name), attribute(value));
        writeln!(
            out,
            "{:indent$}  <property name=\"{name}\" value=\"{value}\"/>",
            ""
        )?;
    }
    writeln!(out, "{:indent$}</properties>", "")
}

fn element(
    out: &mut dyn Write,
    name: &str,
    message: &str,
    kind: &str,
    text: &str,
) -> io::Result<()> {
    let (message, kind, text) = (attribute(message), attribute(kind), xml(text));
    writeln!(
        out,
        "      <{name} message=\"{message}\" type=\"{kind}\">{text}</{name}>"
    )
}

fn printed(
    out: &mut dyn Write,
    name: &str,
    output: &OutputTails,
    wanted: impl Fn(Option<StreamId>) -> bool,
) -> io::Result<()> {
    let bytes = output.bytes(wanted);
    if bytes.is_empty() {
        return Ok(());
    }
    write!(out, "      <{name}>")?;
    output.write_left_out(out)?;
    let text = String::from_utf8_lossy(&bytes);
    writeln!(out, "{}</{name}>", xml(&text))
}

/// The value of an attribute, in which a parser makes spaces of these ("XML 1.0", 3.3.3).
fn attribute(value: &str) -> String {
    xml(value).replace('\n', "&#10;").replace('\t', "&#9;")
}

/// Text: what XML 1.0 (2.2) has no character for is written as `\u{1b}`.
fn xml(text: &str) -> String {
    let mut xml = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            // A parser would make another one of it.
            '\r' => xml.push_str("&#13;"),
            '\n' | '\t' => xml.push(c),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => xml.extend(c.escape_unicode()),
            c => xml.push(c),
        }
    }
    xml
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_element() {
        assert_eq!(
            xml("a<b>&\"\x1b[0m\0]]>\u{ffff}é\r"),
            "a&lt;b&gt;&amp;&quot;\\u{1b}[0m\\u{0}]]&gt;\\u{ffff}é&#13;"
        );
        assert_eq!(attribute("a\n\tb\""), "a&#10;&#9;b&quot;");
        assert_eq!(seconds(1_007), "1.007");
    }
}
