//! A file that is there as a whole or not at all.

use std::fs::{File, Metadata};
use std::io::Write;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use rustix::io::Errno;

use super::layout;

/// Most links that are followed, as many as by the kernel (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A file on its way: it gets its name with [`AtomicFile::finish`]. Until then, and if that
/// never comes, what has the name stays as it is.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// `None` for a device, a FIFO and what is open already: nothing is replaced there.
    target: Option<FileLocation>,
}

/// Where a file is to be.
#[derive(Debug)]
struct FileLocation {
    path: PathBuf,
    /// What it is called until then. Where the file system can do it, it has no name: then
    /// nothing is left of it even if we are killed.
    temp: Option<PathBuf>,
}

impl AtomicFile {
    /// Begins a file that will be at `path`, or behind the link that is there. One that
    /// is there keeps its permissions, and its owner where we may give files away.
    ///
    /// # Errors
    /// No file can be made in its folder, or `path` is a folder or a socket.
    pub fn create(path: &Path) -> io::Result<Self> {
        let Some(path) = resolve_links(path)? else {
            // What came there before stands, as with `>>`.
            let file = File::options().append(true).open(path)?;
            return Ok(Self { file, target: None });
        };
        let there = match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            there => Some(there?),
        };
        if there.as_ref().is_some_and(Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(path)?;
            return Ok(Self { file, target: None });
        }
        let (file, new) = create_temp(parent_dir(&path))?;
        let place = Some(FileLocation { path, temp: new });
        let whole = Self {
            file,
            target: place,
        };
        if let Some(there) = there {
            // Refused to all but root; and before the permissions, some of which it takes.
            drop(fchown(&whole.file, Some(there.uid()), Some(there.gid())));
            whole.file.set_permissions(there.permissions())?;
        }
        Ok(whole)
    }

    /// Gives it its name. It is synced before, so that not even a loss of power leaves
    /// half of it there.
    ///
    /// # Errors
    /// It cannot be synced or renamed; what had the name is as it was.
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

/// The path with the links at its end followed, also to what is not there yet; `None` for
/// what is open already, such as `/dev/stdout`.
///
/// # Errors
/// The links go round in a circle.
pub fn resolve_links(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let folder = parent_dir(&path);
        let real = folder.canonicalize().unwrap_or_default();
        if real.starts_with("/proc") && real.ends_with("fd") {
            return Ok(None);
        }
        match fs::read_link(&path) {
            Ok(to) => path = folder.join(to),
            Err(_) => return Ok(Some(path)),
        }
    }
    Err(Errno::LOOP.into())
}

/// The folder of a file, as it can be opened.
pub fn parent_dir(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Makes a file without a name, or one with a name where there are no such files.
fn create_temp(folder: &Path) -> io::Result<(File, Option<PathBuf>)> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)) {
        return Ok((file.into(), None));
    }
    let (file, path) = with_unique_name(folder, |path| File::create_new(path))?;
    Ok((file, Some(path)))
}

/// Gives a file without a name one (`open(2)`, `O_TMPFILE`).
fn link_temp(file: &File, folder: &Path) -> io::Result<PathBuf> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |path: &Path| Ok(linkat(CWD, &open, CWD, path, AtFlags::SYMLINK_FOLLOW)?);
    Ok(with_unique_name(folder, link)?.1)
}

/// Makes something of a name that nobody has: another process of our id may be at work in
/// another pid namespace, or have died.
fn with_unique_name<T>(
    folder: &Path,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    let mut n = 0;
    loop {
        let path = folder.join(layout::temp_file_name(std::process::id(), n));
        match make(&path) {
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
            // Nobody looks for it under that name.
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
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
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
    fn a_link_to_what_is_not_there_yet_stays_a_link() {
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
    fn nothing_but_files_is_replaced() {
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
