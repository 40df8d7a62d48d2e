//! Sampling that can neither block nor fail the caller.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::dependency::{Dependency, unread};
use super::sampler::Sampler;
use super::snapshot::{HostSnapshot, JobTree, ProcessSnapshot, Readings, Snapshots};
use super::table::CpuClock;

/// The maximum number of requests that wait for a stuck thread. Further ones are dropped.
pub(super) const MAX_QUEUED_REQUESTS: usize = 16;

/// A thread that takes snapshots, whose callers wait only for a limited time.
///
/// Share it by reference or in an `Arc`. Block all signals before starting it, so that they are
/// delivered to other threads. When the probe is dropped, the thread ends by itself. A thread
/// that is stuck in the kernel is abandoned.
#[derive(Debug)]
pub struct Probe {
    requests: SyncSender<Request>,
    /// The readings to report if the job's probes are not known in time.
    unread: Readings,
}

/// A request for snapshots. Each request has its own channel for the reply, so that a late reply
/// is never mistaken for the reply to another request.
#[derive(Debug)]
struct Request {
    job_pid: Option<u32>,
    /// When the caller stops waiting.
    deadline: Option<Instant>,
    reply_to: ReplyTo,
}

#[derive(Debug)]
enum ReplyTo {
    All(Sender<Reply>),
    Tree(Sender<Option<JobTree>>),
    Probes(Sender<Readings>),
}

#[derive(Debug)]
enum Reply {
    Host(Box<HostSnapshot>),
    Processes(Box<ProcessSnapshot>),
    Probes(Readings),
}

/// The source of snapshots: the sampler, or a slow substitute in tests.
pub(super) trait Source {
    fn host(&mut self) -> HostSnapshot;
    fn processes(&mut self, job_pid: Option<u32>) -> Option<ProcessSnapshot>;
    fn job_tree(&mut self, job_pid: u32) -> Option<JobTree>;
    fn probes(&mut self) -> Readings;
}

impl Source for Sampler {
    fn host(&mut self) -> HostSnapshot {
        Sampler::host(self)
    }

    fn processes(&mut self, job_pid: Option<u32>) -> Option<ProcessSnapshot> {
        Sampler::processes(self, job_pid)
    }

    fn job_tree(&mut self, job_pid: u32) -> Option<JobTree> {
        Sampler::job_tree(self, job_pid)
    }

    fn probes(&mut self) -> Readings {
        Sampler::probes(self)
    }
}

impl Probe {
    /// Starts the thread, which also creates the sampler, so that this call does not block. The
    /// snapshots include the readings of the job's dependencies.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(
        volume: PathBuf,
        dependencies: Vec<Dependency>,
        cpu_clock: CpuClock,
    ) -> io::Result<Self> {
        let unread = unread(&dependencies);
        let probe =
            Self::spawn(move || Sampler::new(&volume, cpu_clock).with_dependencies(dependencies))?;
        Ok(Self { unread, ..probe })
    }

    pub(super) fn spawn<S: Source>(
        source: impl FnOnce() -> S + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, inbox) = sync_channel(MAX_QUEUED_REQUESTS);
        thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || serve(&mut source(), &inbox))?;
        Ok(Self {
            requests,
            unread: Readings::new(),
        })
    }

    /// Returns snapshots of the host and the processes, including the tree of `job_pid`, as far
    /// as they are known within `limit`.
    pub fn collect(&self, job_pid: Option<u32>, limit: Duration) -> Snapshots {
        self.request(job_pid, limit).wait()
    }

    /// Requests snapshots without waiting for them. The limit starts now.
    pub fn request(&self, job_pid: Option<u32>, limit: Duration) -> PendingSnapshots {
        let deadline = Instant::now().checked_add(limit);
        let (replies, inbox) = channel();
        // If the request is dropped, so is the sender, and `wait` returns at once.
        self.enqueue(job_pid, deadline, ReplyTo::All(replies));
        PendingSnapshots { inbox, deadline }
    }

    /// Returns the process tree of `job_pid`, if the process exists and its tree is known
    /// within `limit`.
    pub fn tree(&self, job_pid: u32, limit: Duration) -> Option<JobTree> {
        let deadline = Instant::now().checked_add(limit);
        let (reply, inbox) = channel();
        if self.enqueue(Some(job_pid), deadline, ReplyTo::Tree(reply)) {
            recv_until(&inbox, deadline)?
        } else {
            None
        }
    }

    /// Returns the readings of the job's probes, as far as they are known within `limit`.
    pub fn probes(&self, limit: Duration) -> Readings {
        if self.unread.is_empty() {
            return Readings::new();
        }
        let deadline = Instant::now().checked_add(limit);
        let (reply, inbox) = channel();
        self.enqueue(None, deadline, ReplyTo::Probes(reply));
        recv_until(&inbox, deadline).unwrap_or_else(|| self.unread.clone())
    }

    /// Queues a request. Returns `false` if the queue is full or the thread has ended.
    fn enqueue(&self, job_pid: Option<u32>, deadline: Option<Instant>, reply_to: ReplyTo) -> bool {
        let request = Request {
            job_pid,
            deadline,
            reply_to,
        };
        self.requests.try_send(request).is_ok()
    }
}

/// Snapshots that were requested.
#[derive(Debug)]
pub struct PendingSnapshots {
    inbox: Receiver<Reply>,
    deadline: Option<Instant>,
}

impl PendingSnapshots {
    /// Waits for the snapshots until the deadline at the latest.
    pub fn wait(self) -> Snapshots {
        let mut snapshots = Snapshots::default();
        while let Some(reply) = recv_until(&self.inbox, self.deadline) {
            match reply {
                Reply::Host(host) => snapshots.host = Some(*host),
                Reply::Processes(processes) => snapshots.processes = Some(*processes),
                Reply::Probes(probes) => {
                    if let Some(host) = &mut snapshots.host {
                        host.probes = probes;
                    }
                }
            }
        }
        snapshots
    }
}

/// Receives the next reply. Returns `None` after the deadline, or if none will come.
fn recv_until<T>(inbox: &Receiver<T>, deadline: Option<Instant>) -> Option<T> {
    match deadline {
        Some(deadline) => inbox
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok(),
        None => inbox.recv().ok(),
    }
}

/// Serves requests until the probe is dropped.
fn serve(source: &mut impl Source, inbox: &Receiver<Request>) {
    for request in inbox {
        if request.deadline.is_some_and(|at| at < Instant::now()) {
            continue;
        }
        // Sending fails if the caller no longer waits.
        match request.reply_to {
            ReplyTo::All(replies) => {
                // Processes first: unlike a file system, `/proc` cannot hang.
                if let Some(processes) = source.processes(request.job_pid) {
                    replies.send(Reply::Processes(Box::new(processes))).ok();
                }
                let host = source.host();
                let has_probes = !host.probes.is_empty();
                replies.send(Reply::Host(Box::new(host))).ok();
                // Probes last, because a probe may read a file system that hangs.
                if has_probes {
                    replies.send(Reply::Probes(source.probes())).ok();
                }
            }
            ReplyTo::Probes(reply) => drop(reply.send(source.probes())),
            ReplyTo::Tree(reply) => {
                let tree = request.job_pid.and_then(|pid| source.job_tree(pid));
                reply.send(tree).ok();
            }
        }
    }
}
