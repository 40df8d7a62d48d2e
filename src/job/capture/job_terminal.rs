//! A pseudo-terminal that a job prints to, and its modes.
//!
//! The job's stdin and its controlling terminal are the real ones, and the real terminal
//! processes its output. The modes that a program sets on the pseudo-terminal are therefore
//! copied to the real one while the job is in the foreground. The original modes are restored
//! when the job ends or stops, unless another process has changed them in the meantime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::termios::{isatty, tcgetpgrp};

use super::plan_streams::passthrough_terminal;
use super::stream::Passthrough;
use crate::job::process::poll::{Readiness, wait_readable};
use crate::job::process::pty;
use crate::job::process::signals;
use crate::job::process::terminal_modes::{ModesRecord, TerminalModes};
use crate::log::StreamId;
use crate::sync::lock;
use crate::telemetry;
use crate::telemetry::LiveProcess;

/// How long a job that has stopped waits until its output is passed on.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);
/// How often to check whether the output is passed on.
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How long the front may take to stop after a signal.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How many times the signal actions of the job's processes are checked.
const ACTION_CHECKS: u32 = 5;
/// How often to check whether the front is stopped.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The processes that may use the terminal as without runlog.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TerminalUsers {
    /// The process that the caller started; the job descends from it.
    pub front: u32,
    /// The process group of the front, which a shell puts in the foreground.
    pub group: i32,
}

/// A pseudo-terminal of an attempt.
#[derive(Debug)]
pub(crate) struct JobTerminal {
    ends: Mutex<Ends>,
    /// The terminal that the output is passed on to, if the target is a terminal.
    real: Option<BorrowedFd<'static>>,
    users: TerminalUsers,
    record: &'static ModesRecord,
    copy: Mutex<ModeCopy>,
}

#[derive(Debug)]
struct Ends {
    master: Option<OwnedFd>,
    /// The slave, kept open so that the job may close and reopen its own descriptor.
    slave: Option<OwnedFd>,
}

/// The modes that were copied.
#[derive(Debug)]
struct ModeCopy {
    copying: Copying,
    /// The last modes of the pseudo-terminal that were copied.
    last: Option<TerminalModes>,
    /// The modes of the real terminal before the program changed them.
    resting: Option<TerminalModes>,
}

/// Whether to copy modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copying {
    On,
    /// No: the job has stopped, and the terminal belongs to its shell.
    Suspended,
    /// No: the job has ended, or the terminal now belongs to other processes.
    Off,
}

