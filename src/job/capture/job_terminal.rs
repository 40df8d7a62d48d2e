//! A pseudo-terminal that a job prints to, and its modes.
//!
//! The job's stdin and its controlling terminal are the real ones, and so is what processes
//! its output. So the modes that a program sets on the pseudo-terminal are copied to the real
//! one, while the job is in the foreground. What the real one had before is restored when the
//! job ends or stops, unless another process has changed it meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::termios::{isatty, tcgetpgrp};

use super::plan_streams::own_terminal;
use super::stream::Passthrough;
use crate::job::process::poll::{Readiness, wait_readable};
use crate::job::process::pty;
use crate::job::process::signals;
use crate::job::process::terminal_modes::{ModesRecord, TerminalModes};
use crate::log::StreamId;
use crate::sync::lock;
use crate::telemetry;

/// How long a job that has stopped waits for its output to be passed on.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);
/// How often that is looked at.
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The processes that may use the terminal as if runlog were not there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TerminalUsers {
    /// The process that the caller started; the job descends from it.
    pub front: u32,
    /// The process group of the front, which a shell puts in the foreground.
    pub group: i32,
}

/// One pseudo-terminal of an attempt.
#[derive(Debug)]
pub(crate) struct JobTerminal {
    ends: Mutex<Ends>,
    /// The terminal that the output is passed on to, if it is one.
    real: Option<BorrowedFd<'static>>,
    users: TerminalUsers,
    record: &'static ModesRecord,
    copy: Mutex<ModeCopy>,
}

#[derive(Debug)]
struct Ends {
    master: Option<OwnedFd>,
    /// Held so that the job may close and open its own again.
    slave: Option<OwnedFd>,
}

/// How far the modes were copied.
#[derive(Debug)]
struct ModeCopy {
    copying: Copying,
    /// The modes of the pseudo-terminal that were copied last.
    last: Option<TerminalModes>,
    /// The modes of the real terminal before the program that has changed them.
    resting: Option<TerminalModes>,
}

/// Whether modes are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copying {
    On,
    /// The job has stopped: the terminal is its shell's.
    Suspended,
    /// The terminal belongs to others now.
    Off,
}

impl JobTerminal {
    /// Makes the handle of the pseudo-terminal of a stream; `None` if runlog's end of the stream
    /// is that of a pipe.
    ///
    /// # Errors
    /// The system has no further descriptor.
    pub(crate) fn attach(
        end: &OwnedFd,
        id: StreamId,
        pass_on: Passthrough,
        users: TerminalUsers,
        record: &'static ModesRecord,
    ) -> io::Result<Option<Self>> {
        if !isatty(end) {
            return Ok(None);
        }
        let (master, slave) = (end.try_clone()?, pty::open_slave(end).ok());
        let last = match record.applied() {
            // A supervisor that died has copied them.
            Some(_) => TerminalModes::read(&master).ok(),
            None => record.base(),
        };
        Ok(Some(Self {
            ends: Mutex::new(Ends {
                master: Some(master),
                slave,
            }),
            real: own_terminal(id, pass_on),
            users,
            record,
            copy: Mutex::new(ModeCopy {
                copying: Copying::On,
                last,
                resting: None,
            }),
        }))
    }

    /// Records the modes that a new pseudo-terminal, and the real one, begin with.
    pub(crate) fn begin(&self) {
        let Some(base) = self.modes() else {
            return;
        };
        let real = self.real.filter(|real| self.is_in_foreground(*real));
        let original = real.and_then(|real| TerminalModes::read(real).ok());
        self.record.begin(&base, original.as_ref());
        lock(&self.copy).last = Some(base);
    }

    /// Closes the slave: whether another process still has it open shows then.
    pub(crate) fn close_slave(&self) {
        lock(&self.ends).slave = None;
    }

    /// Closes both ends: what the job prints has no reader any more.
    pub(crate) fn close(&self) {
        let mut ends = lock(&self.ends);
        (ends.master, ends.slave) = (None, None);
    }

    fn modes(&self) -> Option<TerminalModes> {
        let ends = lock(&self.ends);
        TerminalModes::read(ends.master.as_ref()?).ok()
    }

    /// Does what a status of the master asks for.
    pub(crate) fn handle_status(&self, status: u8) {
        if status & pty::INPUT_DISCARDED != 0
            && let Some(real) = self.real
            && self.is_in_foreground(real)
        {
            pty::discard_input(real);
        }
        if status & pty::MODES_CHANGED != 0 {
            self.copy_modes();
        }
    }

