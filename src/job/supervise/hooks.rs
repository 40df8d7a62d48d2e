//! Commands that run after the job has ended: `--on-success`, `--on-failure`, `--on-end`.
//!
//! They change nothing about the outcome. Each one is claimed in the page before it runs, so
//! that a supervisor that replaces another one does not run it again.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::getpid;
use serde::Serialize;

use super::child;
use super::hook_limit::{HOOK_TIMEOUT, HookLimit};
use super::hook_streams::{HookOutput, stdin};
use super::job_events::{JobEvents, millis};
use super::outcome::{JobEnd, status_error};
use super::supervisor::Supervisor;
use crate::job::process::hook_slots::HookState;
use crate::job::process::signals::{ChildSetup, signal_name};
use crate::job::process::wait_status;
use crate::job::process::wait_status::{ChildState, WaitStatus};
use crate::job::redact::redactor::Redactor;
use crate::job::spec::job_spec::Hooks;
use crate::job::spec::stream_plan::OutputDelivery;
use crate::log::format::payload::{ErrorKind, HookEnded, JobError, parse_payload};
use crate::log::{Close, EventType, Item, Reader};
use crate::telemetry;
use crate::volume::JobId;

/// The maximum time between two checks of a hook.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The information about the job and its run that a hook gets.
#[derive(Debug)]
pub struct HookInput {
    /// The stdin: the line of `status --json`.
    pub status: Vec<u8>,
    /// The state of the run.
    pub state: &'static str,
    /// The exit code of `run`, or 128+N for signal N.
    pub exit_code: u8,
    /// Which hook runs before `on_end`.
    pub trigger: HookTrigger,
}

/// The outcome of a job that decides which of its hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookTrigger {
    /// The job completed, and its output was passed on.
    Success,
    /// It failed in any other way.
    Failure,
}

impl HookTrigger {
    /// Returns the trigger for this end of a job, if its output was passed on.
    pub fn from_end(end: &JobEnd) -> Self {
        if end.is_success() {
            Self::Success
        } else {
            Self::Failure
        }
    }
}

/// A function that returns the input of the hooks, from the end of the job and the number of bytes
/// of its output that could not be passed on.
pub type MakeHookInput = Box<dyn Fn(&JobEnd, u64) -> HookInput>;

/// A hook that must run.
struct DueHook<'a> {
    slot: usize,
    name: &'static str,
    command: &'a str,
}

/// The outcome of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookResult {
    /// Which hook.
    pub hook: &'static str,
    /// Why it failed or did not run.
    pub error: Option<String>,
}

