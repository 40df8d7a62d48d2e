//! The processes that a signal reaches.

use std::collections::HashSet;
use std::io;

use rustix::process::{getpgrp, getpid, getsid};

use crate::job::process::fork;
use crate::job::process::inherited::was_ignored;
use crate::job::process::job_tree::{daemons, nested_runs};
use crate::job::process::passed_signals::PassedSignal;
use crate::job::process::process_group::{group_of, session_of};
use crate::job::process::signals;
use crate::job::process::signals::{ReceivedSignal, asks_to_end};
use crate::job::process::supervision_page::{Claim, SupervisionPage};
use crate::telemetry;
use crate::telemetry::LiveProcess;
use crate::volume::wall_clock;

/// The signals that the kernel sends to a whole process group for its terminal. It sends others,
/// such as that of `alarm(2)`, to one process.
const TERMINAL_SIGNALS: [i32; 7] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// The process group that the job is started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalTarget {
    /// The caller's group, which a terminal signals.
    Terminal(i32),
    /// A separate group for the job, whose leader has exited.
    Group(i32),
}

impl SignalTarget {
    /// Chooses the group. A process is at a terminal if it can open a controlling terminal.
    ///
    /// # Errors
    /// The system allows no more processes.
    pub(crate) fn detect() -> io::Result<Self> {
        if std::fs::File::open("/dev/tty").is_ok() {
            Ok(Self::Terminal(getpgrp().as_raw_nonzero().get()))
        } else {
            Self::new_group()
        }
    }

    /// Creates a group for a job that keeps running without its caller.
    ///
    /// # Errors
    /// The system allows no more processes.
    pub(crate) fn new_group() -> io::Result<Self> {
        fork::new_group().map(Self::Group)
    }

    /// Returns the id of the group.
    pub(crate) fn group(self) -> i32 {
        match self {
            Self::Terminal(group) | Self::Group(group) => group,
        }
    }

    /// Returns whether the group of a job at a terminal would be orphaned without runlog: no
    /// process in its session but outside of the group would continue it, so Ctrl-Z does not
    /// stop it. To the kernel, the group is not orphaned, because the supervisor, which is in
    /// another group, is the parent of the job.
    pub(super) fn is_orphaned(self, front: u32) -> bool {
        let Self::Terminal(group) = self else {
            return false;
        };
        telemetry::parent(front).is_some_and(|parent| {
            session_of(parent) != session_of(front) || group_of(parent) == Some(group as u32)
        })
    }
}

/// A sender of signals to the job, which records them.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub page: &'static SupervisionPage,
    pub target: SignalTarget,
    /// The ancestor of all processes of the job.
    pub root: u32,
    /// The supervisor, which is not part of the job.
    pub supervisor: u32,
}

impl Forwarder {
    pub(crate) fn new(page: &'static SupervisionPage, target: SignalTarget) -> Self {
        Self {
            page,
            target,
            root: std::process::id(),
            supervisor: std::process::id(),
        }
    }

    /// Passes on a signal that arrived before the process of `claim` existed, so that not even
    /// the terminal has sent it to the process. Returns like [`Forwarder::forward`].
    pub(crate) fn forward_early(&self, claim: Claim, arrived: &ReceivedSignal) -> bool {
        let is_live = self.record(claim, arrived);
        if is_live {
            self.deliver(claim, arrived.signal);
        }
        is_live
    }

    /// Passes on a signal that runlog received to the process of `claim`, and records it. Returns
    /// false if the process has ended, because its end may be in the log without the signal.
    pub(crate) fn forward(&self, claim: Claim, arrived: &ReceivedSignal) -> bool {
        let signal = arrived.signal;
        // Record it first, because the job may end at once.
        if !self.record(claim, arrived) {
            return false;
        }
        let terminal = matches!(self.target, SignalTarget::Terminal(_));
        match signal {
            libc::SIGHUP if arrived.from_kernel && is_session_leader() => {
                // The terminal has signaled no other process, because the job depends on the
                // leader.
                if asks_to_end(signal) {
                    self.end_all(signal);
                } else {
                    self.deliver(claim, signal);
                }
            }
            // The processes in the foreground have received it.
            libc::SIGWINCH if arrived.from_kernel => {}
            _ if arrived.from_kernel && terminal && TERMINAL_SIGNALS.contains(&signal) => {
                if !was_ignored(signal) {
                    self.send_to_departed(signal);
                }
            }
            _ => self.deliver(claim, signal),
        }
        true
    }

    fn deliver(&self, claim: Claim, signal: i32) {
        match signal {
            libc::SIGINT | libc::SIGTERM | libc::SIGQUIT => self.send_to_job(claim, signal),
            _ => signals::kill(claim.pid as i32, signal),
        }
    }

    /// Records a signal. Returns whether the process is still alive then, so that its supervisor
    /// finds the record.
    fn record(&self, claim: Claim, arrived: &ReceivedSignal) -> bool {
        let signal = arrived.signal;
        if signal != libc::SIGQUIT && asks_to_end(signal) {
            self.page.request_end(claim.step);
        }
        if !matches!(
            signal,
            libc::SIGCONT | libc::SIGWINCH | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU
        ) {
            self.page.signals.record(claim.step, passed(arrived));
        }
        self.page.live() == Some(claim)
    }

