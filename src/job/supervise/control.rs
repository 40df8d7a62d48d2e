//! What connects a supervisor with its job, with the signals and with the front.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{getpid, set_child_subreaper};

use super::forward::{Forwarder, SignalTarget, asks_for_end};
use super::front::Attached;
use super::front_link::{FrontLink, Message};
use crate::job::capture::job_terminal::{JobTerminal, TerminalUsers};
use crate::job::process::fork;
use crate::job::process::poll::{Readiness, wait_readable};
use crate::job::process::signals;
use crate::job::process::signals::SignalFd;
use crate::job::process::supervision_page::{Claim, SupervisionPage};
use crate::job::process::wait_status;
use crate::job::process::wait_status::Interruption;

/// The wait between two looks at the signals of a front that has stopped.
const STOPPED_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The connections of one supervisor.
#[derive(Debug)]
pub(crate) struct JobControl {
    pub page: &'static SupervisionPage,
    pub forwarder: Forwarder,
    signals: SignalFd,
    front: Front,
    keep_if_killed: bool,
    /// The front stopped with the job.
    front_is_stopped: bool,
    /// The leader of the job's group is a child of this process.
    has_own_group: bool,
    /// The pseudo-terminals of the newest attempt.
    pub terminals: Vec<Arc<JobTerminal>>,
}

/// The process that gets the signals.
#[derive(Debug)]
enum Front {
    /// This process itself.
    Own,
    /// Another one, which lives.
    Linked(Arc<FrontLink>, u32),
    /// Another one, which was killed.
    Gone,
}

impl JobControl {
    /// Returns whether the job has a process group of its own.
    pub(crate) fn has_own_group(&self) -> bool {
        matches!(self.forwarder.target, SignalTarget::Group(_))
    }

