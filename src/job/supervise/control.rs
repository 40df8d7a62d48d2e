//! What connects a supervisor with its job, with the signals and with the front.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{getpid, set_child_subreaper};

use super::forward::{Forwarder, SignalTarget, asks_for_end};
use super::front::Attached;
use super::front_link::FrontLink;
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
        if let Front::Linked(link, _) = &self.front {
            let gone = loop {
                match link.receive() {
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
        // What descends from the job does not descend from it any more.
        self.forwarder.root = std::process::id();
        set_child_subreaper(Some(getpid())).ok();
    }

    fn handle_child(&mut self) {
        let live = self.page.live();
        match live.and_then(|claim| wait_status::interruption(claim.pid)) {
            Some(Interruption::Stopped(signal)) => match &self.front {
                Front::Linked(link, _) => {
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

    /// Continues a front that stopped with the job.
    pub(crate) fn continue_front(&mut self) {
        self.front_is_stopped = false;
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
