//! The settings of a volume, `.omne/lib/cfg/runlog.toml`: the defaults of its runs. Command-line
//! flags override them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, Uid};
use rustix::io::Errno;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::create_mode::RunMode;
use super::error::IoContext;
use super::open_file::not_regular;
use super::{Volume, VolumeError, layout};

/// The maximum size of a settings file in bytes.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// The settings of a volume.
///
/// Sizes, durations and numbers stay text, because they are parsed like the values of
/// command-line flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[volume]`: the files of runs.
    pub volume: VolumeSettings,
    /// `[rotate]`: when a log starts a new segment, and what happens to old segments.
    pub rotate: RotateSettings,
    /// `[gc]`: which runs and events gc may remove.
    pub gc: GcSettings,
    /// `[run]` and `[telemetry]`: defaults for the flags of `runlog run`.
    pub run: Vec<RunDefault>,
    /// `[redact]`: which secrets are masked.
    pub redact: RedactSettings,
    /// The file.
    pub file: SettingsFile,
}

/// A settings file that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsFile {
    path: PathBuf,
    text: String,
}

impl SettingsFile {
    /// Returns the file and line of a value.
    pub(crate) fn location<T>(&self, value: &Spanned<T>) -> String {
        let line = line_at(&self.text, value.span().start);
        format!("{}:{line}", self.path.display())
    }
}

/// A settings file of a volume.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VolumeFile {
    volume: VolumeSettings,
    redact: RedactSettings,
    rotate: RotateSettings,
    gc: GcSettings,
    run: BTreeMap<String, Spanned<FlagValue>>,
    hooks: HookSettings,
    telemetry: TelemetrySettings,
}

/// A settings file of a user.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct UserFile {
    run: BTreeMap<String, Spanned<FlagValue>>,
    hooks: HookSettings,
    telemetry: TelemetrySettings,
}

/// The section `[telemetry]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TelemetrySettings {
    /// The dependencies of every job: the values of `--probe`.
    probes: BTreeMap<String, Spanned<String>>,
}

/// The section `[hooks]`, with flags of `runlog run` as its keys.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HookSettings {
    #[serde(rename = "on_success")]
    success: Option<Spanned<FlagValue>>,
    #[serde(rename = "on_failure")]
    failure: Option<Spanned<FlagValue>>,
    #[serde(rename = "on_end")]
    end: Option<Spanned<FlagValue>>,
}

impl HookSettings {
    fn into_flags(self) -> impl Iterator<Item = (String, Spanned<FlagValue>)> {
        let hooks = [
            ("on_success", self.success),
            ("on_failure", self.failure),
            ("on_end", self.end),
        ];
        hooks
            .into_iter()
            .filter_map(|(flag, command)| Some((flag.to_owned(), command?)))
    }
}

/// A default for a flag of `runlog run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDefault {
    /// The settings file.
    pub path: PathBuf,
    /// The line of the value, from 1.
    pub line: usize,
    /// The key with its section, as the file has it.
    pub key: String,
    /// The long name of the flag, with `-` or `_`.
    pub flag: String,
    /// The value.
    pub value: FlagValue,
}

/// The value of a flag in a settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawFlagValue")]
pub enum FlagValue {
    /// Whether a flag without a value is set.
    Switch(bool),
    /// The values of a flag, as text.
    Values(Vec<String>),
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "write true or false, a text such as \"1h\", a number, or a list of these"
)]
enum RawFlagValue {
    Switch(bool),
    One(RawSetting),
    Float(f64),
    Many(Vec<RawSetting>),
}

impl From<RawFlagValue> for FlagValue {
    fn from(value: RawFlagValue) -> Self {
        match value {
            RawFlagValue::Switch(on) => Self::Switch(on),
            RawFlagValue::One(RawSetting(text)) => Self::Values(vec![text]),
            RawFlagValue::Float(number) => Self::Values(vec![number.to_string()]),
            RawFlagValue::Many(values) => {
                Self::Values(values.into_iter().map(|RawSetting(text)| text).collect())
            }
        }
    }
}

