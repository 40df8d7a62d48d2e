//! Events that must not hold up the supervisor: a thread appends them while the job
//! runs, so that signals and time-outs never wait for a lock or a disk.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::capture::Trouble;
use super::stages::Stages;
use crate::log::payload::JobStarted;
use crate::log::{Durability, LogError, RunLog};
use crate::telemetry::Probe;

/// How long a sample of the job's processes may take.
const SAMPLE_LIMIT: Duration = Duration::from_millis(250);

/// Told once the start of the job is in the log, or could not be written.
pub type OnStarted = Box<dyn FnOnce(Result<(), &LogError>) + Send>;

/// The thread, and the way to it.
#[derive(Debug)]
pub(super) struct Recorder {
    started: Option<Sender<JobStarted>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts the thread; it waits for [`Recorder::started`].
    pub(super) fn start(
        log: Arc<RunLog>,
        stages: Stages,
        probe: Arc<Probe>,
        sample: Option<Duration>,
        on_started: OnStarted,
        trouble: Trouble,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<JobStarted>();
        let work = move || {
            let Ok(event) = receiver.recv() else { return };
            let pid = event.process.pid;
            let written = stages
                .started(&event)
                .and_then(|draft| log.append(&[draft], Durability::Power).map(drop));
            if let Err(e) = &written {
                trouble(&format!("the start of the job is not in the log: {e}"));
            }
            on_started(written.as_ref().copied());
            let Some(interval) = sample else { return };
            let mut next = Instant::now() + interval;
            let mut told = false;
            // The channel is closed when the job has ended.
            while let Err(RecvTimeoutError::Timeout) =
                receiver.recv_timeout(next.saturating_duration_since(Instant::now()))
            {
                next = (next + interval).max(Instant::now());
                let Some(tree) = probe.tree(pid, SAMPLE_LIMIT) else {
                    continue;
                };
                let written = stages
                    .sampled(&tree)
                    .and_then(|draft| log.append(&[draft], Durability::Process).map(drop));
                if let Err(e) = written
                    && !std::mem::replace(&mut told, true)
                {
                    trouble(&format!("a sample is not in the log: {e}"));
                }
            }
        };
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(work)?;
        Ok(Self {
            started: Some(sender),
            thread: Some(thread),
        })
    }

    /// The job was spawned.
    pub(super) fn started(&self, event: JobStarted) {
        if let Some(sender) = &self.started {
            // The thread waits for exactly this.
            drop(sender.send(event));
        }
    }

    /// The job has ended: nothing is written any more when this returns.
    pub(super) fn finish(mut self) {
        self.started = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
