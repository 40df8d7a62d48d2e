//! The stage events of a job, with their snapshots.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde::Serialize;

use crate::job::process::liveness;
use crate::job::redact::mask_json::mask_strings;
use crate::job::redact::redaction::Redaction;
use crate::job::redact::secret_variables::variable_reference;
use crate::job::spec::job_spec::JobSpec;
use crate::log::format::payload::{
    EventPayload, HookEnded, JobCompleted, JobEnded, JobFailed, JobRolledBack, JobSampled,
    JobStarted, JobSubmitted, JobValidated, RecordedHooks, RecordedOptions, RollbackStarted,
    SupervisorReplaced,
};
use crate::log::{Draft, DraftError};
use crate::telemetry::{HostSnapshot, JobTree, ProcessSnapshot, Readings, Snapshots};
use crate::volume::{JobId, RunId, uptime_ms};

/// The maximum number of bytes of arguments to record.
const MAX_ARGV_BYTES: usize = 256 << 10;

/// An event with snapshots of the host.
#[derive(Serialize)]
struct StagePayload<'a, T> {
    #[serde(flatten)]
    event: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    telemetry_before: Option<&'a HostSnapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    telemetry_after: Option<&'a HostSnapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process_before: Option<&'a ProcessSnapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process_after: Option<&'a ProcessSnapshot>,
}

/// A factory of one job's events.
#[derive(Debug, Clone)]
pub(crate) struct JobEvents {
    pub run: RunId,
    pub job: JobId,
    /// The snapshots from before the job was executed.
    pub before: Snapshots,
    /// The secrets to mask in every string.
    pub redaction: Redaction,
}

impl JobEvents {
    fn draft<P: EventPayload>(
        &self,
        event: P,
        after: Option<&Snapshots>,
    ) -> Result<Draft, DraftError> {
        let stage = StagePayload {
            event,
            telemetry_before: self.before.host.as_ref(),
            telemetry_after: after.and_then(|s| s.host.as_ref()),
            process_before: self.before.processes.as_ref(),
            process_after: after.and_then(|s| s.processes.as_ref()),
        };
        let job = Some(&self.job);
        if self.redaction.all().is_none() {
            return Draft::with_type(P::TYPE, &self.run, job, &stage);
        }
        let stage = serde_json::to_string(&stage)?;
        let masked = mask_strings(&stage, &self.redaction)?;
        Draft::with_type(P::TYPE, &self.run, job, &masked)
    }

    pub(crate) fn submitted(&self, event: &JobSubmitted) -> Result<Draft, DraftError> {
        self.draft(event, None)
    }

    pub(crate) fn validated(&self, event: &JobValidated) -> Result<Draft, DraftError> {
        self.draft(event, None)
    }

    pub(crate) fn started(&self, event: &JobStarted) -> Result<Draft, DraftError> {
        self.draft(event, None)
    }

    pub(crate) fn supervisor_replaced(
        &self,
        event: &SupervisorReplaced,
    ) -> Result<Draft, DraftError> {
        self.draft(event, None)
    }

    /// Returns `job_completed` or `job_failed`.
    pub(crate) fn ended(&self, event: &JobEnded, after: &Snapshots) -> Result<Draft, DraftError> {
        match event.error {
            None => self.draft(JobCompleted(event), Some(after)),
            Some(_) => self.draft(JobFailed(event), Some(after)),
        }
    }

    pub(crate) fn rollback_started(&self, event: &RollbackStarted) -> Result<Draft, DraftError> {
        self.draft(event, None)
    }

    pub(crate) fn rolled_back(
        &self,
        event: &JobEnded,
        after: &Snapshots,
    ) -> Result<Draft, DraftError> {
        self.draft(JobRolledBack(event), Some(after))
    }

    /// Returns `hook_ended`, whose command is already masked.
    pub(crate) fn hook_ended(&self, event: &HookEnded) -> Result<Draft, DraftError> {
        Draft::new(&self.run, Some(&self.job), event)
    }

    pub(crate) fn sampled(&self, tree: &JobTree, probes: &Readings) -> Result<Draft, DraftError> {
        Draft::new(
            &self.run,
            Some(&self.job),
            &JobSampled {
                job: tree,
                uptime_ms: Some(uptime_ms()),
                probes: probes.clone(),
            },
        )
    }
}

/// Returns the payload of `job_validated` for a job, masked.
pub(crate) fn validated(spec: &JobSpec, program: &Path) -> JobValidated {
    let program = spec.redaction.mask_bytes(program.as_os_str().as_bytes());
    JobValidated {
        program_b64: base64_if_not_utf8(&program),
        program: String::from_utf8_lossy(&program).into_owned(),
    }
}

