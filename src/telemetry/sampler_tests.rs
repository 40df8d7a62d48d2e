//! Tests of the sampler on the live host.

use std::process::{Child, Command, id};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::sampler::Sampler;

/// A child that is killed when the test ends.
struct Guarded(Child);

impl Guarded {
    fn start(program: &str, args: &[&str]) -> Self {
        Self(Command::new(program).args(args).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn sampler() -> Sampler {
    Sampler::new("/".as_ref(), |_| None)
}

/// Polls until `poll` returns a value.
fn until<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "timed out");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts that the JSON has no null, and that all numbers are finite and exact in every reader.
fn check(value: &Value) {
    match value {
        Value::Null => panic!("null in a snapshot"),
        Value::Number(number) => {
            assert!(number.as_f64().unwrap().is_finite());
            assert!(number.as_f64().unwrap() >= 0.0);
            assert!(number.as_u64().is_none_or(|n| n < 1 << 53));
        }
        Value::Array(values) => values.iter().for_each(check),
        Value::Object(fields) => fields.values().for_each(check),
        Value::Bool(_) | Value::String(_) => {}
    }
}

#[test]
fn snapshot_json_has_no_null_and_finite_numbers() {
    let mut sampler = sampler();
    for _ in 0..2 {
        check(&serde_json::to_value(sampler.host()).unwrap());
        check(&serde_json::to_value(sampler.processes(Some(id()))).unwrap());
        check(&serde_json::to_value(sampler.job_tree(id())).unwrap());
    }
    let nowhere = Sampler::new("/no/such/directory".as_ref(), |_| None).host();
    assert!(nowhere.disk_total_bytes.is_none());
    check(&serde_json::to_value(nowhere).unwrap());
}

#[test]
fn host_snapshot_is_plausible() {
    let host = sampler().host();
    assert!(host.hostname.is_some() && host.kernel.is_some());
    assert!(host.cpu_count.unwrap() > 0);
    let total = host.mem_total_bytes.unwrap();
    assert!(host.mem_available_bytes.unwrap() <= total);
    assert!(host.mem_used_bytes.unwrap() <= total);
    assert!(host.mem_limit_bytes.is_none_or(|limit| limit < total));
    assert!(host.disk_used_bytes.unwrap() <= host.disk_total_bytes.unwrap());
}

#[test]
fn own_process_and_child_are_found() {
    let child = Guarded::start("sleep", &["600"]);
    let mut sampler = sampler();
    let snapshot = sampler.processes(Some(child.pid())).unwrap();
    assert!(snapshot.total >= 2 && snapshot.running <= snapshot.total);
    assert!(snapshot.top_cpu.len() <= 5 && snapshot.top_mem.len() <= 5);
    assert!(
        snapshot
            .top_mem
            .is_sorted_by(|a, b| a.rss_bytes >= b.rss_bytes)
    );
    let job = snapshot.job.unwrap();
    assert_eq!((job.processes, job.zombies), (1, 0));
    assert!(sampler.job_tree(id()).unwrap().processes >= 2);
    assert!(sampler.processes(Some(u32::MAX)).unwrap().job.is_none());
}

#[test]
fn zombie_is_counted_as_zombie() {
    // The shell becomes a `sleep` that does not wait for its child. The child lives long enough
    // that the shell does not wait for it earlier.
    let job = Guarded::start("sh", &["-c", "sleep 0.2 & exec sleep 600"]);
    let mut sampler = sampler();
    let tree = until(|| sampler.job_tree(job.pid()).filter(|tree| tree.zombies == 1));
    assert_eq!(tree.processes, 1, "the zombie is not alive");
    let snapshot = sampler.processes(Some(job.pid())).unwrap();
    assert!(snapshot.zombies >= 1);
    assert_eq!(snapshot.job.unwrap().zombies, 1);
}

#[test]
fn busy_job_uses_cpu() {
    let job = Guarded::start("sh", &["-c", "while :; do :; done"]);
    let mut sampler = sampler();
    let first = until(|| sampler.job_tree(job.pid()).filter(|tree| tree.cpu_ms > 0));
    let later = until(|| {
        let tree = sampler.job_tree(job.pid())?;
        (tree.cpu_ms > first.cpu_ms + 100).then_some(tree)
    });
    assert!(later.cpu_percent > 0.0);
    assert!(later.rss_bytes > 0);
    let snapshot = sampler.processes(Some(job.pid())).unwrap();
    assert!(snapshot.cpu_percent > 0.0);
    assert!(!snapshot.top_cpu.is_empty());
}
