//! The settings of a volume, `.omne/lib/cfg/runlog.toml`: what holds for its runs where
//! no flag says otherwise.

use std::io::Read;

use serde::Deserialize;

use super::error::IoContext;
use super::{Volume, VolumeError, layout};

/// Longest file of settings that is read, in bytes.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// The settings of a volume. Sizes, times and numbers are left as they were written:
/// they are read like those of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `[rotate]`: when a log begins a new segment, and what becomes of the old ones.
    pub rotate: RotateSettings,
    /// `[gc]`: which runs and events may go.
    pub gc: GcSettings,
}

/// `[rotate]`; the keys are the flags of `runlog rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are those of the flags")]
pub struct RotateSettings {
    pub max_size: Option<RawSetting>,
    pub max_age: Option<RawSetting>,
    pub keep: Option<RawSetting>,
    pub compress: Option<bool>,
}

/// `[gc]`; the keys are the flags of `runlog gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are those of the flags")]
pub struct GcSettings {
    pub max_age: Option<RawSetting>,
    pub max_runs: Option<RawSetting>,
    pub max_size: Option<RawSetting>,
    pub keep_failed: Option<RawSetting>,
    pub orphans: Option<bool>,
    pub events_older_than: Option<RawSetting>,
}

/// A value as its text: `"64MiB"`, `10`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "SettingValue")]
pub struct RawSetting(pub String);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a text such as \"64MiB\" or \"7d\", or a whole number"
)]
enum SettingValue {
    Number(u64),
    Text(String),
}

impl From<SettingValue> for RawSetting {
    fn from(value: SettingValue) -> Self {
        Self(match value {
            SettingValue::Number(n) => n.to_string(),
            SettingValue::Text(text) => text,
        })
    }
}

#[doc(hidden)]
impl Volume {
    /// The settings of the volume; those of nothing set where it has no file of them.
    ///
    /// # Errors
    /// The file cannot be read, or is not what settings look like; a key that is not
    /// known is an error too, since it may be a slip.
    pub fn settings(&self) -> Result<Settings, VolumeError> {
        let (folder, name) = layout::SETTINGS;
        let Some(file) = self.root().read_in(folder, name)? else {
            return Ok(Settings::default());
        };
        let path = self.path().join(folder).join(name);
        let mut text = String::new();
        file.take(MAX_SETTINGS_BYTES)
            .read_to_string(&mut text)
            .at("read", &path)?;
        toml::from_str(&text).map_err(|source: toml::de::Error| {
            let before = source.span().and_then(|span| text.get(..span.start));
            VolumeError::Settings {
                path,
                line: 1 + before.unwrap_or_default().matches('\n').count(),
                message: source.message().to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, VolumeError> {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::create(root.path()).unwrap();
        let folder = root.path().join(layout::SETTINGS.0);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(layout::SETTINGS.1), text).unwrap();
        volume.settings()
    }

    #[test]
    fn sizes_and_numbers_keep_their_text() {
        let read = settings("[rotate]\nmax_size = \"64MiB\"\nkeep = 3\n[gc]\nmax_age = \"30d\"");
        let read = read.unwrap();
        assert_eq!(read.rotate.max_size, Some(RawSetting("64MiB".to_owned())));
        assert_eq!(read.rotate.keep, Some(RawSetting("3".to_owned())));
        assert_eq!(read.gc.max_age, Some(RawSetting("30d".to_owned())));
        assert_eq!(settings("").unwrap(), Settings::default());
    }

    #[test]
    fn slips_are_told_with_their_line() {
        for (slip, line) in [
            ("[rotate]\nmaxsize = 1", 2),
            ("[gc]\n\nmax_runs = true", 3),
            ("[rotate\n", 1),
            ("x = 1", 1),
        ] {
            let error = settings(slip).unwrap_err().to_string();
            assert!(error.contains(&format!("runlog.toml:{line}: ")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_volume_without_a_file_has_nothing_set() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::create(root.path()).unwrap();
        assert_eq!(volume.settings().unwrap(), Settings::default());
    }
}