/// The section `[rotate]`, with the flags of `runlog rotate` as its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RotateSettings {
    pub max_size: Option<Spanned<RawSetting>>,
    pub max_age: Option<Spanned<RawSetting>>,
    pub keep: Option<Spanned<RawSetting>>,
    pub compress: Option<bool>,
}

/// The section `[gc]`, with the flags of `runlog gc` as its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GcSettings {
    pub max_age: Option<Spanned<RawSetting>>,
    pub max_runs: Option<Spanned<RawSetting>>,
    pub max_size: Option<Spanned<RawSetting>>,
    pub keep_failed: Option<Spanned<RawSetting>>,
    pub orphans: Option<bool>,
    pub events_older_than: Option<Spanned<RawSetting>>,
    pub max_retired: Option<Spanned<RawSetting>>,
}

/// The section `[volume]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VolumeSettings {
    /// The permissions of the directories of new runs. Their files get the same ones without
    /// execution.
    pub mode: Option<RunMode>,
}

/// The section `[redact]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactSettings {
    /// Whether the values of variables such as `*_PASSWORD` are masked without `--redact`.
    pub default: Option<bool>,
}

/// A value as text, such as `"64MiB"` or `10`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "SettingValue")]
pub struct RawSetting(pub String);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "write a text such as \"64MiB\" or \"7d\", or a whole number"
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

impl Volume {
    /// Reads the settings of the volume; the defaults if there is no settings file.
    ///
    /// # Errors
    /// The file cannot be read or parsed. An unknown key is an error too, because it may be a
    /// typo.
    pub(crate) fn settings(&self) -> Result<Settings, VolumeError> {
        let (dir, name) = layout::SETTINGS;
        let Some(file) = self.root().read_in(dir, name)? else {
            return Ok(Settings::default());
        };
        let path = self.path().join(dir).join(name);
        let text = read_text(file, &path)?;
        let file: VolumeFile = parse(&text, &path)?;
        Ok(Settings {
            volume: file.volume,
            redact: file.redact,
            rotate: file.rotate,
            gc: file.gc,
            run: run_defaults(file.run, file.hooks, file.telemetry, &text, &path),
            file: SettingsFile { path, text },
        })
    }
}

/// Reads the defaults for `runlog run` from a user's settings file.
///
/// Returns none if there is no regular file, or if it belongs to another user: `HOME` may be
/// another user's directory (`sudo -E`), and the defaults include commands. A file of root's is
/// used, because root writes the settings of the whole system.
///
/// # Errors
/// The file cannot be read or parsed, or has an unknown key.
pub(crate) fn read_user_defaults(path: &Path) -> Result<Vec<RunDefault>, VolumeError> {
    // Opening a FIFO must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        // Some service accounts have `/dev/null` as their home directory.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::PERM) => return Ok(Vec::new()),
        file => File::from(file.at("open", path)?),
    };
    let stat = rustix::fs::fstat(&file).at("stat", path)?;
    let owner = Uid::from_raw(stat.st_uid);
    let is_trusted = owner.is_root() || owner == rustix::process::geteuid();
    if not_regular(&stat).is_some() || !is_trusted {
        return Ok(Vec::new());
    }
    let text = read_text(file, path)?;
    let file: UserFile = parse(&text, path)?;
    Ok(run_defaults(
        file.run,
        file.hooks,
        file.telemetry,
        &text,
        path,
    ))
}

fn read_text(file: impl Read, path: &Path) -> Result<String, VolumeError> {
    let mut bytes = Vec::new();
    let limit = MAX_SETTINGS_BYTES;
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    if read.at("read", path)? as u64 > limit {
        return Err(VolumeError::Settings {
            path: path.to_owned(),
            line: line_at(&String::from_utf8_lossy(&bytes), bytes.len()),
            message: format!("the file is longer than {limit} bytes"),
        });
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        VolumeError::Settings {
            path: path.to_owned(),
            line: line_at(&String::from_utf8_lossy(e.as_bytes()), valid),
            message: "the file is not UTF-8".to_owned(),
        }
    })
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, VolumeError> {
    toml::from_str(text).map_err(|source: toml::de::Error| VolumeError::Settings {
        path: path.to_owned(),
        line: line_at(text, source.span().map_or(0, |span| span.start)),
        message: source.message().to_owned(),
    })
}

