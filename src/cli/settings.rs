//! The volume's settings, parsed like the flags of the command line.

use anyhow::Result;
use toml::Spanned;

use super::context::print_stderr;
use super::usage_error::UsageError;
use super::value_parsers::{parse_count, parse_size};
use crate::log::RotationPolicy;
use crate::volume::{RawSetting, Settings, SettingsFile, Volume};

/// Parses the value of a setting, if it is set.
///
/// # Errors
///
/// Returns an error that names the file and the line if `parse` rejects the value.
pub(crate) fn value<T>(
    file: &SettingsFile,
    key: &str,
    written: Option<&Spanned<RawSetting>>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, UsageError> {
    let parse = |written: &Spanned<RawSetting>| {
        parse(&written.get_ref().0).map_err(|reason| UsageError {
            message: format!("{}: {key}: {reason}", file.location(written)),
            hint: "fix the settings, or move the file away",
        })
    };
    written.map(parse).transpose()
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
    let rotation = set.and_then(|settings| rotation_policy(size, &settings));
    rotation.unwrap_or_else(|e| {
        print_stderr(format_args!("warning: {e:#}"));
        rotation_policy(size, &Settings::default()).unwrap_or(None)
    })
}

fn rotation_policy(size: Option<u64>, set: &Settings) -> Result<Option<RotationPolicy>> {
    let (file, set) = (&set.file, &set.rotate);
    let set_size = value(file, "rotate.max_size", set.max_size.as_ref(), parse_size)?;
    let keep = value(file, "rotate.keep", set.keep.as_ref(), parse_count)?;
    Ok(size.or(set_size).map(|max_size| RotationPolicy {
        max_size,
        keep,
        compress: set.compress.unwrap_or(true),
    }))
}
