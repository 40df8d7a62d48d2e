//! The page of memory that the front and the supervisors of one job share.
//!
//! It outlives every supervisor, so the next supervisor knows what the previous one did, however
//! that one died. Each field has one writer at a time, and all fields are atomics.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::hook_slots::HookSlots;
use super::monotonic_clock::monotonic_ns;
use super::output_counters::OutputCounters;
use super::passed_signals::PassedSignals;
use super::terminal_modes::ModesRecord;
use super::wait_status::{EncodedStatus, WaitStatus};
use crate::log::format::payload::Cost;
use crate::telemetry;
use crate::telemetry::LiveProcess;

/// The maximum length of an id, in bytes.
const MAX_ID_BYTES: usize = 128;
/// The number of readers of abandoned pipes to remember.
const MAX_READERS: usize = 8;

/// The step of the rollback command, which follows every attempt.
pub(crate) const ROLLBACK_STEP: u32 = 1 << 30;

/// The page.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SupervisionPage {
    run: Id,
    job: Id,
    /// The last step (attempt, or rollback) that was started, and its pid.
    claim: AtomicU64,
    claimed_at: AtomicU64,
    /// The last step whose process has ended.
    exited: AtomicU32,
    exited_at: AtomicU64,
    /// The last step whose end is in the log, so that its process may be reaped.
    acknowledged: AtomicU32,
    /// The end of the last step whose process has ended.
    end: StepEnd,
    /// The step that exceeded its time limit.
    timed_out: AtomicU32,
    /// The attempt that will be retried, and when.
    retried: AtomicU32,
    retry_at: AtomicU64,
    /// The last step that was asked to end, because of a limit or by a signal, and how many
    /// milliseconds after its claim.
    end_request: AtomicU64,
    /// The signal that asked runlog to end while no process of the job was running.
    shutdown: AtomicU32,
    /// The signal that stopped the job.
    stopped: AtomicU32,
    pub(crate) signals: PassedSignals,
    /// The pid of each, and the lower half of its start time.
    readers: [AtomicU64; MAX_READERS],
    next_reader: AtomicU32,
    pub(crate) output: OutputCounters,
    /// The changes to the terminal, for each pseudo-terminal of the newest attempt.
    pub(crate) modes: [ModesRecord; 2],
    /// Whether the run was announced to the caller.
    pub(crate) announced: AtomicBool,
    /// The number of processes that the OOM killer killed before the step, plus one.
    oom_kills_before: AtomicU64,
    pub(crate) hooks: HookSlots,
    result: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
struct Id {
    len: AtomicU32,
    bytes: [AtomicU8; MAX_ID_BYTES],
}

#[repr(C)]
#[derive(Debug)]
struct StepEnd {
    step: AtomicU32,
    status: EncodedStatus,
    cost: [AtomicU64; 8],
}

/// How `runlog run` must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunResult {
    /// With an exit code.
    Exit(u8),
    /// With the signal that ended the job.
    Signal(u8),
    /// By becoming the command: there is no log, and nothing was started.
    Unlogged,
}

/// A step that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The attempt, from 1, or [`ROLLBACK_STEP`].
    pub step: u32,
    /// The first process of the step.
    pub pid: u32,
}

