//! The times of a run, as shown by a wall clock that was never set.
//!
//! Durations in the log come from a clock that cannot be set, and so do the start times of
//! processes. If they contradict the time of an event, the wall clock was set before that event,
//! and all later times are shifted.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::de::IgnoredAny;

use crate::log::format::event_head::EventHead;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::{
    ErrorKind, JobEnded, JobSampled, JobStarted, RunClosed, RunOpened, parse_payload,
};
use crate::volume::{JobId, is_this_boot, uptime_ms, wall_clock};

/// The maximum difference between the time of an event and that of what it reports. An event
/// waits for locks and disks before it is written.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// A correction of the times of a run's events and output, which must be read in order.
#[derive(Debug, Default)]
pub struct SteadyTime {
    base: Option<Base>,
    /// The correction of the times of later events.
    shift: SignedDuration,
    /// The running attempts: their start, and the correction at that time.
    attempts: HashMap<JobId, Attempt>,
}

/// A time of the wall clock, and the uptime at that time.
#[derive(Debug)]
struct Base {
    ts: Timestamp,
    boot_id: String,
    uptime_ms: u64,
    /// Whether it is the first event of the run.
    is_opening: bool,
}

#[derive(Debug)]
struct Attempt {
    uptime_ms: Option<u64>,
    shift: SignedDuration,
}

impl SteadyTime {
    /// Returns the corrected time of the next event, given its line.
    pub fn event(&mut self, line: &[u8]) -> Option<Timestamp> {
        let head = EventHead::parse(line)?;
        let ts = head.ts?;
        match (head.kind.known(), head.job) {
            (Some(EventType::RunOpened), _) => self.opened(line, ts),
            (Some(EventType::JobStarted), Some(job)) => self.started(line, ts, job),
            (Some(EventType::JobCompleted | EventType::JobFailed), Some(job)) => {
                self.ended(line, ts, &job);
            }
            (Some(EventType::JobSampled), Some(job)) => self.sampled(line, ts, &job),
            (Some(EventType::RunClosed), _) => self.closed(line, ts),
            _ => {}
        }
        ts.checked_add(self.shift).ok()
    }

    /// Returns the corrected current time.
    pub fn now(&mut self) -> Timestamp {
        let now = wall_clock();
        if is_this_boot(self.base.as_ref().map(|base| &base.boot_id)) {
            self.align(now, uptime_ms());
        }
        now.checked_add(self.shift).unwrap_or(now)
    }

    /// Returns the corrected time of a job's output. `clock_set` is by how much the wall clock
    /// was set since the job started, according to the index.
    pub fn output(&self, job: &JobId, ts: Timestamp, clock_set: SignedDuration) -> Timestamp {
        let shift = self.attempts.get(job).map_or(self.shift, |job| job.shift);
        let ts = ts.checked_add(shift).unwrap_or(ts);
        ts.checked_sub(clock_set).unwrap_or(ts)
    }

    fn opened(&mut self, line: &[u8], ts: Timestamp) {
        let Some(opened) = parse_payload::<RunOpened>(line) else {
            return;
        };
        self.base = opened
            .boot_id
            .zip(opened.uptime_ms)
            .map(|(boot_id, uptime_ms)| Base {
                ts,
                boot_id,
                uptime_ms,
                is_opening: true,
            });
    }

    fn started(&mut self, line: &[u8], ts: Timestamp, job: JobId) {
        let started = parse_payload::<JobStarted>(line);
        let process = started.map(|started| started.process);
        let boot = process.as_ref().and_then(|process| process.boot_id.clone());
        let uptime_ms = process.and_then(|p| p.start_ms());
        let known = uptime_ms.zip(boot);
        if let (None, Some((uptime_ms, boot_id))) = (&self.base, known.clone()) {
            self.base = Some(Base {
                ts,
                boot_id,
                uptime_ms,
                is_opening: false,
            });
        }
        let is_same_boot = |boot: &String| self.base.as_ref().is_some_and(|b| b.boot_id == *boot);
        let uptime_ms = known
            .filter(|(_, boot)| is_same_boot(boot))
            .map(|(ms, _)| ms);
        if let Some(uptime_ms) = uptime_ms {
            self.align(ts, uptime_ms);
        }
        // The index of the output counts from the first attempt.
        let first = self.attempts.get(&job);
        let shift = first.map_or(self.shift, |attempt| attempt.shift);
        self.attempts.insert(job, Attempt { uptime_ms, shift });
    }

