//! The checks of a single line against all earlier lines.

use std::collections::HashMap;

use ulid::Ulid;

use super::chain::Chain;
use super::fault::{Fault, FaultKind, FaultList};
use super::fields::{Fields, fields_of};
use super::report::VerifyReport;
use super::torn_tail::{UnfinishedLine, is_unchanged};
use super::{checkpoint, order, outputs};
use crate::log::error::StorageError;
use crate::log::format::envelope::{DamageReason, Envelope, is_json_object};
use crate::log::format::event_type::EventType;
use crate::log::format::job_counts::JobCounts;
use crate::log::interop::foreign::apply_foreign;
use crate::log::read::damage::Damage;
use crate::log::read::reader::Item;
use crate::log::read::segment_reader::LinePosition;
use crate::log::segment::segment_file::Segment;
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, JobId};

/// The facts from the lines so far.
pub(crate) struct Verifier {
    pub report: VerifyReport,
    faults: FaultList,
    state: RunState,
    chain: Chain,
    last_seq: Option<u64>,
    last_id: Option<Ulid>,
    run_id: Option<String>,
    /// Whether no event is missing since the last checkpoint, so that the folded state must
    /// match the log.
    is_whole: bool,
    /// Whether no event was out of order, so that the counts of jobs must match too.
    is_counted: bool,
    /// Whether sequence numbers are missing before the next event.
    gap: bool,
    /// The number of stored bytes at the end of each rollback, if the log has it.
    rolled_back: HashMap<JobId, Option<u64>>,
}

impl Verifier {
    pub(crate) fn new(segments: &[Segment]) -> Self {
        Self {
            report: VerifyReport {
                events: 0,
                foreign: 0,
                segments: segments.len(),
                jobs: 0,
                faults: 0,
                first_seq: None,
                in_flight: false,
                has_active: segments.iter().any(|s| s.first_seq.is_none()),
            },
            faults: FaultList::default(),
            state: RunState::default(),
            chain: Chain::new(segments),
            last_seq: None,
            last_id: None,
            run_id: None,
            is_whole: true,
            is_counted: true,
            gap: false,
            rolled_back: HashMap::new(),
        }
    }

    /// Checks one line.
    pub(crate) fn check_item(&mut self, position: &LinePosition<'_>, item: &Item<'_>) {
        match item {
            Item::Event(env, line) => self.check_event(position, env, line),
            Item::Foreign(_, line) => {
                self.report.foreign += 1;
                self.chain.line(position, line);
                apply_foreign(&mut self.state, line);
            }
            // Verification starts again.
            Item::Dropped(_) => {}
            Item::Damage(damage) if damage.reason == DamageReason::Gap => {
                self.gap = true;
                self.is_whole = false;
            }
            Item::Damage(damage) => {
                self.chain.damage(position);
                self.is_whole = false;
                self.faults.push(damage_fault(damage));
            }
        }
    }

    /// Reports that the active segment was removed.
    pub(crate) fn report_missing_active(&mut self, missing: &Damage) {
        let message =
            "events may be missing: the active segment was removed or overwritten".to_owned();
        let fault = Fault::in_file(FaultKind::Gap, missing.file.clone(), message);
        self.faults.push(fault);
    }

    fn check_event(&mut self, position: &LinePosition<'_>, env: &Envelope<'_>, line: &[u8]) {
        self.report.events += 1;
        self.report.first_seq.get_or_insert(env.seq);
        let mut faults = self.faults.at_event(position, env.seq);
        if std::mem::take(&mut self.gap) {
            faults.push(FaultKind::Gap, missing_events(self.last_seq, env.seq));
        }
        self.last_seq = Some(env.seq);
        match env.ulid() {
            None => faults.push(FaultKind::Id, "its id is not a ULID".to_owned()),
            Some(id) if self.last_id.is_some_and(|last| id <= last) => {
                let message = "its id is not greater than the previous one".to_owned();
                faults.push(FaultKind::Id, message);
            }
            id => self.last_id = id,
        }
        if !env.ts().ends_with('Z') || !env.ts().contains('T') || env.timestamp().is_none() {
            let message = format!("its time is malformed: {}", env.ts());
            faults.push(FaultKind::Time, message);
        }

        let kind = env.kind.known();
        let is_forged = !is_json_object(line);
        let fields = fields_of(kind, line).filter(|_| !is_forged);
        match (&self.run_id, fields.as_ref().map(|f| &f.run_id)) {
            (None, Some(id)) => self.run_id = Some(id.clone()),
            (Some(first), Some(id)) if first != id => {
                let message = format!("it is an event of run {id} among those of {first}");
                faults.push(FaultKind::Fields, message);
            }
            _ => {}
        }
        let sealed = fields.as_ref().and_then(|f| f.sealed.as_ref());
        self.chain.line(position, line);
        self.chain.event(position, env, sealed, &mut faults);
        if is_forged {
            let message = "its checksum matches, but it is not one JSON object".to_owned();
            faults.push(FaultKind::Forged, message);
            self.is_whole = false;
            // Readers trust the checksum, and the state here must match theirs.
            self.state.apply(env, line);
            return;
        }
        match (kind, fields) {
            (Some(kind), Some(fields)) => self.check_fields(position, env, line, kind, fields),
            (Some(kind), None) => {
                let message = format!("its fields are not those of {}", kind.as_str());
                faults.push(FaultKind::Fields, message);
                self.state.apply(env, line);
            }
            (None, _) => self.state.apply(env, line),
        }
    }

