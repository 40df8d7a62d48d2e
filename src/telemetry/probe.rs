//! Sampling that can neither block nor fail the caller.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::sampler::Sampler;
use super::snapshot::{HostSnapshot, JobTree, ProcessSnapshot, Snapshots};

/// Questions that may wait for a thread that is stuck; more are not even asked.
const MAX_QUEUED_REQUESTS: usize = 16;

/// A thread that takes snapshots, and that is waited for only so long.
///
/// Share it by reference or in an `Arc`. Block all signals before starting it, so that
/// they are delivered elsewhere. When it is dropped the thread ends by itself; one that
/// is stuck in the kernel is left behind.
#[derive(Debug)]
pub struct Probe {
    questions: SyncSender<Request>,
}

/// What is asked. Each question has a channel of its own for the answer, so that a late
/// answer reaches nobody.
#[derive(Debug)]
struct Request {
    job_pid: Option<u32>,
    /// After this nobody waits any more.
    deadline: Option<Instant>,
    answers: ReplyTo,
}

#[derive(Debug)]
enum ReplyTo {
    All(Sender<Reply>),
    Tree(Sender<Option<JobTree>>),
}

#[derive(Debug)]
enum Reply {
    Host(Box<HostSnapshot>),
    Processes(Box<ProcessSnapshot>),
}

/// What the thread asks: the sampler, or a slow stand-in under test.
trait Source {
    fn host(&mut self) -> HostSnapshot;
    fn processes(&mut self, job_pid: Option<u32>) -> Option<ProcessSnapshot>;
    fn job_tree(&mut self, job_pid: u32) -> Option<JobTree>;
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
}

impl Probe {
    /// Starts the thread. The sampler is made there too, so this does not block.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn start(volume: PathBuf) -> io::Result<Self> {
        Self::spawn(move || Sampler::new(&volume))
    }

    fn spawn<S: Source>(source: impl FnOnce() -> S + Send + 'static) -> io::Result<Self> {
        let (questions, inbox) = sync_channel(MAX_QUEUED_REQUESTS);
        thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || serve(&mut source(), &inbox))?;
        Ok(Self { questions })
    }

    /// The processes, with the tree of `job_pid`, and the machine, as far as they are
    /// known within `limit`.
    pub fn collect(&self, job_pid: Option<u32>, limit: Duration) -> Snapshots {
        self.request(job_pid, limit).wait()
    }

    /// Has them taken while the caller does something else; the limit runs from now.
    pub fn request(&self, job_pid: Option<u32>, limit: Duration) -> PendingSnapshots {
        let deadline = Instant::now().checked_add(limit);
        let (answers, inbox) = channel();
        // What cannot be asked has no answers: its channel is closed at once.
        self.enqueue(job_pid, deadline, ReplyTo::All(answers));
        PendingSnapshots { inbox, deadline }
    }

    /// The tree of `job_pid`, if it is there and known within `limit`.
    pub fn tree(&self, job_pid: u32, limit: Duration) -> Option<JobTree> {
        let deadline = Instant::now().checked_add(limit);
        let (answer, inbox) = channel();
        if self.enqueue(Some(job_pid), deadline, ReplyTo::Tree(answer)) {
            wait(&inbox, deadline)?
        } else {
            None
        }
    }

    /// Whether the question could be put; not if the queue is full or the thread gone.
    fn enqueue(&self, job_pid: Option<u32>, deadline: Option<Instant>, answers: ReplyTo) -> bool {
        let question = Request {
            job_pid,
            deadline,
            answers,
        };
        self.questions.try_send(question).is_ok()
    }
}

/// Snapshots that are being taken.
#[derive(Debug)]
pub struct PendingSnapshots {
    inbox: Receiver<Reply>,
    deadline: Option<Instant>,
}

impl PendingSnapshots {
    /// What is known by the deadline.
    pub fn wait(self) -> Snapshots {
        let mut snapshots = Snapshots::default();
        while let Some(answer) = wait(&self.inbox, self.deadline) {
            match answer {
                Reply::Host(host) => snapshots.host = Some(*host),
                Reply::Processes(processes) => snapshots.processes = Some(*processes),
            }
        }
        snapshots
    }
}

/// The next answer; `None` after the deadline, or if there will be none.
fn wait<T>(inbox: &Receiver<T>, deadline: Option<Instant>) -> Option<T> {
    match deadline {
        Some(deadline) => inbox
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok(),
        None => inbox.recv().ok(),
    }
}

/// Answers questions until nobody can ask any more.
fn serve(source: &mut impl Source, inbox: &Receiver<Request>) {
    for question in inbox {
        if question.deadline.is_some_and(|at| at < Instant::now()) {
            continue;
        }
        // An answer that nobody waits for any more is dropped.
        match question.answers {
            ReplyTo::All(answers) => {
                // The processes first: they do not hang where a file system does.
                if let Some(processes) = source.processes(question.job_pid) {
                    answers.send(Reply::Processes(Box::new(processes))).ok();
                }
                answers.send(Reply::Host(Box::new(source.host()))).ok();
            }
            ReplyTo::Tree(answer) => {
                let tree = question.job_pid.and_then(|pid| source.job_tree(pid));
                answer.send(tree).ok();
            }
        }
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
