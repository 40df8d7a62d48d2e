//! The connections between a supervisor, its job, the signals and the front.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, getpid, set_child_subreaper};

use super::attached::Attached;
use super::forward::{Forwarder, SignalTarget};
use super::front_link::{FrontLink, Message};
use crate::job::capture::job_terminal::{JobTerminal, TerminalUsers};
use crate::job::process::fork;
use crate::job::process::poll::{Readiness, wait_readable};
use crate::job::process::process_group::group_of;
use crate::job::process::signals;
use crate::job::process::signals::{END_SIGNALS, SignalFd, asks_to_end};
use crate::job::process::supervision_page::{Claim, SupervisionPage};
use crate::job::process::wait_status;
use crate::job::process::wait_status::Interruption;
use crate::telemetry;

/// The time between two checks of the signals of a stopped front.
const STOPPED_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The connections of one supervisor.
#[derive(Debug)]
pub(crate) struct JobControl {
    pub page: &'static SupervisionPage,
    pub forwarder: Forwarder,
    signals: SignalFd,
    front: Front,
    keep_if_killed: bool,
    /// Whether the front stopped with the job.
    front_is_stopped: bool,
    /// Whether the leader of the job's group is a child of this process.
    owns_leader: bool,
    /// The pseudo-terminals of the newest attempt.
    pub terminals: Vec<Arc<JobTerminal>>,
}

/// The process that receives the signals.
#[derive(Debug)]
enum Front {
    /// This process itself.
    Own,
    /// Another process, which is alive.
    Linked(Arc<FrontLink>, u32),
    /// Another process, which was killed.
    Killed,
}

impl JobControl {
    /// Returns whether the job has its own process group.
    pub(crate) fn has_own_group(&self) -> bool {
        matches!(self.forwarder.target, SignalTarget::Group(_))
    }