    /// For a command of a process that is its own front: it gets the signals itself.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) fn direct() -> io::Result<Self> {
        let page = SupervisionPage::map()?;
        let signals = SignalFd::block()?;
        // Orphans of the job come to us, so that signals reach them too.
        set_child_subreaper(Some(getpid())).ok();
        Ok(Self {
            page,
            forwarder: Forwarder::new(page, SignalTarget::detect(false)?),
            signals,
            front: Front::Own,
            keep_if_killed: true,
            front_is_stopped: false,
            has_own_group: true,
            terminals: Vec::new(),
        })
    }

    /// For a supervisor that a front has forked.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) fn attach(attached: Attached) -> io::Result<Self> {
        let mut forwarder = Forwarder::new(attached.page, attached.target);
        forwarder.root = attached.front;
        Ok(Self {
            page: attached.page,
            forwarder,
            signals: SignalFd::block_child_signal()?,
            front: Front::Linked(Arc::new(attached.link), attached.front),
            keep_if_killed: attached.options.detached || attached.options.keep_if_killed,
            front_is_stopped: false,
            has_own_group: false,
            terminals: Vec::new(),
        })
    }

    /// Makes sure that a job can be started in its process group.
    ///
    /// The leader of a group that a front made was its child: once the front is gone, init
    /// reaps the leader, and the group ends with the last process in it.
    ///
    /// # Errors
    /// The system allows no further process.
    pub(crate) fn ensure_group(&mut self) -> io::Result<()> {
        let made_by_front = matches!(self.forwarder.target, SignalTarget::Group(_));
        if matches!(self.front, Front::Gone) && made_by_front && !self.has_own_group {
            self.forwarder.target = SignalTarget::Group(fork::new_group()?);
            self.has_own_group = true;
        }
        Ok(())
    }

    /// Returns the channel to the front.
    pub(crate) fn link(&self) -> Option<Arc<FrontLink>> {
        match &self.front {
            Front::Linked(link, _) => Some(Arc::clone(link)),
            Front::Own | Front::Gone => None,
        }
    }

    /// Returns the pid of the front.
    pub(crate) fn front_pid(&self) -> u32 {
        match &self.front {
            Front::Linked(_, pid) => *pid,
            Front::Own | Front::Gone => std::process::id(),
        }
    }

    /// Returns whether the job has to end because the front was killed.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.front, Front::Gone) && !self.keep_if_killed
    }

    /// Waits until a signal or a message comes or one of `others` can be read, and handles
    /// the signals and messages. Returns which of the others.
    pub(crate) fn wait(
        &mut self,
        others: &[BorrowedFd<'_>],
        limit: Option<Duration>,
    ) -> Vec<Readiness> {
        let link = self.link();
        let mut fds = vec![self.signals.fd().as_fd()];
        fds.extend(link.as_ref().map(|link| link.fd()));
        let own = fds.len();
        fds.extend_from_slice(others);
        // A front that has stopped does not read its signals.
        let limit = match limit {
            _ if !self.front_is_stopped => limit,
            Some(limit) => Some(limit.min(STOPPED_POLL_INTERVAL)),
            None => Some(STOPPED_POLL_INTERVAL),
        };
        let mut ready = wait_readable(&fds, limit);
        self.handle_events();
        for terminal in &self.terminals {
            // The job may be in the foreground now, which nobody tells.
            terminal.copy_modes();
        }
        ready.drain(..own);
        ready
    }

    /// Handles the signals and messages that have arrived.
    fn handle_events(&mut self) {
        while let Some(arrived) = self.signals.next() {
            if arrived.signal == libc::SIGCHLD {
                self.handle_child();
            } else if let Some(claim) = self.page.live() {
                self.forwarder.forward(claim, &arrived);
            } else if asks_for_end(arrived.signal) {
                self.page.request_shutdown(arrived.signal);
            }
        }
        if self.front_is_stopped && signals::has_pending_end(self.front_pid()) {
            self.continue_front();
        }
        if self.front_is_stopped && self.is_orphaned() {
            // The shell that has stopped it is gone: what the kernel does then.
            let group = self.forwarder.target.group();
            signals::kill(-group, libc::SIGHUP);
            signals::kill(-group, libc::SIGCONT);
            self.front_is_stopped = false;
        }
        if let Front::Linked(link, _) = &self.front {
            let gone = loop {
                match link.receive() {
                    Ok(Some(Message::Continued)) => self.put_terminals_back(),
                    Ok(Some(Message::Stopped)) => self.put_terminals_aside(),
                    Ok(Some(_)) => {}
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            if gone {
                self.lose_front();
            }
        }
    }

    fn lose_front(&mut self) {
        self.front = Front::Gone;
        for terminal in &self.terminals {
            terminal.leave();
        }
        // What descends from the job does not descend from it any more.
        self.forwarder.root = std::process::id();
        set_child_subreaper(Some(getpid())).ok();
    }

    fn handle_child(&mut self) {
        let live = self.page.live();
        match live.and_then(|claim| wait_status::interruption(claim.pid)) {
            Some(Interruption::Stopped(libc::SIGTSTP)) if self.is_orphaned() => {
                // No shell would continue it, so the kernel would not have stopped it.
                signals::kill(-self.forwarder.target.group(), libc::SIGCONT);
            }
            Some(Interruption::Stopped(signal)) => match &self.front {
                Front::Linked(link, _) => {
                    self.put_terminals_aside();
                    self.page.record_stop(signal);
                    link.wake();
                    self.front_is_stopped = true;
                }
                Front::Own => signals::stop_by(signal),
                Front::Gone => {}
            },
            // The process that continued the job may not know the front, which stopped with it.
            Some(Interruption::Continued) => self.continue_front(),
            None => {}
        }
        let claimed = self.page.claimed();
        let group = self.forwarder.target.group() as u32;
        wait_status::reap_others(|pid| {
            pid == group
                || self.page.hooks.contains(pid)
                || claimed.is_some_and(|claim| claim.pid == pid)
        });
    }

    /// Returns whether no shell would continue the job. See [`SignalTarget::is_orphaned`].
    fn is_orphaned(&self) -> bool {
        match &self.front {
            Front::Linked(_, front) => self.forwarder.target.is_orphaned(*front),
            Front::Own | Front::Gone => false,
        }
    }

    /// Returns who may use a terminal.
    pub(crate) fn terminal_users(&self) -> TerminalUsers {
        let front = self.front_pid();
        TerminalUsers {
            front,
            group: signals::group_of(front).unwrap_or_default(),
        }
    }

    /// The job has stopped: passes on what it has printed, and gives the terminal back.
    fn put_terminals_aside(&self) {
        for terminal in &self.terminals {
            terminal.flush(|| self.page.output.in_hand_bytes().iter().sum());
            terminal.put_aside();
        }
    }

    fn put_terminals_back(&self) {
        for terminal in &self.terminals {
            terminal.put_back();
        }
    }

    /// The attempt has ended: the terminal is as it was before.
    pub(crate) fn restore_terminals(&mut self) {
        // The last one that changed it first, so that each finds what it left.
        for _ in 0..self.terminals.len() {
            for terminal in &self.terminals {
                terminal.restore();
            }
        }
        self.terminals.clear();
    }

    /// Continues a front that stopped with the job.
    pub(crate) fn continue_front(&mut self) {
        self.front_is_stopped = false;
        self.put_terminals_back();
        if let Front::Linked(_, pid) = &self.front {
            signals::kill(*pid as i32, libc::SIGCONT);
        }
    }

    /// Returns the signal that asked runlog to end while no process of the job ran.
    pub(crate) fn shutdown_requested(&mut self) -> Option<i32> {
        self.handle_events();
        self.page.take_shutdown()
    }

    /// Records that the end of a step is in the log, and reaps its process.
    pub(crate) fn acknowledge(&self, claim: Claim) {
        self.page.acknowledge(claim.step);
        wait_status::reap(claim.pid);
        if let Front::Linked(link, _) = &self.front {
            link.wake();
        }
    }
}
