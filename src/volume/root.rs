//! Finding and creating volumes.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::create_mode::CreateMode;
use super::error::IoContext;
use super::{Dir, EnsuredDir, RunId, VolumeError, layout};

/// A directory that contains `.omne/`.
#[derive(Debug)]
pub struct Volume {
    root: Dir,
    create_mode: OnceLock<CreateMode>,
}

impl Volume {
    /// Opens the directory that the user named as the volume.
    ///
    /// # Errors
    /// The path is not a directory, or has no `.omne/`.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        let dir = Dir::open(root)?;
        if dir.stat(layout::OMNE)?.is_none() {
            check_outside(root)?;
            Err(VolumeError::NotAVolume {
                root: root.to_owned(),
            })
        } else {
            dir.open_dir(layout::OMNE)?;
            Ok(Self::new(dir))
        }
    }

    /// Finds the nearest directory that contains `.omne`, from `start` upwards.
    ///
    /// # Errors
    /// No directory does ([`VolumeError::NotFound`]), or the `.omne` belongs to another user,
    /// whose settings and logs must not be used by accident.
    pub fn discover(start: &Path) -> Result<Self, VolumeError> {
        let start = start.canonicalize().at("resolve", start)?;
        for ancestor in start.ancestors() {
            let omne = ancestor.join(layout::OMNE);
            let Ok(meta) = omne.symlink_metadata() else {
                continue;
            };
            let me = rustix::process::geteuid().as_raw();
            if meta.uid() != me {
                return Err(VolumeError::OtherOwner {
                    path: omne,
                    owner: meta.uid(),
                });
            }
            if !meta.is_dir() {
                return Err(VolumeError::NotADirectory { path: omne });
            }
            return Self::open(ancestor);
        }
        Err(VolumeError::NotFound { start })
    }

    /// Makes the existing directory `root` a volume, unless it already is one.
    ///
    /// # Errors
    /// `root` is not a directory or is the inside of a volume, or `.omne` cannot be created in it.
    pub fn create(root: &Path) -> Result<Self, VolumeError> {
        let dir = Dir::open(root)?;
        if dir.stat(layout::OMNE)?.is_none() {
            check_outside(root)?;
        }
        dir.ensure_dir(layout::OMNE)?;
        Ok(Self::new(dir))
    }

    fn new(root: Dir) -> Self {
        Self {
            root,
            create_mode: OnceLock::new(),
        }
    }

    /// Returns the directory that contains `.omne/`.
    pub(crate) fn root(&self) -> &Dir {
        &self.root
    }

    /// Returns the path of the directory that contains `.omne/`.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Returns the path of a run's directory, for messages.
    pub fn run_path(&self, run: &RunId) -> PathBuf {
        self.path().join(layout::run_dir(run))
    }

    /// Opens the directory of all runs; `None` before the first run.
    ///
    /// # Errors
    /// The directory exists but cannot be opened.
    pub(crate) fn runs(&self) -> Result<Option<Dir>, VolumeError> {
        let opened = self.root.open_dir(layout::VAR).and_then(|var| {
            let runs = var.open_dir(layout::RUNS_NAME)?;
            Ok(creating_runs(runs, self.create_mode(&var)?))
        });
        match opened {
            Ok(dir) => Ok(Some(dir)),
            Err(e) if e.io_kind() == Some(std::io::ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Returns the permissions of new runs.
    ///
    /// If the settings cannot be read, runs are private to their owner. Another place reports
    /// the error.
    fn create_mode(&self, var: &Dir) -> Result<CreateMode, VolumeError> {
        let stat = rustix::fs::fstat(var).at("stat", var.path())?;
        let mode = self.create_mode.get_or_init(|| {
            CreateMode::of_runs(&stat, self.settings().ok().and_then(|s| s.volume.mode))
        });
        Ok(*mode)
    }

    /// Opens the directory of the locks of `run --lock`, and creates it if it does not exist.
    ///
    /// # Errors
    /// It cannot be created or opened.
    pub(crate) fn make_locks(&self) -> Result<Dir, VolumeError> {
        let [_, var, _] = self.make_runs()?;
        let mode = self.create_mode(&var)?;
        Ok(var.creating(mode).ensure_dir(layout::LOCKS)?.dir)
    }

    /// Opens the directories down to the runs (`.omne`, `.omne/var` and `.omne/var/runs`), and
    /// creates those that do not exist.
    ///
    /// # Errors
    /// One of them cannot be created or opened.
    pub(crate) fn make_runs(&self) -> Result<[Dir; 3], VolumeError> {
        let omne = self.root.ensure_dir(layout::OMNE)?.dir;
        let EnsuredDir { dir: var, created } = omne.ensure_dir(layout::VAR_NAME)?;
        let mode = self.create_mode(&var)?;
        let var = var.creating(CreateMode::of_var(mode));
        if created {
            // If this fails, git only shows the logs as untracked.
            drop(ignore_for_git(&var));
            // gc locks this file, and must work on a disk without a free inode.
            drop(var.append(layout::RETIRED));
        }
        let runs = var.ensure_dir(layout::RUNS_NAME)?.dir;
        let runs = creating_runs(runs, mode);
        Ok([omne, var, runs])
    }
}

/// Checks that a directory is neither the `.omne/` of a volume nor below its `var/`, which is easily
/// named by mistake.
fn check_outside(root: &Path) -> Result<(), VolumeError> {
    let resolved = root.canonicalize().at("resolve", root)?;
    let is_below_var = resolved.ancestors().any(|dir| dir.ends_with(layout::VAR));
    if is_below_var || resolved.ends_with(layout::OMNE) {
        return Err(VolumeError::InsideVolume {
            root: root.to_owned(),
        });
    }
    Ok(())
}

/// Returns the directory of the runs, ready for new ones: a run belongs to the user who starts it,
/// because it says what their commands printed.
fn creating_runs(runs: Dir, mode: CreateMode) -> Dir {
    runs.creating(mode).owned_by_creator()
}

/// Makes git ignore everything in `var`.
fn ignore_for_git(var: &Dir) -> Result<(), VolumeError> {
    let path = || var.path().join(layout::GIT_IGNORE);
    let mut file = var.create_new(layout::GIT_IGNORE)?;
    file.write_all(b"*\n").at("write", path())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Creates a run with a file in it, and returns the modes of both.
    fn new_run_modes(root: &Path) -> (u32, u32) {
        let volume = Volume::create(root).unwrap();
        let [_, _, runs] = volume.make_runs().unwrap();
        let dir = runs.ensure_dir("run").unwrap().dir;
        let jobs = dir.ensure_dir("jobs").unwrap().dir;
        jobs.append("file").unwrap();
        let mode = |name: &str| {
            let path = root.join(layout::RUNS).join("run").join(name);
            fs::metadata(path).unwrap().permissions().mode() & 0o7777
        };
        assert_eq!(mode(""), mode("jobs"));
        (mode(""), mode("jobs/file"))
    }

    #[test]
    fn volume_inside_volume_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        Volume::create(tmp.path()).unwrap().make_runs().unwrap();
        for inside in [".omne", ".omne/var/runs"] {
            let root = tmp.path().join(inside);
            for volume in [Volume::open(&root), Volume::create(&root)] {
                assert!(matches!(volume, Err(VolumeError::InsideVolume { .. })));
            }
            assert!(!root.join(".omne").exists());
        }
    }

    #[test]
    fn runs_are_private_by_default() {
        let tmp = tempfile::tempdir().unwrap();
        assert_eq!(new_run_modes(tmp.path()), (0o700, 0o600));
        let ignored = fs::read_to_string(tmp.path().join(".omne/var/.gitignore"));
        assert_eq!(ignored.unwrap(), "*\n");
    }

    #[test]
    fn runs_are_shared_where_var_is() {
        for mode in [0o2750, 0o770] {
            let tmp = tempfile::tempdir().unwrap();
            let var = tmp.path().join(layout::VAR);
            fs::create_dir_all(&var).unwrap();
            fs::set_permissions(&var, Permissions::from_mode(mode)).unwrap();
            assert_eq!(new_run_modes(tmp.path()), (0o2770, 0o660));
            assert!(!var.join(".gitignore").exists());
        }
    }

    #[test]
    fn only_group_of_runs_shares_their_directory() {
        for (mode, shared) in [("0700", 0), ("umask", 0), ("2770", 0o20)] {
            let tmp = tempfile::tempdir().unwrap();
            let var = tmp.path().join(layout::VAR);
            fs::create_dir_all(&var).unwrap();
            fs::set_permissions(&var, Permissions::from_mode(0o2755)).unwrap();
            let settings = tmp.path().join(layout::SETTINGS.0);
            fs::create_dir_all(&settings).unwrap();
            let text = format!("[volume]\nmode = \"{mode}\"\n");
            fs::write(settings.join(layout::SETTINGS.1), text).unwrap();
            Volume::create(tmp.path()).unwrap().make_runs().unwrap();
            let runs = fs::metadata(tmp.path().join(layout::RUNS)).unwrap();
            assert_eq!(runs.permissions().mode() & 0o20, shared, "{mode}");
        }
    }

    #[test]
    fn run_mode_follows_settings() {
        for (setting, modes) in [("0755", (0o755, 0o644)), ("2750", (0o2750, 0o640))] {
            let tmp = tempfile::tempdir().unwrap();
            let settings = tmp.path().join(layout::SETTINGS.0);
            fs::create_dir_all(&settings).unwrap();
            let text = format!("[volume]\nmode = \"{setting}\"\n");
            fs::write(settings.join(layout::SETTINGS.1), text).unwrap();
            assert_eq!(new_run_modes(tmp.path()), modes);
        }
    }
}
