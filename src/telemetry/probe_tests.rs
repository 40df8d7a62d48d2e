//! Tests of the probe with a sampler that is slow, stuck or broken.

use std::process::id;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::dependency::{Dependency, Target};
use super::probe::{MAX_QUEUED_REQUESTS, Probe, Source};
use super::sampler::Sampler;
use super::snapshot::{HostSnapshot, JobTree, ProcessSnapshot, Readings, Snapshots};

/// How long a test waits for a reply: far longer than a reply takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(20);

/// A source that replies with a serial number, but only when the test allows it.
struct Slow {
    /// Notified when a request is started.
    started: Sender<()>,
    gate: Receiver<()>,
    serial: u32,
    real: Sampler,
}

impl Slow {
    fn next(&mut self) -> u32 {
        self.started.send(()).ok();
        self.gate.recv().ok();
        self.serial += 1;
        self.serial
    }
}

impl Source for Slow {
    fn host(&mut self) -> HostSnapshot {
        self.gate.recv().ok();
        self.real.host()
    }

    fn processes(&mut self, job_pid: Option<u32>) -> Option<ProcessSnapshot> {
        let total = self.next();
        let snapshot = self.real.processes(job_pid)?;
        Some(ProcessSnapshot { total, ..snapshot })
    }

    fn job_tree(&mut self, job_pid: u32) -> Option<JobTree> {
        let processes = self.next();
        let tree = self.real.job_tree(job_pid)?;
        Some(JobTree { processes, ..tree })
    }

    fn probes(&mut self) -> Readings {
        self.gate.recv().ok();
        self.real.probes()
    }
}

/// Returns a dependency that is always available.
fn root() -> Dependency {
    Dependency {
        name: "root".to_owned(),
        spec: "file:/".to_owned(),
        target: Target::File("/".into()),
    }
}

/// Returns a probe, the sender that opens its gate, and the receiver that is notified of each
/// request that is started.
fn slow_probe() -> (Probe, Sender<()>, Receiver<()>) {
    let (open, gate) = channel();
    let (started, notices) = channel();
    let probe = Probe::spawn(move || Slow {
        started,
        gate,
        serial: 0,
        real: Sampler::new("/".as_ref(), |_| None).with_dependencies(vec![root()]),
    });
    (probe.unwrap(), open, notices)
}

#[test]
fn probe_serves_many_threads() {
    let probe = Arc::new(Probe::start("/".into(), Vec::new(), |_| None).unwrap());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let probe = Arc::clone(&probe);
            thread::spawn(move || probe.collect(Some(id()), PATIENCE))
        })
        .collect();
    for thread in threads {
        let Snapshots { host, processes } = thread.join().unwrap();
        assert!(host.is_some());
        assert!(processes.unwrap().job.unwrap().processes >= 1);
    }
    assert!(probe.tree(id(), PATIENCE).unwrap().processes >= 1);
    assert!(probe.tree(u32::MAX, PATIENCE).is_none());
}

#[test]
fn late_reply_is_dropped() {
    let (probe, open, notices) = slow_probe();
    // Repeat until the thread works on a request whose caller no longer waits. It skips
    // requests whose deadline has passed before it starts them.
    while notices.try_recv().is_err() {
        let late = probe.collect(None, SHORT);
        assert!(late.host.is_none() && late.processes.is_none());
    }
    // Its two replies, with number 1, arrive while the next request waits for number 2.
    for _ in 0..6 {
        open.send(()).unwrap();
    }
    let next = probe.collect(None, PATIENCE);
    assert_eq!(next.processes.unwrap().total, 2);
    assert!(next.host.is_some());

    assert!(probe.tree(id(), SHORT).is_none());
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert!(probe.tree(id(), PATIENCE).unwrap().processes > 2);
}

#[test]
fn hanging_disk_does_not_hide_processes() {
    let (probe, open, notices) = slow_probe();
    open.send(()).unwrap();
    thread::scope(|scope| {
        // The test waits for the whole limit, so the limit is not PATIENCE.
        let taken = scope.spawn(|| probe.collect(None, Duration::from_secs(1)));
        notices.recv().unwrap();
        let half = taken.join().unwrap();
        assert!(half.processes.is_some());
        assert!(half.host.is_none());
    });
}

#[test]
fn hanging_probe_does_not_hide_host() {
    let (probe, open, _notices) = slow_probe();
    for _ in 0..2 {
        open.send(()).unwrap();
    }
    let host = probe.collect(None, Duration::from_secs(1)).host.unwrap();
    assert_eq!(host.probes.get("root"), Some(&None));
}

#[test]
fn probes_are_read_with_host_and_alone() {
    let probe = Probe::start("/".into(), vec![root()], |_| None).unwrap();
    let read = Readings::from([("root".to_owned(), Some(true))]);
    assert_eq!(probe.collect(None, PATIENCE).host.unwrap().probes, read);
    assert_eq!(probe.probes(PATIENCE), read);
    assert_eq!(probe.probes(Duration::ZERO).keys().next().unwrap(), "root");
    let without = Probe::start("/".into(), Vec::new(), |_| None).unwrap();
    assert!(without.probes(PATIENCE).is_empty());
}

#[test]
fn stuck_thread_costs_only_the_limit() {
    let (probe, _open, _notices) = slow_probe();
    for _ in 0..2 * MAX_QUEUED_REQUESTS {
        assert!(probe.tree(id(), Duration::from_millis(1)).is_none());
    }
}

#[test]
fn panicked_thread_yields_empty_snapshots() {
    let probe = Probe::spawn(|| -> Sampler { panic!("as a test") }).unwrap();
    assert!(probe.tree(id(), PATIENCE).is_none());
    assert!(probe.collect(None, PATIENCE).host.is_none());
}

#[test]
fn probe_is_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<Probe>();
}
