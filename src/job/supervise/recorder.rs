//! Events that must not block the supervisor: a thread appends them while the job runs, so that
//! signals and timeouts never wait for a lock or a disk.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use super::job_events::JobEvents;
use super::missing_events::MissingEvents;
use super::unwritten::Unwritten;
use crate::job::capture::stream::OnWarning;
use crate::log::format::payload::JobStarted;
use crate::log::{AppendError, Appended, Durability, EventType, RunLog};
use crate::telemetry::Probe;

/// How long a sample of the job's processes may take.
const SAMPLE_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the sync of a start waits for the end of the job, whose own sync covers both.
const START_SYNC_DELAY: Duration = Duration::from_millis(5);

/// When the start of a job becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartSync {
    /// At once: another process waits for it.
    AtOnce,
    /// With the end of the job, if it ends soon.
    WithEnd,
}

/// A callback for when the start of the job is in the log, or could not be written.
pub type OnStarted = Box<dyn FnOnce(Result<(), &AppendError>) + Send>;

/// How to sample the job's processes while it runs.
pub(crate) struct Sampling {
    pub probe: Arc<Probe>,
    pub interval: Duration,
}

/// The process of a started job, and its event, unless that is already in the log.
type Started = (u32, Option<(JobStarted, StartSync)>);

/// The thread, and the channel to it.
#[derive(Debug)]
pub(crate) struct Recorder {
    started: Option<Sender<Started>>,
    /// Hangs up when the start is written, or cannot be.
    written: Receiver<Infallible>,
    thread: Option<JoinHandle<Unwritten>>,
}

impl Recorder {
    /// Starts the thread, which waits for [`Recorder::started`], and then writes the `unwritten`
    /// events first.
    pub(crate) fn start(
        log: Arc<RunLog>,
        events: JobEvents,
        unwritten: &mut Unwritten,
        sampling: Option<Sampling>,
        on_started: OnStarted,
        on_warning: OnWarning,
        missing: Arc<MissingEvents>,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Started>();
        let (written_sender, when_written) = mpsc::channel();
        let mut queue = std::mem::take(unwritten);
        let work = move || {
            let report_lost = |appended: &Appended| {
                if let Some(lost) = &appended.lost {
                    on_warning(&lost.to_string());
                }
            };
            let Ok((pid, event)) = receiver.recv() else {
                return queue;
            };
            let notify = move || drop::<Sender<Infallible>>(written_sender);
            let written = match event {
                // A supervisor that died has written it.
                None => {
                    notify();
                    Ok(())
                }
                Some((event, sync)) => events
                    .started(&event)
                    .map_err(AppendError::from)
                    .and_then(|draft| {
                        queue.push(draft);
                        queue.append(&log, || {
                            notify();
                            durability(sync, &receiver)
                        })
                    })
                    .map(|appended| report_lost(&appended)),
            };
            if let Err(e) = &written {
                missing.report("the start of the job", e);
            }
            on_started(written.as_ref().copied());
            let Some(Sampling { probe, interval }) = sampling else {
                return queue;
            };
            let mut next = Instant::now() + interval;
            // The channel is closed after the job has ended.
            while let Err(RecvTimeoutError::Timeout) =
                receiver.recv_timeout(next.saturating_duration_since(Instant::now()))
            {
                next = (next + interval).max(Instant::now());
                let Some(tree) = probe.tree(pid, SAMPLE_TIMEOUT) else {
                    continue;
                };
                let written = events
                    .sampled(&tree, &probe.probes(SAMPLE_TIMEOUT))
                    .map_err(AppendError::from)
                    .and_then(|draft| {
                        queue.push(draft);
                        queue.append(&log, || Durability::Process)
                    });
                queue.discard(EventType::JobSampled);
                match written {
                    Ok(appended) => report_lost(&appended),
                    Err(e) => missing.report("a sample", &e),
                }
            }
            queue
        };
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(work)?;
        Ok(Self {
            started: Some(sender),
            written: when_written,
            thread: Some(thread),
        })
    }

    /// Makes the thread write the start of the job, unless it is already in the log, and sample
    /// its process.
    pub(crate) fn started(&self, pid: u32, event: Option<(JobStarted, StartSync)>) {
        if let Some(sender) = &self.started {
            // The thread waits for exactly this.
            drop(sender.send((pid, event)));
        }
    }

    /// Waits until the start of the job is written, if possible, but not for its sync.
    pub(crate) fn wait_until_written(&self) {
        // Nothing is sent; the channel only ends.
        self.written.recv().ok();
    }

    /// Ends the thread after the job's end. Nothing is written after this returns. Returns the
    /// events that are not in the log.
    pub(crate) fn finish(mut self) -> Unwritten {
        self.started = None;
        let unwritten = self.thread.take().and_then(|thread| thread.join().ok());
        unwritten.unwrap_or_default()
    }
}

/// Returns how durable the start must become on its own. `ended` hangs up when the job has
/// ended.
fn durability<T>(sync: StartSync, ended: &Receiver<T>) -> Durability {
    let has_ended = sync == StartSync::WithEnd
        && matches!(
            ended.recv_timeout(START_SYNC_DELAY),
            Err(RecvTimeoutError::Disconnected)
        );
    if has_ended {
        Durability::Process
    } else {
        Durability::Power
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::job::process::liveness;
    use crate::job::redact::redaction::Redaction;
    use crate::telemetry::Snapshots;
    use crate::volume::{Volume, layout};

    #[test]
    fn awaited_start_is_in_log() {
        let tmp = tempfile::tempdir().unwrap();
        let volume = Volume::create(tmp.path()).unwrap();
        let log = Arc::new(RunLog::create(&volume, "it").unwrap());
        let events = JobEvents {
            run: log.run_id().clone(),
            job: "job".parse().unwrap(),
            before: Snapshots::default(),
            redaction: Redaction::default(),
        };
        let quiet: OnWarning = Arc::new(|_| {});
        let on_started = Box::new(|_: Result<(), &AppendError>| {});
        let missing = Arc::new(MissingEvents::new(Arc::clone(&quiet)));
        let recorder = Recorder::start(
            Arc::clone(&log),
            events,
            &mut Unwritten::default(),
            None,
            on_started,
            quiet,
            missing,
        )
        .unwrap();
        let lock = File::open(log.dir().path().join(layout::LOCK)).unwrap();
        lock.lock().unwrap();
        let pid = std::process::id();
        let event = JobStarted {
            attempt: 1,
            process: liveness::process(pid),
        };
        recorder.started(pid, Some((event, StartSync::AtOnce)));
        // A thread that does not wait yet sees it, and one that waits finds the event in any
        // case.
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(lock);
        });
        recorder.wait_until_written();
        let events = std::fs::read_to_string(log.dir().path().join(layout::ACTIVE)).unwrap();
        assert!(events.contains("\"type\":\"job_started\""), "{events}");
        holder.join().unwrap();
        recorder.finish();
    }

    #[test]
    fn start_is_synced_unless_job_has_ended() {
        let (running, ended) = mpsc::channel::<()>();
        assert_eq!(durability(StartSync::WithEnd, &ended), Durability::Power);
        drop(running);
        assert_eq!(durability(StartSync::WithEnd, &ended), Durability::Process);
        assert_eq!(durability(StartSync::AtOnce, &ended), Durability::Power);
    }
}
