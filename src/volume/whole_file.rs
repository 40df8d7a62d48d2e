//! A file that is there as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::layout;

/// A file on its way: it gets its name with [`WholeFile::finish`]. Until then, and if that
/// never comes, what has the name stays as it is.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// What it is called until then, and then; `None` for a device or a FIFO, where there
    /// is nothing to be replaced.
    names: Option<(PathBuf, PathBuf)>,
}

impl WholeFile {
    /// Begins a file that will be at `path`, or behind the link that is there. One that
    /// is there keeps its permissions.
    ///
    /// # Errors
    /// No file can be made in its folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path).ok();
        if let Some(there) = &there {
            let kind = there.file_type();
            if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() {
                let file = File::options().write(true).open(path)?;
                return Ok(Self { file, names: None });
            }
            if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
        }
        let path = match there {
            Some(_) => path.canonicalize()?,
            None => path.to_owned(),
        };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let (file, new) = new_file(folder)?;
        let names = Some((new, path));
        let file = Self { file, names };
        if let Some(there) = there {
            file.file.set_permissions(there.permissions())?;
        }
        Ok(file)
    }

    /// Gives it its name. It is synced before, so that not even a loss of power leaves
    /// half of it there.
    ///
    /// # Errors
    /// It cannot be synced or renamed; what had the name is as it was.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some((new, path)) = &self.names {
            self.file.sync_data()?;
            fs::rename(new, path)?;
            self.names = None;
        }
        Ok(())
    }
}

/// Makes a file of a name that nobody has: another process of our id may be at work in
/// another pid namespace, or have died.
fn new_file(folder: &Path) -> io::Result<(File, PathBuf)> {
    let mut n = 0;
    loop {
        let path = folder.join(layout::new_file(std::process::id(), n));
        match File::create_new(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
            made => return Ok((made?, path)),
        }
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some((new, _)) = &self.names {
            // Nobody looks for it under that name.
            drop(fs::remove_file(new));
        }
    }
}

impl Write for WholeFile {
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

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("out");
        let link = tmp.path().join("link");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        symlink("out", &link).unwrap();
        let mut file = WholeFile::create(&link).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut file = WholeFile::create(&link).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert!(link.is_symlink());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 2);
    }
}
