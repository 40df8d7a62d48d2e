//! `JUnit` XML for Jenkins, GitLab and others: the run is a suite, and each job is a case.
//!
//! There is no single standard. The elements are those of Apache Ant's task, with `flakyFailure`
//! and `rerunFailure` of Maven Surefire for retried attempts.

use std::collections::HashMap;
use std::io;
use std::io::Write;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::output_tail::OutputTails;
use super::spans::{Phase, Span, Spans};
use crate::job::RunStatus;
use crate::log::format::payload::ErrorKind;
use crate::log::{Item, RunState, Stage, StreamId};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::sanitize::sanitize;
use crate::render::human::style::is_control;
use crate::render::json::run_record::{JobRecord, RunRecord};
use crate::volume::JobId;

/// How much of each job's output to keep, in bytes.
const MAX_OUTPUT_BYTES: usize = 256 << 10;

/// A writer of a report.
#[derive(Debug)]
pub struct Junit {
    spans: Spans,
    /// The retried attempts of each job.
    retried: HashMap<JobId, Vec<Span>>,
    output: OutputTails,
}

impl Default for Junit {
    fn default() -> Self {
        Self {
            spans: Spans::default(),
            retried: HashMap::new(),
            output: OutputTails::new(MAX_OUTPUT_BYTES),
        }
    }
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

    fn output(&mut self, _: &mut dyn Write, chunk: OutputChunk<'_>) -> io::Result<()> {
        self.output.record(chunk);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        let time = Duration::from_millis(run.duration_ms.unwrap_or(0));
        let mut suite = TestSuite::new(run.run_id.as_str());
        suite.set_time(time);
        if let Some(opened) = run.opened_ts {
            // A time without a zone is in UTC. The schema of Ant's task does not allow a zone.
            let seconds = opened.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            suite.extra.insert("timestamp".into(), seconds.into());
        }
        if let Some(host) = &run.host {
            let host = xml_text(host).into();
            suite.extra.insert("hostname".into(), host);
        }
        for (name, value) in [
            ("run_id", run.run_id.as_str()),
            ("name", &run.name),
            ("state", run.state.as_str()),
            ("because", &run.because),
        ] {
            suite.add_property((name, &*xml_text(value)));
        }
        for job in &run.jobs {
            suite.add_test_case(self.case(job, run));
        }
        let mut report = Report::new(run.run_id.as_str());
        report.set_time(time);
        report.add_test_suite(suite);
        let mut out = FirstError { out, error: None };
        match (report.serialize(&mut out), out.error) {
            (_, Some(e)) => Err(e),
            (written, None) => written.map_err(io::Error::other),
        }
    }
}

/// A writer that keeps its first error, because the serializer hides it.
struct FirstError<'a> {
    out: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl Write for FirstError<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|e| {
            let kind = e.kind();
            // The serializer retries an interrupted write.
            if kind != io::ErrorKind::Interrupted {
                self.error.get_or_insert(e);
            }
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Junit {
    /// Returns the case of a job. Removes the job's output from the tails, so that no output is
    /// in memory twice.
    fn case(&mut self, job: &JobRecord, run: &RunRecord) -> TestCase {
        let mut status = status(job, run);
        for span in self.retried.remove(&job.job_id).into_iter().flatten() {
            status.add_rerun(rerun(&span));
        }
        let mut case = TestCase::new(&*xml_text(job.job_id.as_str()), status);
        case.set_classname(&*xml_text(run.title()));
        case.set_time(Duration::from_millis(job.duration_ms.unwrap_or(0)));
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
        for (name, value) in facts {
            if let Some(value) = value {
                case.add_property((name, &*xml_text(&value)));
            }
        }
        for (key, value) in &job.labels {
            case.add_property((&*xml_text(&format!("label.{key}")), &*xml_text(value)));
        }
        if let Some(output) = self.output.remove(job.job_id.as_str()) {
            let is_err = |stream| stream == Some(StreamId::Stderr);
            let notice = output.omission_notice();
            let text = |bytes: Vec<u8>| {
                let is_empty = bytes.is_empty();
                (!is_empty).then(|| xml_text(&format!("{notice}{}", sanitize(&bytes))))
            };
            if let Some(text) = text(output.bytes(|stream| !is_err(stream))) {
                case.set_system_out(text);
            }
            if let Some(text) = text(output.bytes(is_err)) {
                case.set_system_err(text);
            }
        }
        case
    }
}

/// Returns the status of a job's case: `failure` if the command failed, `error` if it could not
/// be run to its end.
fn status(job: &JobRecord, run: &RunRecord) -> TestCaseStatus {
    let (kind, ty, message) = match (&job.error, job.stage) {
        // A job that completed and was later rolled back has no error either.
        (None, Stage::Completed | Stage::RolledBack) => return TestCaseStatus::success(),
        (Some(error), stage) if stage.is_terminal() => {
            let kind = match error.kind {
                ErrorKind::Exit | ErrorKind::Signal | ErrorKind::Timeout => NonSuccessKind::Failure,
                // It took too little or too much time (`--fail-if-shorter`, `--fail-if-longer`).
                ErrorKind::Validation if job.exit_code.is_some() => NonSuccessKind::Failure,
                _ => NonSuccessKind::Error,
            };
            (kind, error.kind.as_str(), &*error.message)
        }
        (None, Stage::Failed) => (NonSuccessKind::Error, "other", ""),
        _ if run.state == RunStatus::Lost => (NonSuccessKind::Error, "lost", &*run.because),
        _ => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(match run.state {
                RunStatus::Running => "it has not ended yet",
                _ => "its end is not known",
            });
            return status;
        }
    };
    let mut status = TestCaseStatus::non_success(kind);
    let message = xml_text(message);
    status
        .set_type(ty)
        .set_message(&message)
        .set_description(&message);
    status
}

/// Returns the element for a retried attempt.
fn rerun(span: &Span) -> TestRerun {
    let error = span.ended.as_ref().and_then(|e| e.error.as_ref());
    let message = xml_text(error.map_or("", |e| &*e.message));
    let mut rerun = TestRerun::new(NonSuccessKind::Failure);
    rerun
        .set_type(error.map_or("other", |e| e.kind.as_str()))
        .set_message(&message)
        .set_description(format!("{}: {message}", span.phase.name()));
    rerun
}

/// Returns the text with escapes in place of characters that XML 1.0 (section 2.2) does not
/// allow, and of those that a terminal would interpret.
fn xml_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => escaped.push(c),
            '\u{fffe}' | '\u{ffff}' => escaped.extend(c.escape_unicode()),
            c if is_control(c) => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_outside_xml_are_escaped() {
        assert_eq!(
            xml_text("a<b>&\"\x1b[0m\0]]>\u{ffff}é\r\n"),
            "a<b>&\"\\u{1b}[0m\\u{0}]]>\\u{ffff}é\\r\n"
        );
    }

    #[test]
    fn error_of_writer_is_returned() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = FirstError {
            out: &mut Closed,
            error: None,
        };
        Report::new("r").serialize(&mut out).unwrap_err();
        assert_eq!(out.error.unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
}