impl Supervisor<'_> {
    /// Runs the hooks of the job, one after the other, and records their ends.
    pub(crate) fn run_hooks(
        &mut self,
        events: &JobEvents,
        end: &JobEnd,
        make: &MakeHookInput,
    ) -> Vec<HookResult> {
        let spec = self.spec;
        if spec.hooks.is_empty() {
            return Vec::new();
        }
        // A signal that arrived before the hooks did not ask them to end.
        self.was_asked_to_end |= self.control.shutdown_requested().is_some();
        let input = make(end, self.control.page.output.undelivered_bytes());
        let due = triggered_hooks(&spec.hooks, input.trigger).into_iter();
        due.filter_map(|hook| self.run_hook(events, &hook, &input))
            .collect()
    }

    /// Records why the hooks of the job do not run.
    pub(crate) fn refuse_hooks(
        &mut self,
        events: &JobEvents,
        end: &JobEnd,
        why: &str,
    ) -> Vec<HookResult> {
        let spec = self.spec;
        let due = triggered_hooks(&spec.hooks, HookTrigger::from_end(end)).into_iter();
        let refuse = |hook: DueHook<'_>| {
            let mut event = self.hook_event(&hook);
            event.error = Some(JobError {
                kind: ErrorKind::NotExecutable,
                message: format!("it was not run: {why}"),
            });
            self.record_hook(events, &hook, event)
        };
        due.map(refuse).collect()
    }

    fn hook_event(&self, hook: &DueHook<'_>) -> HookEnded {
        HookEnded {
            hook: hook.name.to_owned(),
            command: self.spec.masked_command(hook.command),
            ..HookEnded::default()
        }
    }

    /// Runs a hook, unless a supervisor that died has recorded its end.
    fn run_hook(
        &mut self,
        events: &JobEvents,
        hook: &DueHook<'_>,
        input: &HookInput,
    ) -> Option<HookResult> {
        let page = self.control.page;
        let mut event = self.hook_event(hook);
        let started = Instant::now();
        let ended = match page.hooks.state(hook.slot) {
            HookState::Recorded => return None,
            HookState::Claimed(_) if self.is_in_log(events, hook.name) => {
                page.hooks.record(hook.slot);
                return None;
            }
            HookState::Claimed(pid) => self.resume_hook(hook.slot, pid),
            HookState::Due => self.execute(hook, input),
        };
        match ended {
            Ok((status, timed_out)) => {
                event.record_end(status);
                if timed_out {
                    event.record_timeout();
                }
            }
            Err(error) => event.error = Some(error),
        }
        event.duration_ms = millis(started.elapsed());
        Some(self.record_hook(events, hook, event))
    }

    fn record_hook(
        &mut self,
        events: &JobEvents,
        hook: &DueHook<'_>,
        event: HookEnded,
    ) -> HookResult {
        let page = self.control.page;
        if let Some(error) = &event.error {
            (self.on_warning)(&format!("the hook {} failed: {}", hook.name, error.message));
        }
        self.append_terminal("the end of a hook", events.hook_ended(&event), Close::No);
        let state = page.hooks.state(hook.slot);
        page.hooks.record(hook.slot);
        // Reap it only now: until this point, another supervisor could have needed its exit status.
        if let HookState::Claimed(pid) = state {
            wait_status::reap(pid);
        }
        HookResult {
            hook: hook.name,
            error: event.error.map(|error| error.message),
        }
    }

    /// Returns whether a supervisor that died has written the end of a hook.
    fn is_in_log(&self, events: &JobEvents, hook: &str) -> bool {
        let Ok(mut reader) = Reader::open(self.log.dir()) else {
            return false;
        };
        while let Ok(Some(item)) = reader.next_item() {
            if ended_hook(&item).is_some_and(|(job, name)| job == events.job && name == hook) {
                return true;
            }
        }
        false
    }

    /// Runs a hook to its end. Returns how it ended, and whether it exceeded its time limit.
    fn execute(
        &mut self,
        hook: &DueHook<'_>,
        input: &HookInput,
    ) -> Result<(WaitStatus, bool), JobError> {
        self.try_execute(hook, input).map_err(|e| JobError {
            kind: ErrorKind::NotExecutable,
            message: format!("cannot run the hook: {e}"),
        })
    }

    fn try_execute(
        &mut self,
        hook: &DueHook<'_>,
        input: &HookInput,
    ) -> io::Result<(WaitStatus, bool)> {
        let mut command = child::shell(hook.command);
        if let Some(dir) = &self.spec.chdir {
            command.current_dir(dir);
        }
        command.envs(self.job_env());
        command.env("RUNLOG_STATE", input.state);
        command.env("RUNLOG_EXIT_CODE", input.exit_code.to_string());
        command.stdin(stdin(&input.status)?);
        command.process_group(0);
        let output = self.output(&mut command, input.trigger)?;
        let (page, slot) = (self.control.page, hook.slot);
        ChildSetup::default().apply(&mut command, move || {
            let pid = getpid().as_raw_nonzero().get() as u32;
            if page.hooks.claim(slot, pid) {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::ECANCELED))
            }
        });
        let spawned = command.spawn();
        // The command's copies of the pipe would keep the output from ending.
        drop(command);
        let ended = self.await_own(spawned?.id())?;
        if let Some(output) = output {
            let deadline = self.reader_deadline();
            output.finish(&mut self.control, deadline);
        }
        Ok(ended)
    }

    /// Lets the hook print to runlog's stderr through a pipe, so that no error there can end it.
    fn output(
        &self,
        command: &mut Command,
        trigger: HookTrigger,
    ) -> io::Result<Option<HookOutput>> {
        let is_passed_on = match self.spec.hooks.delivery {
            OutputDelivery::AsItArrives => true,
            OutputDelivery::AfterFailure => trigger == HookTrigger::Failure,
            OutputDelivery::Dropped => false,
        };
        if !is_passed_on {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            return Ok(None);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        command.stdout(write.try_clone()?).stderr(write);
        if let Some(link) = self.control.link() {
            // A front that has exited no longer needs it.
            link.send_hook_output(read.as_fd()).ok();
        }
        let masker = self.spec.shown_redactor().map(Redactor::stream);
        HookOutput::copy(read, masker).map(Some)
    }

    fn await_own(&mut self, pid: u32) -> io::Result<(WaitStatus, bool)> {
        let mut limit = HookLimit::new(pid);
        loop {
            if let ChildState::Ended(status, _) = wait_status::peek(pid)? {
                return Ok((status, limit.timed_out));
            }
            self.wait_for_hook(&mut limit);
        }
    }

    /// Waits for a hook that a dead supervisor had started. The front sees its end.
    fn resume_hook(&mut self, slot: usize, pid: u32) -> Result<(WaitStatus, bool), JobError> {
        let mut masker = self.spec.shown_redactor().map(Redactor::stream);
        if let Some(masker) = &mut masker {
            masker.continue_after_loss();
        }
        let output = self.hook_output.take();
        let output = output.map(|pipe| HookOutput::copy(pipe, masker));
        let mut limit = HookLimit::new(pid);
        while self.control.page.hooks.adopted_end(slot).is_none() && telemetry::exists(pid) {
            self.wait_for_hook(&mut limit);
        }
        if let Some(Ok(output)) = output {
            let deadline = self.reader_deadline();
            output.finish(&mut self.control, deadline);
        }
        let status = self.control.page.hooks.adopted_end(slot);
        let status = status.ok_or_else(|| JobError {
            kind: ErrorKind::Lost,
            message: "the processes that had started it were killed".to_owned(),
        })?;
        Ok((status, limit.timed_out))
    }

    fn wait_for_hook(&mut self, limit: &mut HookLimit) {
        if self.control.shutdown_requested().is_some() {
            limit.interrupt();
        }
        limit.enforce();
        self.control.wait(&[], Some(POLL_INTERVAL));
    }
}

