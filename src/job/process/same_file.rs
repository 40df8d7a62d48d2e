//! Whether two descriptors write to the same place.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use super::pty;

/// `KCMP_FILE` of `kcmp(2)`: whether two descriptors refer to the same open file.
const KCMP_FILE: libc::c_long = 0;

/// Returns whether writes to the two descriptors end up in one place in their order: the
/// descriptors are the same open file, or the same terminal or pipe, or append to the same file.
pub(crate) fn is_same_output(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    if is_same_open_file(a, b) == Some(true) {
        return true;
    }
    if let (Ok(this), Ok(other)) = (pty::terminal_number(a), pty::terminal_number(b)) {
        return this == other;
    }
    let (Ok(this), Ok(other)) = (fstat(a), fstat(b)) else {
        return false;
    };
    if (this.st_dev, this.st_ino) != (other.st_dev, other.st_ino) {
        return false;
    }
    let appends = |fd| fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::APPEND));
    match FileType::from_raw_mode(this.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        FileType::CharacterDevice => false,
        // If the file was opened twice, each descriptor has its own offset and overwrites the
        // other.
        _ => is_same_open_file(a, b).is_none() || appends(a) && appends(b),
    }
}

/// Returns whether two descriptors are the same open file; `None` if the kernel does not report
/// it.
fn is_same_open_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Option<bool> {
    let pid = std::process::id();
    // SAFETY: no memory is involved.
    let order = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            pid,
            pid,
            KCMP_FILE,
            a.as_raw_fd(),
            b.as_raw_fd(),
        )
    };
    (order >= 0).then_some(order == 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::job::process::pty::Pty;

    #[test]
    fn only_one_place_for_both_is_same_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both");
        let file = File::create(&path).unwrap();
        let duplicate = file.try_clone().unwrap();
        let again = File::options().write(true).open(&path).unwrap();
        let append = || File::options().append(true).open(&path).unwrap();
        assert!(is_same_output(file.as_fd(), duplicate.as_fd()));
        assert!(!is_same_output(file.as_fd(), again.as_fd()));
        assert!(is_same_output(append().as_fd(), append().as_fd()));
        assert!(!is_same_output(append().as_fd(), file.as_fd()));
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert!(is_same_output(read.as_fd(), write.as_fd()));
        assert!(!is_same_output(write.as_fd(), file.as_fd()));
    }

    #[test]
    fn names_of_terminal_are_same_output() {
        let Pty { master, slave } = Pty::open(None, None).unwrap();
        // Like `/dev/tty`, the master is another file for the same terminal.
        assert!(is_same_output(master.as_fd(), slave.as_fd()));
        let again = pty::open_slave(&master).unwrap();
        assert!(is_same_output(slave.as_fd(), again.as_fd()));
        let other = Pty::open(None, None).unwrap();
        assert!(!is_same_output(slave.as_fd(), other.slave.as_fd()));
        let null = File::options().write(true).open("/dev/null").unwrap();
        assert!(!is_same_output(null.as_fd(), slave.as_fd()));
        let again = File::options().write(true).open("/dev/null").unwrap();
        assert!(!is_same_output(null.as_fd(), again.as_fd()));
    }
}