    /// Records a signal that asks runlog to end while no process of the job is running, together
    /// with those of the last step.
    pub(crate) fn request_shutdown(&self, arrived: &ReceivedSignal) {
        if let Some(claim) = self.page.claimed() {
            let passed = passed(arrived);
            let recorded = self.page.signals.list(claim.step);
            // The process may have ended just after the signal was recorded as passed on to it.
            let is_recorded = recorded
                .last()
                .is_some_and(|last| (last.signal, last.pid) == (passed.signal, passed.pid));
            if !is_recorded {
                self.page.signals.record(claim.step, passed);
            }
        }
        self.page.request_shutdown(arrived.signal);
    }

    /// Sends a signal to the job's group, or at a terminal to the job and its descendants.
    fn send_to_job(&self, claim: Claim, signal: i32) {
        let send = |signal| match self.target {
            SignalTarget::Group(group) => {
                signals::kill(-group, signal);
                // It may have left the group for its own session.
                if group_of(claim.pid).is_some_and(|of| of != group as u32) {
                    signals::kill(claim.pid as i32, signal);
                }
            }
            SignalTarget::Terminal(_) => {
                for process in self.descendants() {
                    signals::kill(process.pid as i32, signal);
                }
            }
        };
        send(signal);
        // A stopped job would not receive it. A running one must not get an additional signal.
        if signal == libc::SIGTERM
            && asks_to_end(signal)
            && telemetry::is_stopped(claim.pid) != Some(false)
        {
            send(libc::SIGCONT);
        }
    }

    /// Asks the job's group and all of its descendants to end, and returns those that left the
    /// group.
    pub(crate) fn end_all(&self, signal: i32) -> Vec<LiveProcess> {
        let asked = self.send_to_all(signal, &[]);
        // A stopped process would not receive it.
        self.send_to_all(libc::SIGCONT, &asked);
        asked
    }

    /// Kills the job's group and all of its descendants, and what was `asked` to end, even if the
    /// signal has ended its parent, so that it looks like a daemon.
    ///
    /// A nested run gets SIGKILL only for its front: its supervisor then ends its job and rolls it
    /// back.
    pub(crate) fn kill_all(&self, asked: &[LiveProcess]) {
        self.send_to_all(libc::SIGKILL, asked);
    }

    /// Sends a signal to the job's group, to all of its descendants, and to `others` that are
    /// alive. Returns those outside of the group.
    fn send_to_all(&self, signal: i32, others: &[LiveProcess]) -> Vec<LiveProcess> {
        // A process that has left the group may lose its parent with the group.
        let mut processes = self.descendants();
        for other in others {
            let is_other = |process: &LiveProcess| process.pid == other.pid;
            if !processes.iter().any(is_other)
                && let Some(process) = telemetry::live_process(other.pid)
                && process.start_ticks == other.start_ticks
            {
                processes.push(process);
            }
        }
        let spared = if signal == libc::SIGKILL {
            let processes: Vec<&LiveProcess> = processes.iter().collect();
            nested_runs(&processes, &[self.root, self.supervisor], self.supervisor)
        } else {
            HashSet::new()
        };
        let in_group = match self.target {
            SignalTarget::Group(group) => {
                signals::kill(-group, signal);
                Some(group as u32)
            }
            SignalTarget::Terminal(_) => None,
        };
        processes
            .retain(|process| in_group != Some(process.group) && !spared.contains(&process.pid));
        for process in &processes {
            signals::kill(process.pid as i32, signal);
        }
        processes
    }

    /// Continues the stopped processes of the job's group.
    pub(super) fn continue_stopped(&self) {
        let group = self.target.group() as u32;
        for process in self.descendants() {
            if process.group == group && telemetry::is_stopped(process.pid) != Some(false) {
                signals::kill(process.pid as i32, libc::SIGCONT);
            }
        }
    }

    /// Sends a signal that the terminal sent to its foreground group to the descendants that
    /// have left that group.
    fn send_to_departed(&self, signal: i32) {
        let group = self.target.group() as u32;
        for process in self.descendants() {
            if process.group != group {
                signals::kill(process.pid as i32, signal);
            }
        }
    }

    /// Returns whether the process of `claim`, which has ended, left behind a process in its
    /// session. A daemon has left the session.
    pub(super) fn has_left_behind(&self, claim: Claim) -> bool {
        let of_job = session_of(claim.pid);
        let mut left_behind = self.descendants().into_iter();
        left_behind.any(|process| process.pid != claim.pid && Some(process.session) == of_job)
    }

