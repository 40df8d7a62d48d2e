//! Copying the owner, group, mode and ACL of a file to its replacement.

use std::fs::File;
use std::io;

use rustix::fs::{Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

/// The extended attribute that holds the access ACL (`acl(5)`).
const ACCESS_ACL: &str = "system.posix_acl_access";
/// The maximum length of an extended attribute in bytes (`xattr(7)`).
const MAX_XATTR_BYTES: usize = 64 << 10;

/// Gives `to` the owner, group, mode and ACL of `from`.
///
/// Otherwise, processes that could write to the old file might not be able to write to its
/// replacement.
///
/// # Errors
/// This process lacks the permission.
pub(crate) fn copy_access(from: &File, to: &File) -> io::Result<()> {
    let (wanted, now) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
    let owner = (wanted.st_uid != now.st_uid).then(|| Uid::from_raw(wanted.st_uid));
    let group = (wanted.st_gid != now.st_gid).then(|| Gid::from_raw(wanted.st_gid));
    if owner.is_some() || group.is_some() {
        match rustix::fs::fchown(to, owner, group) {
            // Only root may give a file away, but members of the group replace each other's files.
            Err(Errno::PERM | Errno::INVAL) if owner.is_some() && is_shared(&wanted) => {
                rustix::fs::fchown(to, None, group)?;
            }
            changed => changed?,
        }
    }
    copy_acl(from, to)?;
    // This comes last, because chown(2) clears set-id bits, and an ACL changes the group bits.
    let mode = wanted.st_mode & 0o7777;
    if rustix::fs::fstat(to)?.st_mode & 0o7777 != mode {
        rustix::fs::fchmod(to, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Returns whether the group has all the access that the owner needs.
fn is_shared(stat: &Stat) -> bool {
    stat.st_mode & 0o060 == 0o060
}

fn copy_acl(from: &File, to: &File) -> io::Result<()> {
    let mut acl = vec![0; MAX_XATTR_BYTES];
    match rustix::fs::fgetxattr(from, ACCESS_ACL, acl.as_mut_slice()) {
        Ok(len) => {
            let acl = acl.get(..len).unwrap_or_default();
            Ok(rustix::fs::fsetxattr(
                to,
                ACCESS_ACL,
                acl,
                XattrFlags::empty(),
            )?)
        }
        Err(Errno::NODATA) => match rustix::fs::fremovexattr(to, ACCESS_ACL) {
            // Remove an ACL that the new file got from the directory's default ACL.
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
            Err(e) => Err(e.into()),
        },
        // The file system has no ACLs.
        Err(Errno::NOTSUP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
