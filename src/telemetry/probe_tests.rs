//! The probe with a sampler that is slow, stuck or broken.

use std::process::id;
use std::sync::Arc;

use super::*;

/// Far longer than any answer takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(20);

/// Answers with a serial number, and only when the test lets it.
struct Slow {
    /// Told when a question is begun.
    begun: Sender<()>,
    gate: Receiver<()>,
    serial: u32,
    real: Sampler,
}

impl Slow {
    fn next(&mut self) -> u32 {
        self.begun.send(()).ok();
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
}

/// A probe, the key to its gate, and the news that a question is begun.
fn slow_probe() -> (Probe, Sender<()>, Receiver<()>) {
    let (open, gate) = channel();
    let (begun, news) = channel();
    let probe = Probe::spawn(move || Slow {
        begun,
        gate,
        serial: 0,
        real: Sampler::new("/".as_ref()),
    });
    (probe.unwrap(), open, news)
}

#[test]
fn answers_in_time_from_many_threads() {
    let probe = Arc::new(Probe::start("/".into()).unwrap());
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
fn a_late_answer_is_not_mixed_up() {
    let (probe, open, news) = slow_probe();
    // Until the thread is in the midst of a question that nobody waits for any more;
    // those that it comes to too late it passes over.
    while news.try_recv().is_err() {
        let late = probe.collect(None, SHORT);
        assert!(late.host.is_none() && late.processes.is_none());
    }
    // Its two answers, number 1, come while the next question waits for number 2.
    for _ in 0..4 {
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
fn processes_are_known_though_the_disk_hangs() {
    let (probe, open, news) = slow_probe();
    open.send(()).unwrap();
    thread::scope(|scope| {
        // The hanging half is waited out in full, so this is not PATIENCE.
        let taken = scope.spawn(|| probe.collect(None, Duration::from_secs(1)));
        news.recv().unwrap();
        let half = taken.join().unwrap();
        assert!(half.processes.is_some());
        assert!(half.host.is_none());
    });
}

#[test]
fn a_stuck_thread_costs_no_more_than_the_limit_each_time() {
    let (probe, _open, _news) = slow_probe();
    for _ in 0..2 * MAX_QUEUED_REQUESTS {
        assert!(probe.tree(id(), Duration::from_millis(1)).is_none());
    }
}

#[test]
fn a_dead_thread_is_no_trouble() {
    let probe = Probe::spawn(|| -> Sampler { panic!("as a test") }).unwrap();
    assert!(probe.tree(id(), PATIENCE).is_none());
    assert!(probe.collect(None, PATIENCE).host.is_none());
}

#[test]
fn can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Probe>();
}