    /// Creates the control for a command that is its own front, and receives the signals itself.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn direct() -> io::Result<Self> {
        let page = SupervisionPage::map()?;
        let signals = SignalFd::block()?;
        // This process adopts orphans of the job, so that signals reach them too.
        set_child_subreaper(Some(getpid())).ok();
        Ok(Self {
            page,
            forwarder: Forwarder::new(page, SignalTarget::detect()?),
            signals,
            front: Front::Own,
            keep_if_killed: true,
            front_is_stopped: false,
            owns_leader: true,
            terminals: Vec::new(),
        })
    }

    /// Creates the control for a supervisor that a front has forked.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn attach(attached: Attached) -> io::Result<Self> {
        let mut forwarder = Forwarder::new(attached.page, attached.target);
        forwarder.root = attached.front;
        Ok(Self {
            page: attached.page,
            forwarder,
            signals: SignalFd::block_child_signal()?,
            front: Front::Linked(Arc::new(attached.link), attached.front),
            keep_if_killed: attached.options.keep_if_killed,
            front_is_stopped: false,
            owns_leader: false,
            terminals: Vec::new(),
        })
    }

    /// Ensures that a job can be started in its process group.
    ///
    /// If a front created the group, the leader was the front's child. When the front dies, init
    /// reaps the leader, and the group ends with its last process.
    ///
    /// # Errors
    /// The system allows no more processes.
    pub(crate) fn ensure_group(&mut self) -> io::Result<()> {
        let made_by_front = matches!(self.forwarder.target, SignalTarget::Group(_));
        if matches!(self.front, Front::Killed) && made_by_front && !self.owns_leader {
            self.forwarder.target = SignalTarget::Group(fork::new_group()?);
            self.owns_leader = true;
        }
        Ok(())
    }

    /// Returns the channel to the front.
    pub(crate) fn link(&self) -> Option<Arc<FrontLink>> {
        match &self.front {
            Front::Linked(link, _) => Some(Arc::clone(link)),
            Front::Own | Front::Killed => None,
        }
    }

    /// Returns the pid of the front.
    pub(crate) fn front_pid(&self) -> u32 {
        match &self.front {
            Front::Linked(_, pid) => *pid,
            Front::Own | Front::Killed => std::process::id(),
        }
    }

    /// Returns whether the job must end because the front was killed.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.front, Front::Killed) && !self.keep_if_killed
    }

    /// Waits until a signal or a message arrives or one of `others` is readable, and handles the
    /// signals and messages. Returns the readiness of the others.
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
        // A stopped front does not read its signals.
        let limit = match limit {
            _ if !self.front_is_stopped => limit,
            Some(limit) => Some(limit.min(STOPPED_POLL_INTERVAL)),
            None => Some(STOPPED_POLL_INTERVAL),
        };
        let mut ready = wait_readable(&fds, limit);
        self.handle_events();
        for terminal in &self.terminals {
            // The job may be in the foreground now, and nothing reports that.
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
                continue;
            }
            let live = self.page.live();
            let forwarded = live.is_some_and(|claim| self.forwarder.forward(claim, &arrived));
            if !forwarded && asks_to_end(arrived.signal) {
                self.forwarder.request_shutdown(&arrived);
            }
        }
        if self.front_is_stopped && self.front_is_asked_to_end() {
            self.continue_front();
        }
        if self.front_is_stopped && self.is_orphaned() {
            // The shell that stopped it has exited: do what the kernel does in this case.
            let group = self.forwarder.target.group();
            signals::kill(-group, libc::SIGHUP);
            signals::kill(-group, libc::SIGCONT);
            self.front_is_stopped = false;
        }
        if let Front::Linked(link, _) = &self.front {
            let has_exited = loop {
                match link.receive() {
                    Ok(Some(Message::Continued)) => self.put_terminals_back(),
                    Ok(Some(Message::Stopped)) => self.put_terminals_aside(),
                    Ok(Some(_)) => {}
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            if has_exited {
                self.lose_front();
            }
        }
    }

    /// Returns whether the front has a signal that it does not read while it is stopped.
    fn front_is_asked_to_end(&self) -> bool {
        let mut signals = END_SIGNALS.to_vec();
        signals.retain(|signal| asks_to_end(*signal));
        telemetry::has_pending(self.front_pid(), &signals)
    }

    fn lose_front(&mut self) {
        self.front = Front::Killed;
        for terminal in &self.terminals {
            terminal.leave();
        }
        // Descendants of the job no longer descend from it.
        self.forwarder.root = std::process::id();
        set_child_subreaper(Some(getpid())).ok();
        // No other process receives the signals any longer. Those that wait are read too.
        if let Ok(signals) = SignalFd::block() {
            self.signals = signals;
        }
    }

    fn handle_child(&mut self) {
        let live = self.page.live();
        match live.and_then(|claim| wait_status::interruption(claim.pid)) {
            Some(Interruption::Stopped(libc::SIGTSTP)) if self.is_orphaned() => {
                // No shell would continue it, so the kernel would not have stopped it.
                signals::kill(-self.forwarder.target.group(), libc::SIGCONT);
            }
            Some(Interruption::Stopped(libc::SIGTTIN | libc::SIGTTOU))
                if self.is_orphaned() && self.join_group() =>
            {
                // Its next attempt to use the terminal fails.
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
                Front::Killed => {}
            },
            // The process that continued the job may not know about the front, which stopped
            // with it.
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

    /// Joins the group of the job. Without a parent in another group, an orphaned group is one to
    /// the kernel too: in the background, its processes get an error from the terminal instead
    /// of a signal that stops them.
    fn join_group(&self) -> bool {
        let group = Pid::from_raw(self.forwarder.target.group());
        rustix::process::setpgid(None, group).is_ok()
    }

    /// Returns whether no shell would continue the job; see [`SignalTarget::is_orphaned`].
    fn is_orphaned(&self) -> bool {
        match &self.front {
            Front::Linked(_, front) => self.forwarder.target.is_orphaned(*front),
            Front::Own | Front::Killed => false,
        }
    }

    /// Returns the processes that may use a terminal.
    pub(crate) fn terminal_users(&self) -> TerminalUsers {
        let front = self.front_pid();
        TerminalUsers {
            front,
            group: group_of(front).map_or(0, |group| group as i32),
        }
    }

    /// Passes on the job's output after it stopped, and restores the terminal.
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

    /// Restores the terminal after the attempt has ended.
    pub(crate) fn restore_terminals(&mut self) {
        // Start with the last terminal that changed the modes, so that each finds the modes that
        // it left.
        for _ in 0..self.terminals.len() {
            for terminal in &self.terminals {
                terminal.leave();
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

    /// Returns the signal that asked runlog to end while no process of the job was running.
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
