//! The process group and the session of a process. The kernel tells them even of a process that
//! `/proc` hides.

use super::syscall::check;

/// Returns the process group of a process, alive or a zombie.
pub(crate) fn group_of(pid: u32) -> Option<u32> {
    // SAFETY: no memory is involved.
    let group = check(unsafe { libc::getpgid(named(pid)?) }).ok()?;
    Some(group as u32)
}

/// Returns the session of a process, alive or a zombie.
pub(crate) fn session_of(pid: u32) -> Option<u32> {
    // SAFETY: no memory is involved.
    let session = check(unsafe { libc::getsid(named(pid)?) }).ok()?;
    Some(session as u32)
}

/// Returns the argument for a process: 0, which stands for a parent in another pid namespace,
/// would mean this process.
fn named(pid: u32) -> Option<i32> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_in_other_namespace_has_no_group() {
        assert!(group_of(std::process::id()).is_some());
        assert!(session_of(std::process::id()).is_some());
        assert_eq!((group_of(0), session_of(0)), (None, None));
    }
}
