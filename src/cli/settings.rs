//! The volume's settings, parsed like the flags of the command line.

use anyhow::Result;

use super::context::print_stderr;
use super::usage_error::UsageError;
use super::value_parsers::{parse_count, parse_size};
use crate::log::RotationPolicy;
use crate::volume::{RawSetting, RotateSettings, Volume};

/// Parses the value of a setting, if it is set.
///
/// # Errors
///
/// Returns an error if `parse` rejects the value.
pub(crate) fn value<T>(
    key: &str,
    written: Option<&RawSetting>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, UsageError> {
    written
        .map(|RawSetting(text)| parse(text))
        .transpose()
        .map_err(|e| UsageError {
            message: format!("{key} in the volume's settings: {e}"),
            hint: "fix .omne/lib/cfg/runlog.toml",
        })
}

/// The variable that passes `run --rotate-size` to the writers inside a job.
pub(crate) const ROTATE_SIZE: &str = "RUNLOG_ROTATE_SIZE";

/// Returns how writers of this volume rotate: at `size`, otherwise as the enclosing job asks,
/// otherwise as the settings say.
///
/// Settings that cannot be read cause a warning and do not stop a writer.
pub(crate) fn rotation(volume: &Volume, size: Option<u64>) -> Option<RotationPolicy> {
    let inherited = || std::env::var(ROTATE_SIZE).ok()?.parse().ok();
    let size = size.or_else(inherited);
    let set = volume.settings().map_err(anyhow::Error::from);
    let rotation = set.and_then(|settings| rotation_policy(size, &settings.rotate));
    rotation.unwrap_or_else(|e| {
        print_stderr(format_args!("warning: {e:#}"));
        rotation_policy(size, &RotateSettings::default()).unwrap_or(None)
    })
}

fn rotation_policy(size: Option<u64>, set: &RotateSettings) -> Result<Option<RotationPolicy>> {
    let set_size = value("rotate.max_size", set.max_size.as_ref(), parse_size)?;
    let keep = value("rotate.keep", set.keep.as_ref(), parse_count)?;
    Ok(size.or(set_size).map(|max_size| RotationPolicy {
        max_size,
        keep,
        compress: set.compress.unwrap_or(true),
    }))
}