impl SupervisionPage {
    /// Maps the page, which remains mapped while the process is alive.
    ///
    /// # Errors
    /// The system has no memory.
    pub(crate) fn map() -> io::Result<&'static Self> {
        // SAFETY: a fresh anonymous mapping overlaps nothing; it is page-aligned, zeroed and
        // large enough, zero is a valid value of each atomic, and it is never unmapped.
        unsafe {
            let memory = mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<Self>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )?;
            Ok(&*memory.cast::<Self>())
        }
    }

    /// Claims a step for the calling process; false if it was claimed before. Runs between fork
    /// and exec, so it is async-signal-safe.
    pub(crate) fn claim(&self, step: u32, pid: u32) -> bool {
        let mine = u64::from(step) << 32 | u64::from(pid);
        let mut current = self.claim.load(Ordering::Acquire);
        loop {
            if (current >> 32) as u32 >= step {
                return false;
            }
            self.claimed_at.store(monotonic_ns(), Ordering::Release);
            match self
                .claim
                .compare_exchange(current, mine, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => current = now,
            }
        }
    }

    /// Returns the last step that was started.
    pub(crate) fn claimed(&self) -> Option<Claim> {
        let claim = self.claim.load(Ordering::Acquire);
        (claim != 0).then_some(Claim {
            step: (claim >> 32) as u32,
            pid: claim as u32,
        })
    }

    /// Returns how long ago the last step was started.
    pub(crate) fn since_claim(&self) -> Duration {
        let then = self.claimed_at.load(Ordering::Acquire);
        Duration::from_nanos(monotonic_ns().saturating_sub(then))
    }

    /// Returns how long the process of the last step, which has ended, ran.
    pub(crate) fn run_time(&self) -> Duration {
        let [from, to] = [&self.claimed_at, &self.exited_at].map(|at| at.load(Ordering::Acquire));
        Duration::from_nanos(to.saturating_sub(from))
    }

    /// Returns the step whose process is running, according to this page.
    pub(crate) fn live(&self) -> Option<Claim> {
        let exited = self.exited.load(Ordering::Acquire);
        self.claimed().filter(|claim| claim.step > exited)
    }

    /// Records that the process of a step has ended, so that it gets no more signals.
    pub(crate) fn record_exit(&self, step: u32) {
        // Another supervisor may repeat this later.
        if self.exited.load(Ordering::Acquire) < step {
            self.exited_at.store(monotonic_ns(), Ordering::Release);
        }
        self.exited.fetch_max(step, Ordering::AcqRel);
    }

    /// Records that the end of a step is in the log.
    pub(crate) fn acknowledge(&self, step: u32) {
        self.acknowledged.fetch_max(step, Ordering::AcqRel);
    }

    /// Returns whether the end of a step is in the log.
    pub(crate) fn is_acknowledged(&self, step: u32) -> bool {
        self.acknowledged.load(Ordering::Acquire) >= step
    }

    /// Records how the process of a step ended, before the process is reaped.
    pub(crate) fn record_end(&self, step: u32, status: WaitStatus, cost: &Cost) {
        let exit = &self.end;
        exit.status.store(status);
        let values = [
            cost.cpu_ms,
            cost.user_ms,
            cost.system_ms,
            cost.max_rss_bytes,
            cost.read_bytes,
            cost.written_bytes,
            cost.major_faults,
            cost.context_switches,
        ];
        for (slot, value) in exit.cost.iter().zip(values) {
            slot.store(value, Ordering::Relaxed);
        }
        exit.step.store(step, Ordering::Release);
    }

    /// Returns how the process of a step ended, if a process of runlog has seen it.
    pub(crate) fn end(&self, step: u32) -> Option<(WaitStatus, Cost)> {
        let exit = &self.end;
        if exit.step.load(Ordering::Acquire) != step {
            return None;
        }
        let status = exit.status.load()?;
        let [cpu, user, system, rss, read, written, faults, switches] = exit
            .cost
            .each_ref()
            .map(|slot| slot.load(Ordering::Relaxed));
        let cost = Cost {
            cpu_ms: cpu,
            user_ms: user,
            system_ms: system,
            max_rss_bytes: rss,
            read_bytes: read,
            written_bytes: written,
            major_faults: faults,
            context_switches: switches,
        };
        Some((status, cost))
    }

    /// Records that a step exceeded its time limit.
    pub(crate) fn record_timeout(&self, step: u32) {
        self.timed_out.store(step, Ordering::Release);
    }

    /// Returns whether a step exceeded its time limit.
    pub(crate) fn has_timed_out(&self, step: u32) -> bool {
        self.timed_out.load(Ordering::Acquire) == step
    }

    /// Returns whether the job has ended because of its time limit. A rollback, which has none, may
    /// follow.
    pub(crate) fn ended_by_timeout(&self) -> bool {
        let timed_out = self.timed_out.load(Ordering::Acquire);
        let is_last = |claim: Claim| claim.step == timed_out || claim.step == ROLLBACK_STEP;
        timed_out != 0 && self.claimed().is_some_and(is_last)
    }

    /// Records the delay from now until the attempt after this one.
    pub(crate) fn record_retry(&self, attempt: u32, delay: Duration) {
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let at = monotonic_ns().saturating_add(delay);
        self.retry_at.store(at, Ordering::Relaxed);
        self.retried.store(attempt, Ordering::Release);
    }

    /// Returns the time until the attempt after this one; `None` if it is due.
    pub(crate) fn until_retry(&self, attempt: u32) -> Option<Duration> {
        if self.retried.load(Ordering::Acquire) != attempt {
            return None;
        }
        let at = self.retry_at.load(Ordering::Relaxed);
        let left = at.checked_sub(monotonic_ns()).filter(|left| *left > 0)?;
        Some(Duration::from_nanos(left))
    }

    /// Records that a step was asked to end. Only the first time counts.
    pub(crate) fn request_end(&self, step: u32) {
        let millis = u32::try_from(self.since_claim().as_millis()).unwrap_or(u32::MAX);
        let request = u64::from(step) << 32 | u64::from(millis);
        // A request for a step that has ended must not replace that for a later one.
        let is_first = |current: u64| (current >> 32 < u64::from(step)).then_some(request);
        self.end_request
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, is_first)
            .ok();
    }

    /// Returns how long ago a step was asked to end.
    pub(crate) fn since_end_request(&self, step: u32) -> Option<Duration> {
        let request = self.end_request.load(Ordering::Acquire);
        let after = Duration::from_millis(u64::from(request as u32));
        (request >> 32 == u64::from(step)).then(|| self.since_claim().saturating_sub(after))
    }

    /// Records a signal that asked runlog to end while no process of the job was running.
    pub(crate) fn request_shutdown(&self, signal: i32) {
        self.shutdown.store(signal as u32, Ordering::Release);
    }

    /// Returns whether a signal asked runlog to end while no process of the job was running.
    pub(crate) fn has_shutdown_request(&self) -> bool {
        self.shutdown.load(Ordering::Acquire) != 0
    }

    /// Returns and clears the signal that asked runlog to end.
    pub(crate) fn take_shutdown(&self) -> Option<i32> {
        let signal = self.shutdown.swap(0, Ordering::AcqRel);
        (signal != 0).then_some(signal as i32)
    }

    /// Records that a signal stopped the job.
    pub(crate) fn record_stop(&self, signal: i32) {
        self.stopped.store(signal as u32, Ordering::Release);
    }

    /// Returns and clears the signal that stopped the job.
    pub(crate) fn take_stop(&self) -> Option<i32> {
        let signal = self.stopped.swap(0, Ordering::AcqRel);
        (signal != 0).then_some(signal as i32)
    }

    /// Records a process of runlog that reads an abandoned pipe.
    pub(crate) fn record_reader(&self, pid: u32) {
        let at = self.next_reader.fetch_add(1, Ordering::AcqRel) as usize;
        if let Some(slot) = self.readers.get(at % MAX_READERS) {
            let started = telemetry::start_ticks(pid).unwrap_or_default();
            slot.store(reader(pid, started), Ordering::Release);
        }
    }

    /// Returns whether the process is one of runlog's that reads an abandoned pipe. Its pid may
    /// have been that of one.
    pub(crate) fn is_reader(&self, process: &LiveProcess) -> bool {
        let it = reader(process.pid, process.start_ticks);
        let mut readers = self.readers.iter();
        readers.any(|slot| slot.load(Ordering::Acquire) == it)
    }

    /// Records how many processes the OOM killer killed before a step.
    pub(crate) fn record_oom_kills_before(&self, kills: Option<u64>) {
        let word = kills.map_or(0, |kills| kills.saturating_add(1));
        self.oom_kills_before.store(word, Ordering::Release);
    }

    /// Returns how many processes the OOM killer killed before the step.
    pub(crate) fn oom_kills_before(&self) -> Option<u64> {
        self.oom_kills_before.load(Ordering::Acquire).checked_sub(1)
    }

    /// Records the run that the job belongs to.
    pub(crate) fn record_run(&self, run: &str) {
        self.run.store(run);
    }

    /// Returns the run that the job belongs to, if one was created.
    pub(crate) fn run(&self) -> Option<String> {
        self.run.load()
    }

    /// Records the id of the job, after its lease is held.
    pub(crate) fn record_job(&self, job: &str) {
        self.job.store(job);
    }

    /// Returns the id of the job, if it has one.
    pub(crate) fn job(&self) -> Option<String> {
        self.job.load()
    }

    /// Records how `runlog run` must end, after all of its work is done.
    pub(crate) fn record_result(&self, result: RunResult) {
        let word = match result {
            RunResult::Exit(code) => 1 << 8 | u64::from(code),
            RunResult::Signal(signal) => 2 << 8 | u64::from(signal),
            RunResult::Unlogged => 3 << 8,
        };
        self.result.store(word, Ordering::Release);
    }

    /// Returns how `runlog run` must end.
    pub(crate) fn result(&self) -> Option<RunResult> {
        let word = self.result.load(Ordering::Acquire);
        match word >> 8 {
            1 => Some(RunResult::Exit(word as u8)),
            2 => Some(RunResult::Signal(word as u8)),
            3 => Some(RunResult::Unlogged),
            _ => None,
        }
    }
}

fn reader(pid: u32, start_ticks: u64) -> u64 {
    u64::from(pid) << 32 | start_ticks & u64::from(u32::MAX)
}

impl Id {
    fn store(&self, text: &str) {
        for (slot, byte) in self.bytes.iter().zip(text.bytes()) {
            slot.store(byte, Ordering::Relaxed);
        }
        let len = text.len().min(MAX_ID_BYTES);
        self.len.store(len as u32, Ordering::Release);
    }

    fn load(&self) -> Option<String> {
        let len = self.len.load(Ordering::Acquire) as usize;
        let bytes = self.bytes.iter().take(len);
        let bytes: Vec<u8> = bytes.map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8(bytes).ok().filter(|id| !id.is_empty())
    }
}
