//! The append protocol: which locks protect what, and the properties that a replaced file keeps.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::time::Duration;

use crate::log::format::job_counts::JobCounts;
use crate::log::segment::segment_set::has_events;
use crate::log::test_log::{TestLog, line_ends};
use crate::log::*;
use crate::volume::layout;

const TIMEOUT: Duration = Duration::from_secs(5);

fn seal(log: &RunLog) -> Sealed {
    let rotation = log.rotate(RotationThreshold::default(), TIMEOUT).unwrap();
    rotation.into_result().unwrap()
}

/// Returns the owner, group and mode of a file.
fn access(it: &TestLog, name: &str) -> (u32, u32, u32) {
    let meta = fs::metadata(it.path(name)).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn rotation_keeps_owner_group_and_mode() {
    let it = TestLog::with_notes(1);
    fs::set_permissions(it.active(), fs::Permissions::from_mode(0o640)).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(it.active(), Some(12), Some(34)).unwrap();
    }
    let wanted = access(&it, layout::ACTIVE);
    let log = it.log();
    let sealed = seal(&log);
    assert_eq!(access(&it, layout::ACTIVE), wanted);
    compress_sealed(log.dir()).unwrap();
    assert_eq!(access(&it, &layout::compressed(&sealed.file)), wanted);
    // An interrupted rotation leaves no active segment.
    fs::remove_file(it.active()).unwrap();
    it.add(&it.log(), 1);
    assert_eq!(access(&it, layout::ACTIVE), wanted);
}

#[test]
fn append_needs_only_segment_lock() {
    let it = TestLog::with_notes(1);
    let log = it.log();
    it.add(&log, 1);
    let other = fs::File::open(it.path(layout::LOCK)).unwrap();
    other.lock().unwrap();
    it.add(&log, 2);
    it.read().assert_sound();
}

#[test]
fn discard_leaves_run_in_use() {
    let it = TestLog::new();
    let (discarded, other) = (it.log(), it.log());
    it.add(&other, 1);
    discarded.discard();
    it.add(&other, 2);
    assert_eq!(it.read().seqs, [0, 1]);

    for name in [layout::LOCK, layout::ACTIVE] {
        let it = TestLog::new();
        let log = it.log();
        fs::File::create(it.active()).unwrap();
        let file = fs::File::open(it.path(name)).unwrap();
        file.lock().unwrap();
        log.discard();
        assert!(it.path("").is_dir(), "{name}");
        drop(file);
        it.log().discard();
        assert!(!it.path("").exists(), "{name}");
    }
}

#[test]
fn job_is_counted_without_fold() {
    let it = TestLog::with_notes(0);
    let log = it.log();
    for job in ["a", "b"] {
        log.append(&[it.submitted(job)], Durability::Process)
            .unwrap();
        log.append(&[it.ended(job, None)], Durability::Process)
            .unwrap();
    }
    // A fold would miss the submission of `a`.
    let mut bytes = it.bytes();
    let submitted = line_ends(&bytes)[0];
    bytes[submitted + 40] ^= 1;
    it.set(&bytes);
    let mut seen = None;
    let appended = it
        .log()
        .append_counted(Durability::Process, TIMEOUT, |_, counts| {
            seen = Some(counts);
            Ok(Batch {
                drafts: vec![it.submitted("c")],
                close: Close::No,
            })
        });
    let counts = |submitted, ended| JobCounts {
        submitted,
        ended,
        failed: 0,
    };
    assert_eq!(seen, Some(counts(2, 2)));
    let line = appended.unwrap().bytes;
    let line = line.strip_suffix(b"\n").unwrap();
    assert_eq!(JobCounts::from_line(line), Some(counts(3, 2)));
}

#[test]
fn damaged_tail_makes_writer_fold() {
    let it = TestLog::with_notes(0);
    let log = it.log();
    log.append(&[it.submitted("a")], Durability::Process)
        .unwrap();
    log.append(&[it.submitted("b")], Durability::Process)
        .unwrap();
    let mut bytes = it.bytes();
    let last = line_ends(&bytes)[1];
    bytes[last + 40] ^= 1;
    it.set(&bytes);
    let mut seen = None;
    it.log()
        .append_counted(Durability::Process, TIMEOUT, |_, counts| {
            seen = Some(counts.submitted);
            Ok(Batch::only(Close::No))
        })
        .unwrap();
    assert_eq!(seen, Some(1));
}

#[test]
fn lost_acknowledged_events_are_reported_once() {
    let it = TestLog::with_notes(0);
    let log = it.log();
    it.add(&log, 1);
    let len = it.bytes().len();
    it.add(&log, 2);
    it.add(&log, 3);
    let bytes = it.bytes();
    it.set(&bytes[..len]);
    let appended = log.append(&[it.note(4)], Durability::Process).unwrap();
    let lost = appended.lost.unwrap();
    assert_eq!((lost.first, lost.last), (2, 3));
    let appended = log.append(&[it.note(5)], Durability::Process).unwrap();
    assert_eq!(appended.lost, None);
    // One of them is the `log_repaired` that names the lost events.
    assert_eq!(it.read().seqs, [0, 1, 4, 5, 6]);
}

#[test]
fn run_is_found_while_it_is_rotated_and_pruned() {
    let it = TestLog::with_notes(1);
    let log = it.log();
    let dir = log.dir().try_clone().unwrap();
    std::thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            for n in 0..200 {
                it.add(&log, n);
                seal(&log);
                log.prune(PruneLimit::AllBut(0)).unwrap();
            }
        });
        while !rotating.is_finished() {
            assert!(has_events(&dir).unwrap());
        }
    });
}

#[test]
fn pruning_releases_lock_between_segments() {
    let it = TestLog::with_notes(1);
    let log = it.log();
    for n in 0..3 {
        it.add(&log, n);
        seal(&log);
    }
    // One segment is locked, as if it were being compressed. Pruning stops there and keeps no
    // lock.
    let second = segment_names(&it)[1].clone();
    let busy = fs::File::open(it.path(&second)).unwrap();
    busy.lock().unwrap();
    let removed = log.prune(PruneLimit::AllBut(0)).unwrap();
    assert_eq!(removed.len(), 1);
    assert!(
        fs::File::open(it.path(layout::LOCK))
            .unwrap()
            .try_lock()
            .is_ok()
    );
    assert_eq!(it.read().damage, []);
}

fn segment_names(it: &TestLog) -> Vec<String> {
    let entries = fs::read_dir(it.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .filter(|name| layout::parse_sealed(name).is_some())
        .collect();
    names.sort();
    names
}
