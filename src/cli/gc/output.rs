//! What `runlog gc` says, and the exit code that comes of it.

use std::io;
use std::io::Write as _;

use anyhow::{Context as _, Result};

use crate::cli::context::{print_stderr, warn_damage};
use crate::cli::exit::{Code, is_run_removed};
use crate::job::gc::{GcCandidates, GcDecision};
use crate::log::store::retention::{Eligibility, KeepReason, RemoveReason, RunInfo};
use crate::log::{GcError, PrunedSegment, TrashEntry};
use crate::render::{GcAction, GcReport, GcTotal, json_line};
use crate::volume::{RunId, error_chain};

/// The lines of gc on stdout, its warnings on stderr.
pub(crate) struct GcOutput {
    json: bool,
    pub dry_run: bool,
    total: GcTotal,
    code: Code,
    /// Nobody reads us any more, or the disk is full: what was begun goes on.
    written: io::Result<()>,
}

impl GcOutput {
    pub(crate) fn new(json: bool, dry_run: bool) -> Self {
        Self {
            json,
            dry_run,
            total: GcTotal::default(),
            code: Code::Ok,
            written: Ok(()),
        }
    }

    /// Runs that cannot be looked at, and what is damaged in others.
    pub(crate) fn error(&mut self, surveyed: &GcCandidates) {
        warn_damage(&surveyed.damage);
        if !surveyed.damage.is_empty() {
            self.exit_with(Code::Damage);
        }
        for (run, e) in &surveyed.broken {
            self.failed(run, e);
            let report =
                GcReport::bare(run.clone(), GcAction::Fail, self.dry_run, error_chain(e), 0);
            self.line(&report);
        }
    }

    /// What a crash left in the trash.
    pub(crate) fn trash_entry(&mut self, leftover: &TrashEntry, removed: Result<(), GcError>) {
        let (run, bytes) = (leftover.run.clone(), leftover.bytes);
        let (action, why) = match removed {
            Ok(()) => (
                GcAction::Finish,
                "an earlier gc was cut off while it removed it".to_owned(),
            ),
            Err(e) => {
                self.failed(&run, &e);
                (GcAction::Fail, error_chain(&e))
            }
        };
        self.line(&GcReport::bare(run, action, self.dry_run, why, bytes));
    }

    /// A run that goes, or would go.
    pub(crate) fn remove(&mut self, facts: &RunInfo, why: &RemoveReason) {
        let mut report = self.report(facts, GcAction::Remove, why.to_string());
        report.policy = Some(why.policy());
        self.line(&report);
    }

    /// What became of a run that was to go.
    pub(crate) fn decision(&mut self, facts: &RunInfo, why: &RemoveReason, fate: GcDecision) {
        let (action, text) = match fate {
            GcDecision::Removed => return self.remove(facts, why),
            GcDecision::InTrash(e) => {
                self.failed(&facts.run_id, &e);
                return self.remove(facts, why);
            }
            GcDecision::Skipped(why_not) => {
                print_stderr(format_args!("run {} is left: {why_not}", facts.run_id));
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

    /// A run that stays; told only of those that were asked for.
    pub(crate) fn keep(&mut self, facts: &RunInfo, keep: KeepReason) {
        if !facts.named {
            return;
        }
        print_stderr(format_args!("run {} stays: {keep}", facts.run_id));
        if facts.standing == Eligibility::Live {
            self.exit_with(Code::Running);
        }
        let report = self.report(facts, GcAction::Keep, keep.to_string());
        self.line(&report);
    }

    /// The old segments of a run that stays.
    pub(crate) fn dropped(&mut self, facts: &RunInfo, dropped: Result<Vec<PrunedSegment>>) {
        match dropped {
            Ok(segments) => {
                for segment in segments {
                    let why = "all its events are over the limit".to_owned();
                    let mut report = self.report(facts, GcAction::Drop, why);
                    report.policy = Some("events_older_than");
                    report.file = Some(segment.file);
                    report.bytes = segment.bytes;
                    self.line(&report);
                }
            }
            // Removed meanwhile: then its events are gone too.
            Err(e) if is_run_removed(&e) => {}
            Err(e) => {
                self.failed(&facts.run_id, &*e);
                let report = self.report(facts, GcAction::Fail, error_chain(&*e));
                self.line(&report);
            }
        }
    }

    /// The last word.
    pub(crate) fn end(mut self) -> Result<Code> {
        if !self.json && self.written.is_ok() {
            self.written = self.total.people(&mut io::stdout().lock(), self.dry_run);
        }
        self.written.context("stdout cannot be written")?;
        Ok(self.code)
    }

    fn report(&self, facts: &RunInfo, action: GcAction, why: String) -> GcReport {
        GcReport::new(facts, action, self.dry_run, why)
    }

    fn line(&mut self, report: &GcReport) {
        self.total.add(report);
        if self.written.is_err() || !self.json && !report.is_for_people() {
            return;
        }
        let mut out = io::stdout().lock();
        self.written = if self.json {
            json_line(&mut out, report)
        } else {
            report.people(&mut out)
        }
        .and_then(|()| out.flush());
    }

    fn failed(&mut self, run: &RunId, e: &dyn std::error::Error) {
        print_stderr(format_args!("warning: run {run}: {}", error_chain(e)));
        self.exit_with(Code::Io);
    }

    /// The first trouble is the exit code, but for I/O, which is the worst.
    fn exit_with(&mut self, code: Code) {
        if self.code == Code::Ok || code == Code::Io {
            self.code = code;
        }
    }
}
