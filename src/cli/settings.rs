//! The settings of the volume, read as the flags of the command line are.

use anyhow::Result;

use super::context::print_stderr;
use super::exit::UsageError;
use super::value_parsers::parse_size;
use crate::log::RotationPolicy;
use crate::volume::{RawSetting, RotateSettings, Volume};

/// The value of a setting, if it is set.
///
/// # Errors
/// It is not what `parse` takes.
pub(crate) fn value<T>(
    key: &str,
    written: Option<&RawSetting>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, UsageError> {
    written
        .map(|RawSetting(text)| parse(text))
        .transpose()
        .map_err(|e| UsageError {
            message: format!("{key} in the settings of the volume: {e}"),
            hint: "mend .omne/lib/cfg/runlog.toml",
        })
}

/// A number of segments or runs.
///
/// # Errors
/// The text is no whole number.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a whole number, such as 10"))
}

/// Tells the writers inside a job of `run --rotate-size`.
pub(crate) const ROTATE_SIZE: &str = "RUNLOG_ROTATE_SIZE";

/// How the writers of this volume rotate: at `size`, or as the job around says, or the
/// settings. What cannot be read is warned of, and does not stop a writer.
pub(crate) fn rotation(volume: &Volume, size: Option<u64>) -> Option<RotationPolicy> {
    let around = || std::env::var(ROTATE_SIZE).ok()?.parse().ok();
    let size = size.or_else(around);
    let set = volume.settings().map_err(anyhow::Error::from);
    let rotation = set.and_then(|settings| of_writers(size, &settings.rotate));
    rotation.unwrap_or_else(|e| {
        print_stderr(format_args!("warning: {e:#}"));
        of_writers(size, &RotateSettings::default()).unwrap_or(None)
    })
}

fn of_writers(size: Option<u64>, set: &RotateSettings) -> Result<Option<RotationPolicy>> {
    let set_size = value("rotate.max_size", set.max_size.as_ref(), parse_size)?;
    let keep = value("rotate.keep", set.keep.as_ref(), parse_count)?;
    Ok(size.or(set_size).map(|max_size| RotationPolicy {
        max_size,
        keep,
        compress: set.compress.unwrap_or(true),
    }))
}