    fn sampled(&mut self, line: &[u8], ts: Timestamp, job: &JobId) {
        // The supervisor of the job takes the samples, in the boot of the job.
        let is_known = self
            .attempts
            .get(job)
            .is_some_and(|it| it.uptime_ms.is_some());
        let sample = parse_payload::<JobSampled<IgnoredAny>>(line).filter(|_| is_known);
        if let Some(uptime_ms) = sample.and_then(|sample| sample.uptime_ms) {
            self.align(ts, uptime_ms);
        }
    }

    fn ended(&mut self, line: &[u8], ts: Timestamp, job: &JobId) {
        let Some(ended) = parse_payload::<JobEnded>(line) else {
            return;
        };
        let attempt = self.attempts.get(job).and_then(|attempt| attempt.uptime_ms);
        let is_lost = ended.error.is_some_and(|e| e.kind == ErrorKind::Lost);
        if let (Some(start), Some(ms), false) = (attempt, ended.duration_ms, is_lost) {
            self.align(ts, start.saturating_add(ms));
        }
    }

    fn closed(&mut self, line: &[u8], ts: Timestamp) {
        let closed = parse_payload::<RunClosed<IgnoredAny>>(line);
        if let (Some(base), Some(ms)) = (&self.base, closed.and_then(|e| e.duration_ms))
            && base.is_opening
        {
            self.align(ts, base.uptime_ms.saturating_add(ms));
        }
    }

    /// Records that the wall clock said `ts` at this uptime.
    fn align(&mut self, ts: Timestamp, uptime_ms: u64) {
        let Some(base) = &self.base else {
            return;
        };
        let since = i64::try_from(uptime_ms)
            .ok()
            .zip(i64::try_from(base.uptime_ms).ok());
        let since = since.map(|(now, then)| SignedDuration::from_millis(now.saturating_sub(then)));
        let expected = since.and_then(|since| base.ts.checked_add(since).ok());
        if let Some(shift) = expected.map(|expected| expected.duration_since(ts))
            && (shift - self.shift).abs() > TOLERANCE
        {
            self.shift = if shift.abs() > TOLERANCE {
                shift
            } else {
                SignedDuration::ZERO
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::parse_ts;

    fn line(seq: u64, ts: &str, kind: &str, rest: &str) -> Vec<u8> {
        let job = if kind.starts_with("job") {
            r#","job_id":"j""#
        } else {
            ""
        };
        format!(
            r#"{{"v":1,"seq":{seq},"id":"01m80sq1d1rdzx92m8f2tr0mkx","ts":"2026-11-22T{ts}.000000Z","type":"{kind}","run_id":"r"{job}{rest},"crc":"00000000"}}"#
        )
        .into_bytes()
    }

    #[test]
    fn times_continue_when_clock_is_set() {
        for (second, hour) in [("10", "06"), ("10", "02")] {
            let mut steady = SteadyTime::default();
            let mut at = |line: &[u8]| steady.event(line).unwrap();
            let opened = r#","name":"r","keep_open":false,"boot_id":"b","uptime_ms":5000"#;
            let start = at(&line(0, "04:00:00", "run_opened", opened));
            let process = r#","attempt":1,"pid":7,"start_ticks":600,"boot_id":"b""#;
            let started = at(&line(1, "04:00:01", "job_started", process));
            assert_eq!(started.duration_since(start), SignedDuration::from_secs(1));
            let sample = r#","job":{},"uptime_ms":10000"#;
            let sampled = at(&line(2, &format!("{hour}:00:05"), "job_sampled", sample));
            assert_eq!(sampled.duration_since(start), SignedDuration::from_secs(5));
            let ended = line(
                3,
                &format!("{hour}:00:{second}"),
                "job_completed",
                r#","attempt":1,"exit_code":0,"duration_ms":9000"#,
            );
            assert_eq!(
                at(&ended).duration_since(start),
                SignedDuration::from_secs(10)
            );
            let closed = line(
                4,
                &format!("{hour}:00:{second}"),
                "run_closed",
                r#","duration_ms":10000,"summary":{}"#,
            );
            assert_eq!(
                at(&closed).duration_since(start),
                SignedDuration::from_secs(10)
            );
        }
    }

    #[test]
    fn output_after_clock_was_set_continues() {
        let steady = SteadyTime::default();
        let ts = |text: &str| parse_ts(&format!("2026-11-22T{text}.000000Z")).unwrap();
        let job = "j".parse().unwrap();
        let later = steady.output(&job, ts("06:00:01"), SignedDuration::from_hours(2));
        assert_eq!(later, ts("04:00:01"));
    }
}
