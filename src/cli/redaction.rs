//! Which secrets to mask, from the environment and the volume's settings.

use std::ffi::{OsStr, OsString};

use anyhow::Result;

use super::context::host_name;
use super::usage_error::UsageError;
use crate::job::{Redaction, SecretEnv};
use crate::volume::Volume;

/// The variable that passes `run --redact` to `runlog emit` inside a job, one per line.
pub(crate) const REDACT: &str = "RUNLOG_REDACT";

/// The variable that passes `run --no-default-redact` to runlog inside a job, as `off`, and
/// `--default-redact` as `on`.
pub(crate) const DEFAULT_REDACT: &str = "RUNLOG_DEFAULT_REDACT";

/// Returns the environment whose secret variables are masked: that of this process, with the
/// variables in `changed` set.
pub(crate) fn secret_env(changed: &[(String, String)]) -> SecretEnv {
    let changed = changed.iter().map(|(k, v)| (k.into(), v.into()));
    let mut known_names: Vec<OsString> = ["USER", "LOGNAME"]
        .into_iter()
        .filter_map(std::env::var_os)
        .collect();
    known_names.extend(host_name().map(OsString::from));
    SecretEnv {
        variables: std::env::vars_os().chain(changed).collect(),
        known_names,
    }
}

/// Returns whether to mask the values of secret variables without `--redact`: yes, unless the
/// enclosing job or the settings of the volume say otherwise.
///
/// Settings that cannot be read are reported elsewhere, and do not turn masking off.
pub(crate) fn redacts_by_default(volume: Option<&Volume>) -> bool {
    let inherited = std::env::var_os(DEFAULT_REDACT);
    match inherited.as_deref().and_then(OsStr::to_str) {
        Some("off") => false,
        Some("on") => true,
        _ => {
            let settings = volume.and_then(|volume| volume.settings().ok());
            let set = settings.and_then(|settings| settings.redact.default);
            set.unwrap_or(true)
        }
    }
}

/// Returns the redaction of a note: the patterns that `run --redact` passes to the job, and
/// secret variables.
pub(crate) fn note_redaction(volume: Option<&Volume>) -> Result<Redaction> {
    let specs = std::env::var_os(REDACT).unwrap_or_default();
    let specs: Vec<String> = specs.to_string_lossy().lines().map(str::to_owned).collect();
    let mut redaction = Redaction::new(&specs, &|name| std::env::var_os(name), secret_env(&[]))
        .map_err(|e| UsageError {
            message: format!("{REDACT}: {e}"),
            hint: "unset it, or set it to patterns of `run --redact`, one per line",
        })?;
    if !redacts_by_default(volume) {
        redaction.without_variables();
    }
    Ok(redaction)
}
