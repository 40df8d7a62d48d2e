//! The front: the process that the caller started.
//!
//! It forks the supervisor, receives and forwards the signals, and ends like the job. It starts
//! no thread and does little, so that there is little that can kill it. If the supervisor dies,
//! the job becomes the front's child, and the front forks another supervisor, which continues
//! from the shared page and the log.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{getpid, set_child_subreaper};

use super::attached::{Attached, Custody, FrontOptions};
use super::forward::{Forwarder, SignalTarget};
use super::front_link::{FrontLink, Message};
use super::front_terminal::FrontTerminal;
use super::unsupervised;
use crate::job::capture::splice_pipe::SplicePipe;
use crate::job::capture::stream::Passthrough;
use crate::job::process::fork::ForkResult;
use crate::job::process::poll::{Readiness, wait_readable};
use crate::job::process::signals::{ReceivedSignal, SignalFd, asks_to_end};
use crate::job::process::supervision_page::{Claim, ROLLBACK_STEP, RunResult, SupervisionPage};
use crate::job::process::wait_status::{ChildState, Interruption, WaitStatus};
use crate::job::process::{fork, signals, wait_status};
use crate::telemetry;

/// How often the front checks everything that it watches, in case a signal is lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a signal that stops a process may take to reach it.
const STOP_TIME: Duration = Duration::from_secs(1);
/// The time between two checks for stopped processes within [`STOP_TIME`].
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The maximum number of replaced supervisors within [`REPLACEMENT_WINDOW`].
const MAX_REPLACEMENTS: usize = 3;
/// How long a replacement counts.
const REPLACEMENT_WINDOW: Duration = Duration::from_mins(1);

/// The process that returned from [`start`].
#[derive(Debug)]
pub enum ProcessRole {
    /// The front, when all work is done.
    Front(FrontEnd),
    /// A supervisor, which has to start the job or continue where another one died.
    Supervisor(Box<Attached>),
}

/// How the front must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// A supervisor has done all work.
    Done(RunResult),
    /// Too many supervisors died. The job ended with this result, and its end is not in the log.
    Abandoned(RunResult),
    /// Too many supervisors died before the job was started.
    NeverStarted,
}

/// The state of the front.
#[derive(Debug)]
struct Front {
    page: &'static SupervisionPage,
    options: FrontOptions,
    signals: SignalFd,
    forwarder: Forwarder,
    link: FrontLink,
    custody: Custody,
    /// Signals that arrived before there was a job to receive them.
    early: Vec<ReceivedSignal>,
    /// The last signal that asked runlog to end while no process of the job was running.
    shutdown: Option<ReceivedSignal>,
    terminal: FrontTerminal,
    /// When the terminal asked an orphaned group to stop.
    stop_refused: Option<Instant>,
    replaced: Vec<Instant>,
}

/// Forks a supervisor and watches it. Returns once in each supervisor, and in the front when all
/// work is done. No thread may have been started before.
///
/// # Errors
/// The system has no process, descriptor or memory. Nothing was started.
pub fn start(options: FrontOptions) -> io::Result<ProcessRole> {
    let page = SupervisionPage::map()?;
    // Signals wait from here on. Each is forwarded once, even an early one.
    let signals = SignalFd::block()?;
    set_child_subreaper(Some(getpid())).ok();
    let target = if options.detached {
        SignalTarget::new_group()?
    } else {
        SignalTarget::detect()?
    };
    let (link, other) = FrontLink::pair()?;
    let custody = Custody {
        relay: if options.capture {
            SplicePipe::new().ok()
        } else {
            None
        },
        ..Custody::default()
    };
    let mut front = Front {
        page,
        options,
        signals,
        forwarder: Forwarder::new(page, target),
        link,
        custody,
        early: Vec::new(),
        shutdown: None,
        terminal: FrontTerminal::new(target),
        stop_refused: None,
        replaced: Vec::new(),
    };
    match fork::fork()? {
        ForkResult::Child => Ok(ProcessRole::Supervisor(Box::new(front.attach(other, None)))),
        ForkResult::Parent(pid) => {
            drop(other);
            front.forwarder.supervisor = pid;
            Ok(front.watch())
        }
    }
}

impl Front {
    /// Returns the part of the front's state that the new supervisor keeps in its own process.
    fn attach(self, link: FrontLink, predecessor: Option<WaitStatus>) -> Attached {
        // A separate group, which neither Ctrl-C nor the kill of a group reaches.
        rustix::process::setpgid(None, None).ok();
        set_child_subreaper(None).ok();
        Attached {
            page: self.page,
            link,
            options: self.options,
            target: self.forwarder.target,
            front: self.forwarder.root,
            custody: self.custody,
            predecessor,
        }
    }

