//! The front's work at a terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::termios::{isatty, tcgetpgrp};

use super::forward::SignalTarget;
use super::key_relay::KeyRelay;
use crate::job::capture::job_terminal::TerminalUsers;
use crate::job::capture::plan_streams::passthrough_terminal;
use crate::job::capture::stream::Passthrough;
use crate::job::process::supervision_page::{RunResult, SupervisionPage};
use crate::job::process::terminal_modes::TerminalModes;
use crate::job::process::{pty, signals};
use crate::log::StreamId;

/// The caller's terminal, as used by the front.
#[derive(Debug)]
pub(super) struct FrontTerminal {
    users: TerminalUsers,
    keys: KeyRelay,
    /// Whether there is a controlling terminal.
    has_terminal: bool,
    /// The modes of the terminal before the job, if the job was started in the foreground.
    original: Option<TerminalModes>,
}

impl FrontTerminal {
    /// Creates the terminal of this process, which is the one that the caller started.
    pub(super) fn new(target: SignalTarget) -> Self {
        let has_terminal = matches!(target, SignalTarget::Terminal(_));
        let users = TerminalUsers {
            front: std::process::id(),
            group: target.group(),
        };
        let keys = if has_terminal {
            KeyRelay::open()
        } else {
            KeyRelay::without_terminal()
        };
        let terminal = keys.terminal();
        let terminal = terminal.filter(|terminal| users.are_in_foreground(*terminal));
        let original = terminal.and_then(|terminal| TerminalModes::read(terminal).ok());
        Self {
            users,
            keys,
            has_terminal,
            original,
        }
    }

    /// Restores the modes of the controlling terminal, which the job has set directly, after the
    /// job was killed. A shell does that only if the process that it started was killed, but the
    /// front exits.
    pub(super) fn restore_after(&self, result: RunResult, page: &SupervisionPage) {
        let was_killed = matches!(result, RunResult::Signal(_)) || page.ended_by_timeout();
        if let Some(original) = self.original.filter(|_| was_killed)
            && let Some(terminal) = self.keys.terminal()
            && TerminalModes::read(terminal).is_ok_and(|modes| modes != original)
            && self.users.are_in_foreground(terminal)
            && self.users.have_group_to_themselves()
        {
            original.write(terminal).ok();
        }
    }

    /// Returns the descriptor to wait for, if the job prints to a pseudo-terminal.
    pub(super) fn awaited(&self, pipes: &[Option<OwnedFd>]) -> Option<BorrowedFd<'_>> {
        self.keys.awaited().filter(|_| has_masters(pipes))
    }

    /// Returns the maximum time to wait.
    pub(super) fn limit(&self, longest: Duration) -> Duration {
        self.keys.limit(longest)
    }

    /// Gives the pseudo-terminals the size of the terminal, and notifies the processes in the
    /// foreground, which may have read the size too early.
    pub(super) fn update_size(&self, pipes: &[Option<OwnedFd>]) {
        let Some(real) = real_terminal() else {
            return;
        };
        let mut changed = false;
        for master in masters(pipes) {
            changed |= pty::update_size(master, real);
        }
        if !changed {
            return;
        }
        let group = match tcgetpgrp(real) {
            Ok(group) => group.as_raw_nonzero().get(),
            // It is the pseudo-terminal of another runlog.
            Err(Errno::NOTTY) if self.has_terminal => self.users.group,
            Err(_) => return,
        };
        if group == self.users.group || self.users.has_group(group) {
            signals::kill(-group, libc::SIGWINCH);
        }
    }

    /// Records that a key can be read from the terminal.
    pub(super) fn record_key(&mut self, pipes: &[Option<OwnedFd>]) {
        if has_masters(pipes) {
            self.keys.record_key();
        }
    }

    /// Passes on keys that only a reader of a pseudo-terminal can want.
    pub(super) fn pass_keys(&mut self, pipes: &[Option<OwnedFd>]) {
        if has_masters(pipes) {
            self.keys.pass_unread(masters(pipes), self.users);
        }
    }
}

/// Returns the terminal that output is passed on to.
fn real_terminal() -> Option<BorrowedFd<'static>> {
    let mut streams = [StreamId::Stdout, StreamId::Stderr].into_iter();
    streams.find_map(|id| passthrough_terminal(id, Passthrough::Apart))
}

fn masters(pipes: &[Option<OwnedFd>]) -> impl Iterator<Item = &OwnedFd> {
    pipes.iter().flatten().filter(|pipe| isatty(pipe.as_fd()))
}

fn has_masters(pipes: &[Option<OwnedFd>]) -> bool {
    masters(pipes).next().is_some()
}