/// Returns the payload of `job_submitted` for a job, masked.
pub(crate) fn submitted(spec: &JobSpec, front: u32) -> JobSubmitted {
    let mut mask = EventMasker::new(&spec.redaction);
    let mut argv = Vec::new();
    let mut raw = Vec::new();
    let mut room = MAX_ARGV_BYTES;
    let names = spec.redaction.variable_names();
    let mut argv_vars: Vec<String> = Vec::new();
    for arg in &spec.argv {
        let referenced = spec.redaction.reference_argument(arg.as_bytes());
        if referenced != arg.as_bytes() {
            for name in &names {
                let reference = variable_reference(name);
                if contains(&referenced, reference.as_bytes()) && !argv_vars.contains(name) {
                    argv_vars.push(name.clone());
                }
            }
        }
        let masked = mask.os(OsStr::from_bytes(&referenced));
        match room.checked_sub(masked.len() + 3) {
            Some(left) => room = left,
            None => break,
        }
        argv.push(String::from_utf8_lossy(&masked).into_owned());
        raw.push(masked);
    }
    let exact = raw.iter().all(|arg| std::str::from_utf8(arg).is_ok());
    let cwd = mask.os(spec.cwd.as_os_str());
    let rerun_of = spec.rerun_of.as_ref();
    let rollback = spec
        .rollback
        .as_deref()
        .map(|command| mask.shell_command(command));
    JobSubmitted {
        argv_omitted: Some(spec.argv.len() - argv.len()).filter(|n| *n > 0),
        argv_b64: (!exact).then(|| raw.iter().map(|arg| base64(arg)).collect()),
        argv,
        cwd_b64: base64_if_not_utf8(&cwd),
        cwd: String::from_utf8_lossy(&cwd).into_owned(),
        uid: Some(rustix::process::geteuid().as_raw()),
        inputs: spec
            .inputs
            .iter()
            .map(|(k, v)| (k.clone(), mask.text(v)))
            .collect(),
        labels: spec
            .labels
            .iter()
            .map(|(k, v)| (k.clone(), mask.text(v)))
            .collect(),
        env: spec
            .env
            .iter()
            .map(|(k, v)| {
                let value = || mask.text(&spec.redaction.reference_text(v));
                (k.clone(), spec.record_env.then(value))
            })
            .collect(),
        rollback,
        probes: spec
            .dependencies
            .iter()
            .map(|it| (it.name.clone(), mask.text(&it.spec)))
            .collect(),
        require: spec.require.clone(),
        timeout_ms: spec.timeout.map(millis),
        retries: spec.retry.max_retries,
        options: recorded_options(spec, &mut mask),
        capture: spec.output.capture,
        lock: spec.lock.as_ref().map(|lock| lock.name.to_string()),
        replaced_runs: spec.lock.as_ref().map_or_else(Vec::new, |lock| {
            lock.replaced.iter().map(ToString::to_string).collect()
        }),
        redacted: mask.changed,
        argv_vars: (!names.is_empty()).then_some(argv_vars),
        redacted_vars: names,
        hooks: recorded_hooks(spec),
        rerun_of: rerun_of.map(|of| of.run_id.clone()),
        rerun_of_job: rerun_of.map(|of| of.job_id.clone()),
        supervisor: Some(liveness::process(std::process::id())),
        front: Some(liveness::process(front)),
        trace: spec.trace.as_ref().map(|trace| trace.job.clone()),
    }
}

/// Returns the options that only matter when the job runs again.
fn recorded_options(spec: &JobSpec, mask: &mut EventMasker<'_>) -> RecordedOptions {
    let mut options = RecordedOptions {
        sample_ms: spec.sample.map(millis),
        require_free_disk_bytes: spec.guards.free_disk_bytes,
        require_free_mem_bytes: spec.guards.free_mem_bytes,
        max_load: spec.guards.max_load,
        fail_if_shorter_ms: spec.bounds.min.map(millis),
        fail_if_longer_ms: spec.bounds.max.map(millis),
        kill_after_ms: spec.kill_after.map(millis),
        capture_limit_bytes: spec.output.limit,
        redact_vars: spec.redaction.specified_names().to_vec(),
        redact_patterns: spec.redaction.patterns(),
        redact_passed_on: spec.output.redact_passed_on,
        ..RecordedOptions::default()
    };
    let retry = &spec.retry;
    if retry.max_retries > 0 {
        let on = retry.on.iter().map(ToString::to_string);
        options.retry_on = on.map(|item| mask.text(&item)).collect();
        options.retry_delay_ms = Some(millis(retry.delay));
        options.retry_backoff = Some(retry.backoff);
        options.retry_max_delay_ms = retry.max_delay.map(millis);
        options.retry_jitter = Some(retry.jitter);
    }
    options
}

/// Returns the commands of the hooks, masked; `None` if there are none.
fn recorded_hooks(spec: &JobSpec) -> Option<RecordedHooks> {
    let mut mask = EventMasker::new(&spec.redaction);
    let mut record = |command: &Option<String>| Some(mask.shell_command(command.as_ref()?));
    let hooks = RecordedHooks {
        on_success: record(&spec.hooks.on_success),
        on_failure: record(&spec.hooks.on_failure),
        on_end: record(&spec.hooks.on_end),
        redacted: false,
    };
    let redacted = mask.changed;
    (!spec.hooks.is_empty()).then_some(RecordedHooks { redacted, ..hooks })
}

struct EventMasker<'a> {
    redaction: &'a Redaction,
    /// Whether a command that was masked must not be run again.
    changed: bool,
}

impl<'a> EventMasker<'a> {
    fn new(redaction: &'a Redaction) -> Self {
        Self {
            redaction,
            changed: false,
        }
    }

    fn os(&mut self, text: &OsStr) -> Vec<u8> {
        let bytes = text.as_bytes();
        let masked = self.redaction.mask_bytes(bytes);
        self.changed |= *masked != *bytes;
        masked.into_owned()
    }

    fn shell_command(&mut self, command: &str) -> String {
        let referenced = self.redaction.reference_shell_command(command);
        self.changed |= !referenced.is_exact;
        self.text(&referenced.text)
    }

    fn text(&mut self, text: &str) -> String {
        let masked = self.redaction.mask(text);
        self.changed |= *masked != *text;
        masked.into_owned()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

fn base64_if_not_utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| base64(bytes))
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