    fn watch(mut self) -> ProcessRole {
        loop {
            let mut fds = vec![self.link.fd(), self.signals.fd().as_fd()];
            fds.extend(self.terminal.awaited(&self.custody.pipes));
            let limit = self
                .stop_refused
                .map_or(POLL_INTERVAL, |_| STOP_POLL_INTERVAL);
            let ready = wait_readable(&fds, Some(self.terminal.limit(limit)));
            let has_keys = ready.get(2).is_some_and(|keys| *keys != Readiness::Idle);
            let linked = self.receive();
            while let Some(arrived) = self.signals.next() {
                self.handle(arrived);
            }
            self.forward_early();
            self.terminal.update_size(&self.custody.pipes);
            if has_keys {
                self.terminal.record_key(&self.custody.pipes);
            }
            self.terminal.pass_keys(&self.custody.pipes);
            self.watch_adopted();
            self.watch_adopted_hooks();
            self.continue_orphans();
            self.stop_with_job();
            let supervisor = self.forwarder.supervisor;
            let state = wait_status::peek(supervisor);
            if let Ok(ChildState::Ended(status, _)) = state {
                while self.receive() {}
                wait_status::reap(supervisor);
                if let Some(result) = self.page.result() {
                    self.reap_group_leader();
                    self.terminal.restore_after(result, self.page);
                    if result == RunResult::Unlogged {
                        self.reraise_early();
                    }
                    return ProcessRole::Front(FrontEnd::Done(result));
                }
                match self.replace(status) {
                    Ok(front) => self = front,
                    Err(role) => return role,
                }
            } else if !linked {
                // Its end of the channel is closed, so it will exit soon.
                wait_readable(&[self.signals.fd().as_fd()], Some(POLL_INTERVAL));
            }
            self.reap();
        }
    }