    /// Lists the processes of the job: all descendants except daemons and runlog's own processes.
    fn descendants(&self) -> Vec<LiveProcess> {
        let mut found = telemetry::descendants(self.root);
        let live = self.page.live();
        // If its supervisor and its front have died, it does not descend from this process.
        if let Some(claim) = live
            && found.iter().all(|process| process.pid != claim.pid)
        {
            found.push(telemetry::live_process(claim.pid).unwrap_or_else(|| hidden(claim.pid)));
            found.extend(telemetry::descendants(claim.pid));
        }
        // The job may have started its own session, which others may be in after its end.
        let first = self.page.claimed().map_or(0, |claim| claim.pid);
        let sessions = [std::process::id(), first].map(session_of);
        let has_left = |process: &LiveProcess| {
            process.pid != first && !sessions.contains(&Some(process.session))
        };
        let daemons = daemons(&found.iter().collect::<Vec<_>>(), &[self.root], has_left);
        found.retain(|process| {
            let pid = process.pid;
            pid != self.supervisor && !self.page.is_reader(process) && !daemons.contains(&pid)
        });
        found
    }
}

/// Describes the first process of a step that `/proc` does not show. Its pid is not reused until
/// it is reaped.
fn hidden(pid: u32) -> LiveProcess {
    LiveProcess {
        pid,
        parent: 0,
        group: group_of(pid).unwrap_or(0),
        session: session_of(pid).unwrap_or(0),
        start_ticks: 0,
        name: String::new(),
    }
}

/// Returns the record of a signal that arrives now.
fn passed(arrived: &ReceivedSignal) -> PassedSignal {
    PassedSignal {
        signal: arrived.signal,
        from_kernel: arrived.from_kernel,
        pid: arrived.pid,
        uid: arrived.uid,
        at_micros: wall_clock().as_microsecond(),
    }
}

/// Returns whether this process leads its session.
fn is_session_leader() -> bool {
    getsid(None).is_ok_and(|session| session == getpid())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Returns whether a shell has left behind the process that this command line starts.
    fn leaves_behind(shell: &str, line: &str) -> bool {
        let mut command = Command::new("sh");
        let line = format!("{line} & wait");
        command.args(["-c", &format!("exec {shell} -c \"$0\""), &line]);
        let mut shell = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0];
        let mut stdout = shell.stdout.take().unwrap();
        stdout.read_exact(&mut ready).unwrap();
        let page = SupervisionPage::map().unwrap();
        let forwarder = Forwarder {
            page,
            target: SignalTarget::Group(0),
            root: shell.id(),
            supervisor: 0,
        };
        let (step, pid) = (1, shell.id());
        assert!(page.claim(step, pid));
        page.record_exit(step);
        let found = forwarder.has_left_behind(Claim { step, pid });
        for process in telemetry::descendants(shell.id()) {
            signals::kill(process.pid as i32, libc::SIGKILL);
        }
        shell.wait().unwrap();
        found
    }

    #[test]
    fn late_signal_is_recorded_once() {
        let page = SupervisionPage::map().unwrap();
        let forwarder = Forwarder::new(page, SignalTarget::new_group().unwrap());
        let ended = Claim { step: 1, pid: 0 };
        assert!(page.claim(ended.step, ended.pid));
        page.record_exit(ended.step);
        let arrived = ReceivedSignal {
            signal: libc::SIGTERM,
            from_kernel: false,
            pid: 7,
            uid: 0,
        };
        assert!(!forwarder.forward(ended, &arrived));
        forwarder.request_shutdown(&arrived);
        assert_eq!(page.signals.list(ended.step).len(), 1);
        forwarder.request_shutdown(&ReceivedSignal { pid: 8, ..arrived });
        assert_eq!(page.signals.list(ended.step).len(), 2);
        assert_eq!(page.take_shutdown(), Some(libc::SIGTERM));
    }

    #[test]
    fn late_signal_does_not_reach_next_attempt() {
        let page = SupervisionPage::map().unwrap();
        let mut next = Command::new("sleep").arg("1000").spawn().unwrap();
        let target = SignalTarget::new_group().unwrap();
        let forwarder = Forwarder::new(page, target);
        let ended = Claim { step: 1, pid: 0 };
        assert!(page.claim(ended.step, ended.pid));
        page.record_exit(ended.step);
        assert!(page.claim(2, next.id()));
        let arrived = ReceivedSignal {
            signal: libc::SIGTERM,
            from_kernel: false,
            pid: 0,
            uid: 0,
        };
        assert!(!forwarder.forward(ended, &arrived));
        assert!(!forwarder.forward_early(ended, &arrived));
        assert_eq!(page.since_end_request(2), None);
        let live = page.live().unwrap();
        assert!(forwarder.forward(live, &arrived));
        assert!(page.since_end_request(2).is_some());
        assert_eq!(page.signals.list(2).len(), 1);
        next.kill().unwrap();
        next.wait().unwrap();
    }

    #[test]
    fn daemon_is_not_left_behind() {
        for shell in ["sh", "setsid sh"] {
            assert!(leaves_behind(shell, "sh -c 'echo; exec sleep 1000'"));
            assert!(!leaves_behind(
                shell,
                "setsid sh -c 'echo; exec sleep 1000'"
            ));
        }
    }
}