fn run_defaults(
    flags: BTreeMap<String, Spanned<FlagValue>>,
    hooks: HookSettings,
    telemetry: TelemetrySettings,
    text: &str,
    path: &Path,
) -> Vec<RunDefault> {
    let line = |span: Range<usize>| line_at(text, span.start);
    let default = |section: &str, flag: String, value: Spanned<FlagValue>| RunDefault {
        path: path.to_owned(),
        line: line(value.span()),
        key: format!("{section}.{flag}"),
        flag,
        value: value.into_inner(),
    };
    let flags = flags.into_iter();
    let flags = flags.map(|(flag, value)| default("run", flag, value));
    let hooks = hooks.into_flags();
    let hooks = hooks.map(|(flag, command)| default("hooks", flag, command));
    let probes = telemetry.probes.into_iter().map(|(name, spec)| RunDefault {
        path: path.to_owned(),
        line: line(spec.span()),
        key: format!("telemetry.probes.{name}"),
        flag: "probe".to_owned(),
        value: FlagValue::Values(vec![format!("{name}={}", spec.get_ref())]),
    });
    // If a flag has two defaults, the later one counts.
    probes.chain(flags).chain(hooks).collect()
}

/// Returns the number of the line that contains this byte, from 1.
fn line_at(text: &str, byte: usize) -> usize {
    1 + text.get(..byte).unwrap_or_default().matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: impl AsRef<[u8]>) -> Result<Settings, VolumeError> {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::create(root.path()).unwrap();
        let dir = root.path().join(layout::SETTINGS.0);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(layout::SETTINGS.1), text).unwrap();
        volume.settings()
    }

    #[test]
    fn sizes_and_numbers_keep_their_text() {
        let read = settings("[rotate]\nmax_size = \"64MiB\"\nkeep = 3\n[gc]\nmax_age = \"30d\"");
        let read = read.unwrap();
        let text = |value: Option<Spanned<RawSetting>>| value.unwrap().into_inner().0;
        assert_eq!(text(read.rotate.max_size), "64MiB");
        assert_eq!(text(read.rotate.keep), "3");
        assert_eq!(text(read.gc.max_age), "30d");
        let empty = settings("").unwrap();
        assert_eq!(empty.rotate, RotateSettings::default());
        assert_eq!(empty.gc, GcSettings::default());
    }

    #[test]
    fn invalid_settings_are_reported_with_their_line() {
        let long = "#\n".repeat(1 << 19) + "#";
        for (invalid, line) in [
            (long.as_bytes(), 1 + (1 << 19)),
            (&b"[rotate]\nmaxsize = 1"[..], 2),
            (b"[gc]\n\nmax_runs = true", 3),
            (b"[rotate\n", 1),
            (b"x = 1", 1),
            (b"[volume]\nmode = \"0077\"", 2),
            (b"[volume]\nmode = \"rwx\"", 2),
            // UTF-16, and another encoding after a valid line.
            (b"\xff\xfe[\0r\0]\0", 1),
            (b"[rotate]\n# \xe9\n", 2),
        ] {
            let error = settings(invalid).unwrap_err().to_string();
            assert!(error.contains(&format!("runlog.toml:{line}: ")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn user_defaults_of_another_user_are_not_used() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("config.toml");
        std::fs::write(&path, "[hooks]\non_end = \"id\"").unwrap();
        assert_eq!(read_user_defaults(&path).unwrap().len(), 1);
        // Only root can give files away.
        if std::os::unix::fs::chown(&path, Some(12345), None).is_ok() {
            assert_eq!(read_user_defaults(&path).unwrap(), []);
        }
    }

    #[test]
    fn user_defaults_come_from_regular_file() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("config.toml");
        for path in [
            &path,
            Path::new("/dev/null"),
            Path::new("/dev/null/config.toml"),
        ] {
            assert_eq!(read_user_defaults(path).unwrap(), []);
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap();
        assert_eq!(read_user_defaults(&path).unwrap(), []);
    }

    #[test]
    fn missing_settings_file_means_defaults() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::create(root.path()).unwrap();
        assert_eq!(volume.settings().unwrap(), Settings::default());
    }
}