    /// Handles a message of the supervisor; false if the supervisor has closed the channel.
    fn receive(&mut self) -> bool {
        loop {
            match self.link.receive() {
                Ok(Some(Message::Wake | Message::Stopped | Message::Continued)) => {}
                Ok(Some(Message::Lease(lease))) => self.custody.lease = Some(lease),
                Ok(Some(Message::Pipes(pipes))) => {
                    let mut pipes = pipes.into_iter();
                    self.custody.pipes = [pipes.next(), pipes.next()];
                }
                Ok(Some(Message::HookOutput(pipe))) => self.custody.hook_output = Some(pipe),
                Ok(Some(Message::ReaderGone(stream))) => {
                    if let Some(pipe) = self.custody.pipes.get_mut(stream.pipe_index()) {
                        *pipe = None;
                    }
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn handle(&mut self, arrived: ReceivedSignal) {
        let ours = [self.forwarder.supervisor, self.forwarder.root];
        let own = ours.contains(&arrived.pid) && !arrived.from_kernel;
        if own && arrived.signal == libc::SIGTTOU {
            // The job prints in the background, and the terminal stops such processes.
            signals::stop_by(arrived.signal);
        }
        if arrived.signal == libc::SIGCHLD || own {
            return;
        }
        if matches!(arrived.signal, libc::SIGWINCH | libc::SIGCONT) {
            self.terminal.update_size(&self.custody.pipes);
        }
        if arrived.signal == libc::SIGCONT {
            // The whole group of the front was stopped, so it must not stop a second time.
            self.page.take_stop();
            self.link.send_job_control(&Message::Continued);
        }
        let stops = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        if stops.contains(&arrived.signal)
            && arrived.from_kernel
            && self.forwarder.target.is_orphaned(self.forwarder.root)
        {
            self.stop_refused = Some(Instant::now());
            return;
        }
        // In this order: a step may be claimed in between.
        let claimed = self.page.claimed();
        match self.page.live() {
            Some(claim) if self.forwarder.forward(claim, &arrived) => {}
            None if claimed.is_none() => self.early.push(arrived),
            _ => self.request_shutdown(arrived),
        }
    }

    /// Asks the supervisor to end. It may be too late to cancel an attempt; see
    /// [`Front::forward_early`].
    fn request_shutdown(&mut self, arrived: ReceivedSignal) {
        if asks_to_end(arrived.signal) {
            self.forwarder.request_shutdown(&arrived);
            self.shutdown = Some(arrived);
            self.link.wake();
        }
    }

    fn forward_early(&mut self) {
        let Some(claim) = self.page.live() else {
            return;
        };
        let mut early = std::mem::take(&mut self.early);
        // The supervisor has started an attempt without noticing the request. It was not for a
        // rollback, which starts after the job was asked to end.
        if claim.step != ROLLBACK_STEP && self.page.take_shutdown().is_some() {
            early.extend(self.shutdown.take());
        }
        for arrived in early {
            if !self.forwarder.forward_early(claim, &arrived) {
                self.request_shutdown(arrived);
            }
        }
    }

    /// Leaves signals that arrived early to the command that replaces this process.
    fn reraise_early(&self) {
        for arrived in &self.early {
            signals::kill(self.forwarder.root as i32, arrived.signal);
        }
    }

    /// Records the end of a process of the job that became the front's child.
    fn watch_adopted(&mut self) {
        // Its supervisor may have seen its end and died before the end was in the log.
        let page = self.page;
        let open =
            |claim: &Claim| !page.is_acknowledged(claim.step) && page.end(claim.step).is_none();
        let Some(claim) = page.claimed().filter(open) else {
            return;
        };
        if let Ok(ChildState::Ended(status, cost)) = wait_status::peek(claim.pid) {
            self.page.record_end(claim.step, status, &cost);
            self.page.record_exit(claim.step);
            self.link.wake();
        } else if let Some(Interruption::Stopped(signal)) = wait_status::interruption(claim.pid) {
            self.link.send_job_control(&Message::Stopped);
            self.page.record_stop(signal);
        }
    }

    /// Records the end of a hook that has become the front's child.
    fn watch_adopted_hooks(&self) {
        for (slot, pid) in self.page.hooks.live() {
            if let Ok(ChildState::Ended(status, _)) = wait_status::peek(pid) {
                self.page.hooks.record_adopted_end(slot, status);
                self.link.wake();
            }
        }
    }

    /// Continues processes that Ctrl-Z stopped in an orphaned group, because the kernel would
    /// not have stopped them without runlog. Any one of them may be the only stopped process,
    /// such as the child of a shell before its exec.
    fn continue_orphans(&mut self) {
        if let Some(refused) = self.stop_refused {
            self.forwarder.continue_stopped();
            self.stop_refused = Some(refused).filter(|at| at.elapsed() < STOP_TIME);
        }
    }

    /// Stops this process if the job is stopped. The shell may have continued both before the
    /// supervisor recorded the stop.
    fn stop_with_job(&self) {
        // If the job is hidden, the recorded stop is all that is known.
        let stopped = |claim: Claim| telemetry::is_stopped(claim.pid) != Some(false);
        if let Some(signal) = self.page.take_stop()
            && self.page.claimed().is_some_and(stopped)
        {
            signals::stop_by(signal);
        }
    }

    /// Reaps the leader of the job's group, after which no signal is sent to the group, because
    /// its id may be reused.
    fn reap_group_leader(&self) {
        if let SignalTarget::Group(group) = self.forwarder.target {
            wait_status::reap(group as u32);
        }
    }

    fn reap(&self) {
        let claimed = self.page.claimed();
        let keep = |pid: u32| {
            let job = claimed
                .is_some_and(|claim| claim.pid == pid && !self.page.is_acknowledged(claim.step));
            let group =
                matches!(self.forwarder.target, SignalTarget::Group(group) if group as u32 == pid);
            let hook = self.page.hooks.live().any(|(_, hook)| hook == pid);
            job || group || hook || pid == self.forwarder.supervisor
        };
        wait_status::reap_others(keep);
    }

    /// Forks another supervisor after one that died.
    ///
    /// # Errors
    /// This process has nothing more to watch: it is the new supervisor, or the last process
    /// that can wait for the job's end.
    fn replace(mut self, died: WaitStatus) -> Result<Self, ProcessRole> {
        let now = Instant::now();
        self.replaced
            .retain(|at| now.duration_since(*at) < REPLACEMENT_WINDOW);
        if self.replaced.len() >= MAX_REPLACEMENTS {
            return Err(self.run_unsupervised());
        }
        self.replaced.push(now);
        let Ok((link, other)) = FrontLink::pair() else {
            return Err(self.run_unsupervised());
        };
        self.link = link;
        match fork::fork() {
            Err(_) => Err(self.run_unsupervised()),
            Ok(ForkResult::Child) => Err(ProcessRole::Supervisor(Box::new(
                self.attach(other, Some(died)),
            ))),
            Ok(ForkResult::Parent(pid)) => {
                self.forwarder.supervisor = pid;
                Ok(self)
            }
        }
    }

    /// Passes on the job's output and waits for its end, without a supervisor.
    fn run_unsupervised(self) -> ProcessRole {
        // No process descends from the supervisor any longer.
        let forwarder = Forwarder {
            supervisor: 0,
            ..self.forwarder
        };
        let pass_on = if self.options.pass_on {
            Passthrough::Apart
        } else {
            Passthrough::No
        };
        let pipes = self.custody.pipes;
        let end = unsupervised::await_end(self.page, &self.signals, &forwarder, pipes, pass_on);
        if let Some(result) = end {
            self.terminal.restore_after(result, self.page);
        }
        ProcessRole::Front(end.map_or(FrontEnd::NeverStarted, FrontEnd::Abandoned))
    }
}