/// Returns the hooks to run after the end of a job, in order.
fn triggered_hooks(hooks: &Hooks, trigger: HookTrigger) -> Vec<DueHook<'_>> {
    let first = match trigger {
        HookTrigger::Success => ("on_success", &hooks.on_success),
        HookTrigger::Failure => ("on_failure", &hooks.on_failure),
    };
    let hooks = [first, ("on_end", &hooks.on_end)];
    let mut due = Vec::new();
    for (slot, (name, command)) in hooks.into_iter().enumerate() {
        due.extend(command.as_deref().map(|command| DueHook {
            slot,
            name,
            command,
        }));
    }
    due
}

/// Returns the job and the name of a hook whose end this item is.
pub(crate) fn ended_hook(item: &Item<'_>) -> Option<(JobId, String)> {
    match item {
        Item::Event(event, line) if event.kind == EventType::HookEnded => {
            Some((event.job_id()?, parse_payload::<HookEnded>(line)?.hook))
        }
        _ => None,
    }
}

impl HookEnded {
    fn record_end(&mut self, status: WaitStatus) {
        self.exit_code = status.exit_code();
        self.signal = status.signal().map(signal_name);
        self.error = status_error(status);
    }

    fn record_timeout(&mut self) {
        self.error = Some(JobError {
            kind: ErrorKind::Timeout,
            message: format!("it ran longer than {} s", HOOK_TIMEOUT.as_secs()),
        });
    }
}