    /// Checks an event of a known type against the state before it.
    fn check_fields(
        &mut self,
        position: &LinePosition<'_>,
        env: &Envelope<'_>,
        line: &[u8],
        kind: EventType,
        fields: Fields<'_>,
    ) {
        let is_first = self.report.events == 1 && self.report.foreign == 0;
        if is_first && env.seq > 0 && kind != EventType::LogRotated {
            self.is_whole = false;
        }
        let mut faults = self.faults.at_event(position, env.seq);
        let job = fields.job_id.as_ref().map(JobId::as_str);
        if let Some(order) = order::out_of_order(&self.state, kind, job, fields.attempt)
            && (self.is_whole || !order.missing)
        {
            faults.push(FaultKind::StageOrder, order.message);
            // A writer that does not fold the log trusts the order of the events.
            self.is_counted = false;
        }
        self.state.apply(env, line);
        if self.is_whole
            && self.is_counted
            && JobCounts::line_has_counts(line)
            && JobCounts::from_line(line).is_some_and(|counts| counts != self.state.job_counts())
        {
            let message = "its job counts do not match the preceding events".to_owned();
            faults.push(FaultKind::JobCounts, message);
        }
        if kind == EventType::JobRolledBack
            && let Some(job) = fields.job_id
        {
            let bytes = fields.output.map(|output| output.captured_bytes);
            self.rolled_back.insert(job, bytes);
        }
        if let Some(summary) = fields.summary
            && self.is_whole
            && !checkpoint::matches_fold(summary, &self.state)
        {
            let message = "its summary does not match the preceding events".to_owned();
            faults.push(FaultKind::Checkpoint, message);
        }
        if kind != EventType::LogRotated || is_first {
            return;
        }
        let agrees = |state| checkpoint::matches_fold(state, &self.state);
        if self.is_whole && !fields.state.is_some_and(agrees) {
            let message = "its state does not match the preceding events".to_owned();
            faults.push(FaultKind::Checkpoint, message);
        }
        let mut checkpoint = RunState::default();
        checkpoint.apply(env, line);
        // A full checkpoint replaces the events that are missing before it.
        if !checkpoint.jobs_truncated && !std::mem::replace(&mut self.is_whole, true) {
            self.state = checkpoint;
        }
    }

    /// Checks the chain of segments after the last line.
    pub(crate) fn finish_chain(&mut self, dir: &Dir) {
        self.chain.finish(dir, &mut self.faults);
    }

    /// Checks the captured output of the jobs after the last line.
    pub(crate) fn check_outputs(
        &mut self,
        dir: &Dir,
        active: Option<&Segment>,
    ) -> Result<(), StorageError> {
        outputs::check_files(dir, &self.state, &self.rolled_back, &mut self.faults)?;
        if self.is_whole && !self.state.jobs_truncated && is_unchanged(dir, active)? {
            outputs::check_unknown(dir, &self.state, &mut self.faults)?;
        }
        Ok(())
    }

    /// Reports a torn last line. `repair` describes what will happen to it.
    pub(crate) fn report_torn_tail(&mut self, torn: &UnfinishedLine, repair: &str) {
        self.faults.push(Fault {
            kind: FaultKind::TornTail,
            file: torn.segment.path.clone(),
            line: Some(self.chain.lines_of_last() + 1),
            offset: Some(torn.offset),
            seq: None,
            message: format!(
                "torn tail: {} bytes without a newline; {repair}",
                torn.len()
            ),
        });
    }

    /// Passes the faults found so far to `each`, until it fails.
    pub(crate) fn emit_faults<E>(
        &mut self,
        each: &mut impl FnMut(Fault) -> Result<(), E>,
    ) -> Result<(), E> {
        for fault in self.faults.drain() {
            self.report.faults += 1;
            each(fault)?;
        }
        Ok(())
    }

    /// Returns the report after the last line.
    pub(crate) fn into_report(self) -> VerifyReport {
        VerifyReport {
            jobs: self.state.jobs_total,
            ..self.report
        }
    }
}

fn damage_fault(damage: &Damage) -> Fault {
    let kind = match damage.reason {
        DamageReason::Repeated => FaultKind::Repeated,
        _ => FaultKind::DamagedLine,
    };
    Fault {
        kind,
        file: damage.file.clone(),
        line: Some(damage.line),
        offset: Some(damage.offset),
        seq: None,
        message: format!("damaged line: {}", damage.reason),
    }
}

/// Describes the missing sequence numbers between the previous event and this one.
fn missing_events(last: Option<u64>, next: u64) -> String {
    let first = last.map_or(0, |n| n + 1);
    match next.saturating_sub(first) {
        0 => {
            "events may be missing before it: the segment before was damaged or removed".to_owned()
        }
        1 => format!("event {first} is missing before it"),
        _ => format!(
            "the events {first} to {} are missing before it",
            next.saturating_sub(1)
        ),
    }
}
