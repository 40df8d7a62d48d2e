//! The choice of a job's streams.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, fstatfs, makedev};
use rustix::net::{SocketType, sockopt};
use rustix::termios::isatty;

use super::stream::Passthrough;
use crate::job::process::inherited;
use crate::job::process::same_file::is_same_output;
use crate::job::spec::stream_plan::{OutputDelivery, StreamLayout, StreamPlan, TerminalUse};
use crate::log::StreamId;

/// The file system of pipes without a name (`linux/magic.h`).
const PIPEFS_MAGIC: libc::__fsword_t = 0x5049_5045;

/// A stream of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedStream {
    pub id: StreamId,
    pub is_terminal: bool,
}

impl StreamPlan {
    /// Chooses the streams of a job.
    pub fn new(layout: StreamLayout, tty: TerminalUse, delivery: OutputDelivery) -> Self {
        let is_passed_on = delivery == OutputDelivery::AsItArrives;
        let is_one = || {
            !inherited::was_closed(1)
                && !inherited::was_closed(2)
                && is_same_output(rustix::stdio::stdout(), rustix::stdio::stderr())
        };
        Self {
            merged: match layout {
                StreamLayout::Auto => delivery != OutputDelivery::Dropped && is_one(),
                StreamLayout::Apart => false,
                StreamLayout::Merged => true,
            },
            terminals: match tty {
                TerminalUse::Auto => [1, 2].map(|fd| is_passed_on && is_terminal(fd)),
                TerminalUse::Always => [true; 2],
                TerminalUse::Never => [false; 2],
            },
            forced: layout == StreamLayout::Merged || tty == TerminalUse::Always,
        }
    }

    /// Returns the streams of an attempt, or of a rollback, which prints to stderr.
    pub(crate) fn streams(self, pass_on: Passthrough) -> Vec<PlannedStream> {
        let [mut first, second] = self.terminals;
        let mut merged = self.merged;
        if pass_on == Passthrough::ToStderr {
            first = second;
            merged |= second;
        }
        let stream = |id, is_terminal| PlannedStream { id, is_terminal };
        if merged {
            vec![stream(StreamId::Both, first)]
        } else {
            vec![
                stream(StreamId::Stdout, first),
                stream(StreamId::Stderr, second),
            ]
        }
    }
}

/// Returns runlog's stream that a stream of the job is passed on to.
pub(crate) fn passthrough_target(id: StreamId, pass_on: Passthrough) -> (i32, BorrowedFd<'static>) {
    match (id, pass_on) {
        (StreamId::Stdout | StreamId::Both, Passthrough::Apart | Passthrough::No) => {
            (1, rustix::stdio::stdout())
        }
        _ => (2, rustix::stdio::stderr()),
    }
}

/// Returns the terminal that a stream of the job is passed on to, if the target is a terminal.
pub(crate) fn passthrough_terminal(
    id: StreamId,
    pass_on: Passthrough,
) -> Option<BorrowedFd<'static>> {
    let (fd, stream) = passthrough_target(id, pass_on);
    is_terminal(fd).then_some(stream)
}

/// Returns runlog's stream that a stream of the job is passed on to, if poll(2) shows whether it
/// has a reader, and it cannot get another one: it is a pipe without a name, or a connection.
pub(crate) fn target_with_one_reader(
    id: StreamId,
    pass_on: Passthrough,
) -> Option<BorrowedFd<'static>> {
    let (fd, stream) = passthrough_target(id, pass_on);
    // A closed reader does not end a rollback.
    let ends_job = pass_on == Passthrough::Apart && !inherited::was_closed(fd);
    (ends_job && (is_writable_anonymous_pipe(stream) || is_connection(stream))).then_some(stream)
}

fn is_writable_anonymous_pipe(stream: BorrowedFd<'_>) -> bool {
    let is_anonymous = fstatfs(stream).is_ok_and(|stat| stat.f_type == PIPEFS_MAGIC);
    is_anonymous && fcntl_getfl(stream).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::WRONLY)
}

fn is_connection(stream: BorrowedFd<'_>) -> bool {
    sockopt::socket_type(stream).is_ok_and(|kind| kind == SocketType::STREAM)
}

/// Returns where to pass on one stream of the job: nowhere if that would be `/dev/null`, because
/// the kernel can then move all bytes to the file.
pub(crate) fn effective_passthrough(id: StreamId, pass_on: Passthrough) -> Passthrough {
    let (fd, stream) = passthrough_target(id, pass_on);
    if !inherited::was_closed(fd) && is_writable_null_device(stream) {
        Passthrough::No
    } else {
        pass_on
    }
}

fn is_writable_null_device(stream: BorrowedFd<'_>) -> bool {
    let is_null = fstat(stream).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == makedev(1, 3)
    });
    is_null && fcntl_getfl(stream).is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::RDONLY)
}

fn is_terminal(fd: i32) -> bool {
    let stream = match fd {
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    };
    !inherited::was_closed(fd) && isatty(stream)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn named_pipe_may_get_another_reader() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let fifo = File::options().read(true).write(true).open(path).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert!(is_writable_anonymous_pipe(write.as_fd()));
        assert!(!is_writable_anonymous_pipe(read.as_fd()));
        assert!(!is_writable_anonymous_pipe(fifo.as_fd()));
    }

    #[test]
    fn only_null_device_that_can_be_written_is_no_target() {
        let open = |path: &str| File::options().read(true).write(true).open(path).unwrap();
        assert!(is_writable_null_device(open("/dev/null").as_fd()));
        assert!(!is_writable_null_device(open("/dev/zero").as_fd()));
        assert!(!is_writable_null_device(
            File::open("/dev/null").unwrap().as_fd()
        ));
        assert!(!is_writable_null_device(
            tempfile::tempfile().unwrap().as_fd()
        ));
    }
}