    /// Copies what has changed in the modes of the pseudo-terminal to the real one, if the job
    /// may set them.
    ///
    /// Programs also set the modes of the real one, which is their stdin, at about the same
    /// time. So only what has changed is copied, and nothing is set back that they have set.
    pub(crate) fn copy_modes(&self) {
        let mut copy = lock(&self.copy);
        let (Some(real), Some(base), Some(last)) = (self.real, self.record.base(), copy.last)
        else {
            return;
        };
        let Some(wanted) = self.wanted_modes() else {
            return;
        };
        if wanted == last || copy.copying != Copying::On || !self.is_in_foreground(real) {
            return;
        }
        let Ok(now) = TerminalModes::read(real) else {
            return;
        };
        copy.last = Some(wanted);
        let undisturbed = self.record.applied() == Some(now);
        if wanted == base {
            let resting = copy.resting.take().filter(|_| undisturbed);
            let target = resting.unwrap_or_else(|| now.with_changes(&last, &wanted));
            target.write(real).ok();
            self.record.clear();
        } else {
            copy.resting.get_or_insert(now);
            let target = now.with_changes(&last, &wanted);
            // First the record: the process that comes after this one can restore it.
            self.record.apply(&now, &target);
            target.write(real).ok();
        }
    }

    /// Returns the modes of the pseudo-terminal, which must not process anything itself.
    fn wanted_modes(&self) -> Option<TerminalModes> {
        let modes = self.modes()?;
        let wanted = modes.passed_through();
        if wanted != modes
            && let Some(master) = &lock(&self.ends).master
        {
            wanted.write(master).ok();
        }
        Some(wanted)
    }

    /// Gives the real terminal the modes back that it had, unless others have changed them.
    pub(crate) fn restore(&self) {
        self.restore_modes(&mut lock(&self.copy));
    }

    fn restore_modes(&self, copy: &mut ModeCopy) {
        if let (Some(real), Some(applied)) = (self.real, self.record.applied()) {
            if let Some(original) = self.record.original()
                && TerminalModes::read(real).is_ok_and(|now| now == applied)
            {
                original.write(real).ok();
            }
            self.record.clear();
        }
        copy.last = self.record.base();
        copy.resting = None;
    }

    /// The job has stopped: the terminal gets its own modes back until the job continues.
    pub(crate) fn put_aside(&self) {
        let mut copy = lock(&self.copy);
        if copy.copying == Copying::On {
            copy.copying = Copying::Suspended;
        }
        self.restore_modes(&mut copy);
    }

    /// The job continues.
    pub(crate) fn put_back(&self) {
        {
            let mut copy = lock(&self.copy);
            if copy.copying == Copying::Suspended {
                copy.copying = Copying::On;
            }
        }
        self.copy_modes();
    }

    /// Gives the real terminal up, as it was.
    pub(crate) fn leave(&self) {
        let mut copy = lock(&self.copy);
        copy.copying = Copying::Off;
        self.restore_modes(&mut copy);
    }

    /// Waits until nothing is left to be passed on, for a short time.
    pub(crate) fn flush(&self, in_hand: impl Fn() -> u64) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        loop {
            let master = lock(&self.ends).master.as_ref().map(OwnedFd::try_clone);
            let Some(Ok(master)) = master else {
                return;
            };
            let idle =
                wait_readable(&[master.as_fd()], Some(Duration::ZERO)) != [Readiness::Readable];
            if idle && in_hand() == 0 || Instant::now() >= deadline {
                return;
            }
            thread::sleep(FLUSH_POLL_INTERVAL);
        }
    }

    fn is_in_foreground(&self, real: BorrowedFd<'_>) -> bool {
        self.users.are_in_foreground(real)
    }
}

impl TerminalUsers {
    /// Returns whether the job may set the modes of a terminal, and read from it.
    pub(crate) fn are_in_foreground(self, terminal: BorrowedFd<'_>) -> bool {
        match tcgetpgrp(terminal) {
            Ok(group) => {
                let group = group.as_raw_nonzero().get();
                group == self.group || self.has_group(group)
            }
            // It controls no job of this session.
            Err(Errno::NOTTY) => true,
            Err(_) => false,
        }
    }

    /// Returns whether a shell in the job has made this group.
    pub(crate) fn has_group(self, group: i32) -> bool {
        let mut processes = telemetry::descendants(self.front).into_iter();
        processes.any(|pid| signals::group_of(pid) == Some(group))
    }
}