impl JobTerminal {
    /// Creates the handle of a stream's pseudo-terminal; `None` if runlog's end of the stream is
    /// a pipe.
    ///
    /// # Errors
    /// The system has no more descriptors.
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
            real: passthrough_terminal(id, pass_on),
            users,
            record,
            copy: Mutex::new(ModeCopy {
                copying: Copying::On,
                last,
                resting: None,
            }),
        }))
    }

    /// Records the initial modes of a new pseudo-terminal and of the real one.
    pub(crate) fn begin(&self) {
        let Some(base) = self.modes() else {
            return;
        };
        let real = self.real.filter(|real| self.is_in_foreground(*real));
        let original = real.and_then(|real| TerminalModes::read(real).ok());
        self.record.begin(&base, original.as_ref());
        lock(&self.copy).last = Some(base);
    }

    /// Closes the slave, so that it shows whether another process still has it open.
    pub(crate) fn close_slave(&self) {
        lock(&self.ends).slave = None;
    }

    /// Closes both ends. The job's output no longer has a reader.
    pub(crate) fn close(&self) {
        let mut ends = lock(&self.ends);
        (ends.master, ends.slave) = (None, None);
    }

    fn modes(&self) -> Option<TerminalModes> {
        let ends = lock(&self.ends);
        TerminalModes::read(ends.master.as_ref()?).ok()
    }

    /// Acts on a status of the master.
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

    /// Copies changes in the modes of the pseudo-terminal to the real one, if the job may set
    /// them.
    ///
    /// Programs also set the modes of the real terminal, which is their stdin, at about the same
    /// time. Only changes are copied, so that nothing that they set is reverted.
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
            // Record this first, so that the next process can restore it.
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

    /// Restores the original modes of the real terminal, unless other processes have changed
    /// them, and stops using it.
    pub(crate) fn leave(&self) {
        let mut copy = lock(&self.copy);
        copy.copying = Copying::Off;
        self.restore_modes(&mut copy);
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

    /// Restores the original modes of the terminal after the job stopped, until it continues.
    pub(crate) fn put_aside(&self) {
        let mut copy = lock(&self.copy);
        if copy.copying == Copying::On {
            copy.copying = Copying::Suspended;
        }
        self.restore_modes(&mut copy);
    }

    /// Applies the modes of the job again after it continued.
    pub(crate) fn put_back(&self) {
        {
            let mut copy = lock(&self.copy);
            if copy.copying == Copying::Suspended {
                copy.copying = Copying::On;
            }
        }
        self.copy_modes();
    }

    /// Waits for a short time until everything is passed on.
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

    /// Waits until the job may print, after `stty tostop`. In the background, the kernel stops the
    /// group of a process that prints, unless the process ignores or handles SIGTTOU.
    pub(crate) fn wait_until_printable(&self) {
        let Some(real) = self.real else {
            return;
        };
        while TerminalModes::read(real).is_ok_and(|modes| modes.stops_output())
            && !self.is_in_foreground(real)
            && self.users.stop_when_printing()
            && self.users.stop()
        {
            while telemetry::is_stopped(self.users.front) == Some(true) {
                thread::sleep(STOP_POLL_INTERVAL);
            }
        }
    }

    /// Waits until the job may do what a status of the master reports. In the background, the
    /// kernel stops the group of a process that sets modes or discards input, unless the process
    /// ignores or handles SIGTTOU.
    pub(crate) fn wait_until_settable(&self, status: u8) {
        let Some(real) = self.real else {
            return;
        };
        while self.is_change(status)
            && !self.is_in_foreground(real)
            && self.users.stop_when_setting_modes()
            && self.users.stop()
        {
            while telemetry::is_stopped(self.users.front) == Some(true) && self.is_change(status) {
                thread::sleep(STOP_POLL_INTERVAL);
            }
        }
    }

    /// Returns whether a status of the master requires a change of the real terminal.
    fn is_change(&self, status: u8) -> bool {
        let (copying, last) = {
            let copy = lock(&self.copy);
            (copy.copying, copy.last)
        };
        let has_new_modes = || {
            let modes = last.zip(self.wanted_modes());
            modes.is_some_and(|(last, wanted)| last != wanted)
        };
        copying != Copying::Off
            && (status & pty::INPUT_DISCARDED != 0
                || status & pty::MODES_CHANGED != 0 && has_new_modes())
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
            // The terminal does not control this session.
            Err(Errno::NOTTY) => true,
            Err(_) => false,
        }
    }

    /// Returns whether SIGTTOU stops a process of the group, or only the front is left of it: the
    /// output of a job that has ended waits too.
    fn stop_when_printing(self) -> bool {
        self.job_processes().next().is_none() || self.stop_when_setting_modes()
    }

    /// Returns whether SIGTTOU stops a process of the group.
    fn stop_when_setting_modes(self) -> bool {
        let is_stoppable =
            |process: LiveProcess| telemetry::has_default_action(process.pid, libc::SIGTTOU);
        // A shell blocks all signals for moments, for example while it starts a command.
        (0..ACTION_CHECKS).any(|check| {
            if check > 0 {
                thread::sleep(STOP_POLL_INTERVAL);
            }
            self.job_processes().any(is_stoppable)
        })
    }

    /// Returns the processes of the job in the group.
    fn job_processes(self) -> impl Iterator<Item = LiveProcess> {
        let found = telemetry::descendants(self.front).into_iter();
        found.filter(move |process| {
            process.group == self.group as u32 && telemetry::live_start_ticks(process.pid).is_some()
        })
    }

    /// Stops the group. Returns whether the front has stopped.
    fn stop(self) -> bool {
        signals::kill(-self.group, libc::SIGTTOU);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while telemetry::is_stopped(self.front) != Some(true) {
            if Instant::now() >= deadline {
                // No shell would continue it, so the kernel does not stop it.
                return false;
            }
            thread::sleep(STOP_POLL_INTERVAL);
        }
        true
    }

    /// Returns whether no other process is in the group, such as a shell that runs a script, or a
    /// pager that reads the job's output.
    pub(crate) fn have_group_to_themselves(self) -> bool {
        let job = telemetry::descendants(self.front);
        let is_user = |pid| pid == self.front || job.iter().any(|process| process.pid == pid);
        let others = telemetry::live_processes().unwrap_or_default();
        let mut in_group = others.iter().filter(|it| it.group == self.group as u32);
        in_group.all(|process| is_user(process.pid))
    }

    /// Returns whether a shell in the job created this group.
    pub(crate) fn has_group(self, group: i32) -> bool {
        let mut processes = telemetry::descendants(self.front).into_iter();
        processes.any(|process| process.group == group as u32)
    }
}
