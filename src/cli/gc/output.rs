//! The output of `runlog gc`, and its exit code.

use anyhow::Result;

use crate::cli::context::{print_stderr, warn_damage};
use crate::cli::exit::{Code, is_run_removed};
use crate::cli::stdout_report::StdoutReport;
use crate::job::gc::{GcCandidates, GcDecision};
use crate::log::store::retention::{Eligibility, KeepReason, RemoveReason, RunInfo};
use crate::log::{GcError, PrunedSegment, TrashEntry};
use crate::render::{Execution, GcAction, GcReport, GcTotal, gc_line, json_line};
use crate::volume::{RunId, error_chain};

/// The reader of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportStyle {
    /// Tables and sentences for people.
    Human,
    /// JSON Lines for programs.
    Json,
}

/// Prints the report of gc to stdout and its warnings to stderr.
pub(crate) struct GcOutput {
    style: ReportStyle,
    pub execution: Execution,
    total: GcTotal,
    code: Code,
    out: StdoutReport,
}

impl GcOutput {
    pub(crate) fn new(style: ReportStyle, execution: Execution) -> Self {
        Self {
            style,
            execution,
            total: GcTotal::default(),
            code: Code::Ok,
            out: StdoutReport::new(),
        }
    }

    /// Reports runs that cannot be read, and damage in others.
    pub(crate) fn error(&mut self, candidates: &GcCandidates) {
        warn_damage(&candidates.damage);
        if !candidates.damage.is_empty() {
            self.exit_with(Code::Damage);
        }
        for (run, e) in &candidates.broken {
            self.failed(run, e);
            let run = run.clone();
            let report = GcReport::bare(run, GcAction::Fail, self.execution, error_chain(e));
            self.line(&report);
        }
    }

    /// Reports a directory that an interrupted gc left in the trash.
    pub(crate) fn trash_entry(&mut self, entry: &TrashEntry, removed: Result<(), GcError>) {
        let (run, bytes) = (entry.run.clone(), entry.bytes);
        let (action, why) = match removed {
            Ok(()) => (
                GcAction::Finish,
                "an earlier gc was interrupted while removing it".to_owned(),
            ),
            Err(e) => {
                self.failed(&run, &e);
                (GcAction::Fail, error_chain(&e))
            }
        };
        let mut report = GcReport::bare(run, action, self.execution, why);
        report.bytes = bytes;
        self.line(&report);
    }

    /// Reports a run that gc removes, or would remove.
    pub(crate) fn remove(&mut self, facts: &RunInfo, why: &RemoveReason) {
        let mut report = self.report(facts, GcAction::Remove, why.to_string());
        report.policy = Some(why.policy());
        self.line(&report);
    }

    /// Reports the outcome for a run that gc intended to remove.
    pub(crate) fn decision(&mut self, facts: &RunInfo, why: &RemoveReason, decision: GcDecision) {
        let (action, text) = match decision {
            GcDecision::Removed => return self.remove(facts, why),
            GcDecision::Incomplete(e) => {
                self.failed(&facts.run_id, &e);
                return self.remove(facts, why);
            }
            GcDecision::Skipped(why_not) => {
                print_stderr(format_args!("run {} is kept: {why_not}", facts.run_id));
                if facts.named {
                    self.exit_with(Code::Locked);
                }
                (GcAction::Skip, why_not.to_owned())
            }
            GcDecision::Failed(e) => {
                self.failed(&facts.run_id, &e);
                (GcAction::Fail, error_chain(&e))
            }
        };
        let mut report = self.report(facts, action, text);
        report.policy = Some(why.policy());
        self.line(&report);
    }

    /// Reports a run that is kept, if the user named it.
    pub(crate) fn keep(&mut self, facts: &RunInfo, keep: KeepReason) {
        if !facts.named {
            return;
        }
        print_stderr(format_args!("run {} is kept: {keep}", facts.run_id));
        if matches!(facts.eligibility, Eligibility::Live | Eligibility::Empty) {
            self.exit_with(Code::Running);
        }
        let report = self.report(facts, GcAction::Keep, keep.to_string());
        self.line(&report);
    }

    /// Reports the old segments of a run that is kept.
    pub(crate) fn dropped(&mut self, facts: &RunInfo, dropped: Result<Vec<PrunedSegment>>) {
        match dropped {
            Ok(segments) => {
                for segment in segments {
                    let why = "all its events are older than the limit".to_owned();
                    let mut report = self.report(facts, GcAction::Drop, why);
                    report.policy = Some("events_older_than");
                    report.file = Some(segment.file);
                    report.bytes = segment.disk_bytes;
                    self.line(&report);
                }
            }
            // The run was removed in the meantime, and its events with it.
            Err(e) if is_run_removed(&e) => {}
            Err(e) => {
                self.failed(&facts.run_id, &*e);
                let report = self.report(facts, GcAction::Fail, error_chain(&*e));
                self.line(&report);
            }
        }
    }

    /// Reports how many records of removed runs gc removed, or would remove.
    pub(crate) fn trimmed(&self, lines: Result<u64, GcError>) {
        let removed = match self.execution {
            Execution::DryRun => "would be removed",
            Execution::Apply => "removed",
        };
        match lines {
            Ok(0) => {}
            Ok(1) => print_stderr(format_args!("1 record of a removed run {removed}")),
            Ok(n) => print_stderr(format_args!("{n} records of removed runs {removed}")),
            // The next gc tries again, perhaps with more space.
            Err(e) => print_stderr(format_args!(
                "warning: the records of removed runs are not trimmed: {}",
                error_chain(&e)
            )),
        }
    }

    /// Prints the summary, and returns the exit code.
    pub(crate) fn end(mut self) -> Result<Code> {
        if self.style == ReportStyle::Human {
            self.out.print(|out| self.total.write(out, self.execution));
        }
        self.out.finish(self.code)
    }

    fn report(&self, facts: &RunInfo, action: GcAction, why: String) -> GcReport {
        GcReport::new(facts, action, self.execution, why)
    }

    fn line(&mut self, report: &GcReport) {
        self.total.add(report);
        match self.style {
            ReportStyle::Json => self.out.print(|out| json_line(out, report)),
            ReportStyle::Human if report.action.removes() => {
                self.out.print(|out| gc_line(out, report));
            }
            ReportStyle::Human => {}
        }
    }

    fn failed(&mut self, run: &RunId, e: &dyn std::error::Error) {
        print_stderr(format_args!("warning: run {run}: {}", error_chain(e)));
        self.exit_with(Code::Io);
    }

    /// Keeps the first exit code that is not 0; an I/O error takes precedence.
    fn exit_with(&mut self, code: Code) {
        if self.code == Code::Ok || code == Code::Io {
            self.code = code;
        }
    }
}
