//! Files that are replaced atomically.

use std::fs::{File, Metadata};
use std::io::Write;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use rustix::io::Errno;

use super::layout;

/// The maximum number of links to follow, as in the kernel (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A new file that gets its name in [`AtomicFile::finish`].
///
/// Until then, and if that never happens, an existing file of that name remains unchanged.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// The target; `None` for a device, a FIFO or an open descriptor, which runlog writes to
    /// directly because it cannot be replaced.
    target: Option<FileLocation>,
}

/// The location of a new file.
#[derive(Debug)]
struct FileLocation {
    path: PathBuf,
    /// The temporary path, or `None` if the file has no name yet. A file without a name is
    /// preferred where the file system supports it, because it leaves nothing behind if runlog
    /// is killed.
    temp: Option<PathBuf>,
}

impl AtomicFile {
    /// Creates a file that will replace `path`, or the target of a link there.
    ///
    /// The new file keeps the mode of an existing file, and its owner if this process may change
    /// owners.
    ///
    /// # Errors
    /// The file cannot be created in its directory, or `path` is a directory or a socket.
    pub fn create(path: &Path) -> io::Result<Self> {
        let Some(path) = resolve_links(path)? else {
            // Append, like `>>`, to keep the existing content.
            let file = File::options().append(true).open(path)?;
            return Ok(Self { file, target: None });
        };
        let existing = match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        if existing.as_ref().is_some_and(Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if existing.as_ref().is_some_and(|meta| !meta.is_file()) {
            let file = File::options().write(true).open(path)?;
            return Ok(Self { file, target: None });
        }
        let (file, temp) = create_temp(parent_dir(&path))?;
        let target = Some(FileLocation { path, temp });
        let new = Self { file, target };
        if let Some(existing) = existing {
            // Only root may change owners. Do this first, because it clears some mode bits.
            drop(fchown(
                &new.file,
                Some(existing.uid()),
                Some(existing.gid()),
            ));
            new.file.set_permissions(existing.permissions())?;
        }
        Ok(new)
    }

    /// Syncs the file and gives it its name, so that not even a power loss can leave a partial
    /// file.
    ///
    /// # Errors
    /// The file cannot be synced or renamed. An existing file remains unchanged.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(place) = &mut self.target {
            self.file.sync_data()?;
            let new = match place.temp.take() {
                Some(new) => new,
                None => link_temp(&self.file, parent_dir(&place.path))?,
            };
            let renamed = fs::rename(&new, &place.path);
            place.temp = renamed.is_err().then_some(new);
            renamed?;
        }
        Ok(())
    }
}

/// Follows the links at the end of a path, even to a target that does not exist yet.
///
/// Returns `None` for an open descriptor, such as `/dev/stdout`.
///
/// # Errors
/// The links form a loop.
pub fn resolve_links(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let dir = parent_dir(&path);
        let real = dir.canonicalize().unwrap_or_default();
        if real.starts_with("/proc") && real.ends_with("fd") {
            return Ok(None);
        }
        match fs::read_link(&path) {
            Ok(to) => path = dir.join(to),
            Err(_) => return Ok(Some(path)),
        }
    }
    Err(Errno::LOOP.into())
}

/// Returns the directory of a file as a path that can be opened.
pub fn parent_dir(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}

/// Creates a file without a name, or with a temporary name where that is not supported.
fn create_temp(dir: &Path) -> io::Result<(File, Option<PathBuf>)> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(dir, flags, Mode::from_raw_mode(0o666)) {
        return Ok((file.into(), None));
    }
    let (file, path) = with_unique_name(dir, |path| File::create_new(path))?;
    Ok((file, Some(path)))
}

/// Gives a temporary name to a file without a name (`open(2)`, `O_TMPFILE`).
fn link_temp(file: &File, dir: &Path) -> io::Result<PathBuf> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |path: &Path| Ok(linkat(CWD, &open, CWD, path, AtFlags::SYMLINK_FOLLOW)?);
    Ok(with_unique_name(dir, link)?.1)
}

/// Calls `create` with names until one is unused.
///
/// The pid alone is not unique: a process with the same pid may be active in another pid
/// namespace, or may have died and left a file.
fn with_unique_name<T>(
    dir: &Path,
    create: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    let mut n = 0;
    loop {
        let path = dir.join(layout::temp_file_name(std::process::id(), n));
        match create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
            done => return Ok((done?, path)),
        }
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(FileLocation {
            temp: Some(new), ..
        }) = &self.target
        {
            // Nothing refers to the temporary name.
            drop(fs::remove_file(new));
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn file_is_replaced_atomically() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("out");
        let link = tmp.path().join("link");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        symlink("out", &link).unwrap();
        let mut file = AtomicFile::create(&link).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut file = AtomicFile::create(&link).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert!(link.is_symlink());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 2);
    }

    #[test]
    fn dangling_link_is_kept() {
        let tmp = tempfile::tempdir().unwrap();
        let path = |name: &str| tmp.path().join(name);
        fs::create_dir(path("there")).unwrap();
        symlink("there/out", path("second")).unwrap();
        symlink("second", path("first")).unwrap();
        let mut file = AtomicFile::create(&path("first")).unwrap();
        file.write_all(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(path("there/out")).unwrap(), "whole");
        assert!(path("first").is_symlink() && path("second").is_symlink());
        symlink("round", path("round")).unwrap();
        assert!(AtomicFile::create(&path("round")).is_err());
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let tmp = tempfile::tempdir().unwrap();
        let socket = tmp.path().join("socket");
        let held = UnixListener::bind(&socket).unwrap();
        assert!(AtomicFile::create(&socket).is_err());
        assert!(AtomicFile::create(tmp.path()).is_err());
        drop(held);
        let open = File::create_new(tmp.path().join("open")).unwrap();
        (&open).write_all(b"before, ").unwrap();
        let path = format!("/dev/fd/{}", open.as_raw_fd());
        let mut file = AtomicFile::create(Path::new(&path)).unwrap();
        file.write_all(b"after").unwrap();
        file.finish().unwrap();
        let open = fs::read_to_string(tmp.path().join("open")).unwrap();
        assert_eq!(open, "before, after");
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 2);
    }
}
