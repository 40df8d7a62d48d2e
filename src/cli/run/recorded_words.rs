//! Converts the record of a job to words of a command line.
//!
//! They come between the defaults and the words that the user typed, and a later word overrides
//! an earlier one. So recorded values are checked like typed ones.

use std::ffi::{OsStr, OsString};

use super::args::Args;
use crate::job::{RecordedJob, expand_references, variable_reference};
use crate::log::format::payload::{JobSubmitted, RecordedOptions};
use crate::volume::JobId;

/// What a job needs but its record lacks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MissingRecord {
    /// The value of a variable.
    #[error("job `{job}` needs the variable {name}, whose value was not recorded")]
    Variable { job: JobId, name: String },
    /// What `--redact` masks.
    #[error(
        "the patterns of --redact of job `{job}` were not recorded, because they can be secrets"
    )]
    Patterns { job: JobId },
}

/// Returns the flags for the recorded options.
pub(super) fn recorded_words(
    typed: &Args,
    name: &str,
    job: &RecordedJob,
) -> Result<Vec<OsString>, MissingRecord> {
    let recorded = &job.submitted;
    let mut words = Vec::new();
    let mut add = |flag: &str, value: &OsStr| {
        let mut word = OsString::from(format!("--{flag}="));
        word.push(value);
        words.push(word);
    };
    if !name.is_empty() {
        add("name", name.as_ref());
    }
    if let Some(cwd) = recorded.recorded_cwd() {
        add("cwd", cwd.as_os_str());
    }
    for (flag, pairs) in [
        ("input", &recorded.inputs),
        ("label", &recorded.labels),
        ("probe", &recorded.probes),
    ] {
        for (key, value) in pairs {
            add(flag, format!("{key}={value}").as_ref());
        }
    }
    for name in &recorded.require {
        add("require", name.as_ref());
    }
    for (name, value) in &recorded.env {
        match value {
            _ if typed_env(typed, name).is_some() => {}
            Some(value) => {
                let is_used = |name: &&String| value.contains(&variable_reference(name));
                let used = recorded.redacted_vars.iter().filter(is_used);
                let variables = values(typed, job, used)?;
                let pair = format!("{name}={value}");
                add("env", &expand_references(pair.as_ref(), &variables));
            }
            None => {
                if std::env::var_os(name).is_none() {
                    return Err(missing(job, name));
                }
                add("env", name.as_ref());
            }
        }
    }
    let options = optional_values(recorded).into_iter();
    for (flag, value) in options.chain(further_options(&recorded.options)) {
        if let Some(value) = value {
            add(flag, value.as_ref());
        }
    }
    match recorded.options.retry_jitter {
        Some(true) => words.push("--retry-jitter".into()),
        Some(false) => words.push("--no-retry-jitter".into()),
        None => {}
    }
    if recorded.env.values().any(Option::is_some) {
        words.push("--record-env".into());
    }
    if !recorded.capture {
        words.push("--no-capture".into());
    }
    if recorded.options.redact_patterns > 0 && typed.redact.is_empty() {
        return Err(MissingRecord::Patterns {
            job: job.job_id.clone(),
        });
    }
    for (name, _) in values(typed, job, recorded.options.redact_vars.iter())? {
        words.push(format!("--redact=ENV:{name}").into());
    }
    if recorded.options.redact_passed_on {
        words.push("--redact-passed-on".into());
    }
    Ok(words)
}

fn optional_values(recorded: &JobSubmitted) -> [(&'static str, Option<String>); 7] {
    let hooks = recorded.hooks.clone().unwrap_or_default();
    [
        ("rollback", recorded.rollback.clone()),
        ("timeout", recorded.timeout_ms.map(|ms| format!("{ms}ms"))),
        (
            "retries",
            (recorded.retries > 0).then(|| recorded.retries.to_string()),
        ),
        ("lock", recorded.lock.clone()),
        ("on-success", hooks.on_success),
        ("on-failure", hooks.on_failure),
        ("on-end", hooks.on_end),
    ]
}

fn further_options(options: &RecordedOptions) -> [(&'static str, Option<String>); 12] {
    let time = |ms: Option<u64>| ms.map(|ms| format!("{ms}ms"));
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let decimal = |number: Option<f64>| number.map(|number| number.to_string());
    let retry_on = options.retry_on.join(",");
    [
        ("retry-on", Some(retry_on).filter(|list| !list.is_empty())),
        ("retry-delay", time(options.retry_delay_ms)),
        ("retry-backoff", decimal(options.retry_backoff)),
        ("retry-max-delay", time(options.retry_max_delay_ms)),
        ("sample", time(options.sample_ms)),
        ("require-free-disk", number(options.require_free_disk_bytes)),
        ("require-free-mem", number(options.require_free_mem_bytes)),
        ("max-load", decimal(options.max_load)),
        ("fail-if-shorter", time(options.fail_if_shorter_ms)),
        ("fail-if-longer", time(options.fail_if_longer_ms)),
        ("kill-after", time(options.kill_after_ms)),
        ("capture-limit", number(options.capture_limit_bytes)),
    ]
}

/// Returns the recorded command, with the values of its masked variables filled in.
pub(super) fn recorded_argv(
    typed: &Args,
    job: &RecordedJob,
) -> Result<Vec<OsString>, MissingRecord> {
    let variables = values(typed, job, job.submitted.argv_vars.iter().flatten())?;
    let argv = job.submitted.recorded_argv().unwrap_or_default();
    let expand = |arg: &OsString| expand_references(arg, &variables);
    Ok(argv.iter().map(expand).collect())
}

/// Returns the current values of masked variables.
fn values<'a>(
    typed: &Args,
    job: &RecordedJob,
    names: impl Iterator<Item = &'a String>,
) -> Result<Vec<(String, OsString)>, MissingRecord> {
    let value = |name: &String| {
        let value = typed_env(typed, name).map(OsString::from);
        let value = value.or_else(|| std::env::var_os(name));
        let value = value.filter(|value| !value.is_empty());
        Ok((name.clone(), value.ok_or_else(|| missing(job, name))?))
    };
    names.map(value).collect()
}

fn missing(job: &RecordedJob, name: &str) -> MissingRecord {
    MissingRecord::Variable {
        job: job.job_id.clone(),
        name: name.to_owned(),
    }
}

/// Returns the value that the user typed for a variable of the job.
fn typed_env<'a>(typed: &'a Args, name: &str) -> Option<&'a str> {
    let mut pairs = typed
        .env
        .iter()
        .rev()
        .filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}
