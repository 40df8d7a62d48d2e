//! Rotation: nothing is lost, duplicated or reordered, and the state depends on checkpoints.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::log::lock::file_lock;
use crate::log::test_log::{TestLog, gz};
use crate::log::*;
use crate::volume::layout;

const BUDGET: Duration = Duration::from_secs(5);
/// How many times the log is rotated while all threads run.
const ROTATIONS: usize = 30;

fn rotate(log: &RunLog) -> Result<Sealed, NotRotated> {
    log.rotate(RotationThreshold::default(), BUDGET)
        .unwrap()
        .into_result()
}

fn segment_names(it: &TestLog) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(it.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("events"))
        .collect();
    names.sort();
    names
}

#[test]
fn new_segment_starts_with_checkpoint() {
    let it = TestLog::with_notes(3);
    it.close(&[it.submitted("a")], Close::No).unwrap();
    let (log, other) = (it.log(), it.log());
    it.add(&other, 7);
    let before = it.bytes();
    let state = fold(log.dir()).unwrap();
    let sealed = rotate(&log).unwrap();
    assert_eq!(
        (sealed.first_seq, sealed.last_seq, sealed.bytes),
        (0, Some(5), before.len() as u64)
    );
    assert_eq!(fs::read(it.path(&sealed.file)).unwrap(), before);
    // A writer that had the old segment open continues in the new one.
    it.add(&other, 8);
    it.add(&log, 9);
    let found = it.read();
    found.assert_sound();
    assert_eq!(found.kinds[6..], ["log_rotated", "note", "note"]);
    let last: serde_json::Value = serde_json::from_str(&found.lines[5]).unwrap();
    let rotated: serde_json::Value = serde_json::from_str(&found.lines[6]).unwrap();
    assert_eq!(rotated["sealed"]["last_ts"], last["ts"]);

    let mut again = state;
    again.sealed_bytes = before.len() as u64;
    assert_eq!(fold(log.dir()).unwrap(), again);
    fs::remove_file(it.path(&sealed.file)).unwrap();
    assert_eq!(fold(log.dir()).unwrap(), again);
    assert_eq!(it.read().damage, []);
}

#[test]
fn segment_with_only_checkpoint_is_not_rotated() {
    let it = TestLog::with_notes(1);
    let log = it.log();
    rotate(&log).unwrap();
    assert_eq!(rotate(&log), Err(NotRotated::Fresh));
    assert_eq!(rotate(&it.log()), Err(NotRotated::Fresh));
    it.add(&log, 1);
    assert_eq!(rotate(&it.log()).unwrap().first_seq, 2);
    it.read().assert_sound();
}

#[test]
fn rotation_waits_for_thresholds() {
    let it = TestLog::with_notes(4);
    let log = it.log();
    let len = it.bytes().len() as u64;
    let size = |max_size| RotationThreshold {
        max_size: Some(max_size),
        max_age: None,
    };
    let age = |max_age| RotationThreshold {
        max_size: None,
        max_age: Some(max_age),
    };
    let hour = Duration::from_hours(1);
    for due in [size(len + 1), age(hour)] {
        let rotation = log.rotate(due, BUDGET).unwrap();
        assert_eq!(rotation, Rotation::Skipped(NotRotated::NotDue));
        assert_eq!(
            plan_rotation(log.dir(), due).unwrap(),
            RotationPlan::Skip(NotRotated::NotDue)
        );
    }
    assert_eq!(
        plan_rotation(log.dir(), size(len)).unwrap(),
        RotationPlan::Seal { bytes: len }
    );
    let rotation = log.rotate(size(len), BUDGET).unwrap();
    rotation.into_result().unwrap();
    it.add(&log, 5);
    let rotation = log.rotate(age(Duration::ZERO), BUDGET).unwrap();
    rotation.into_result().unwrap();
    it.read().assert_sound();
}

#[test]
fn log_with_foreign_lines_is_not_rotated() {
    let foreign = b"{\"type\":\"pipe.started\",\"id\":\"01k0000000000000000000000a\",\
        \"ts\":\"2026-01-01T00:00:00Z\",\"run_id\":\"r\",\"pipe\":\"p\"}\n";
    for in_front in [true, false] {
        let it = TestLog::with_notes(300);
        let own = it.bytes();
        let bytes = if in_front {
            [foreign, own.as_slice()].concat()
        } else {
            [&own, foreign.as_slice()].concat()
        };
        it.set(&bytes);
        let log = it.log();
        assert_eq!(rotate(&log), Err(NotRotated::Foreign), "{in_front}");
        assert_eq!(
            plan_rotation(log.dir(), RotationThreshold::default()).unwrap(),
            RotationPlan::Skip(NotRotated::Foreign)
        );
        assert_eq!(it.bytes(), bytes);
    }
}

#[test]
fn rotated_closed_run_is_known_from_last_line() {
    let it = TestLog::with_notes(1);
    let done = [it.submitted("a"), it.ended("a", Some("no"))];
    it.close(&done, Close::Now).unwrap();
    let before = read_summary(it.log().dir(), JobScope::All).unwrap();
    rotate(&it.log()).unwrap();
    let found = it.read();
    found.assert_sound();
    assert!(found.last()["summary"]["closed_ts"].is_string());
    let after = read_summary(it.log().dir(), JobScope::All).unwrap();
    assert_eq!(after.events, before.events + 1);
    assert_eq!(after.bytes, before.bytes + it.bytes().len() as u64);
    assert_eq!(after.state.jobs, before.state.jobs);
}

#[test]
fn damaged_first_line_keeps_segment_names() {
    let it = TestLog::with_notes(3);
    rotate(&it.log()).unwrap();
    it.add(&it.log(), 1);
    let mut bytes = it.bytes();
    bytes[8] ^= 1;
    it.set(&bytes);
    assert_eq!(rotate(&it.log()).unwrap().first_seq, 4);
    // The checkpoint records that the line may have been an event.
    let expected = [DamageReason::BadChecksum, DamageReason::Gap];
    assert_eq!(it.read().reasons(), expected);
    it.read().assert_rising();
}

#[test]
fn writer_does_not_wait_for_compression() {
    let it = TestLog::with_notes(2);
    let held = it.log();
    it.add(&held, 2);
    let sealed = rotate(&it.log()).unwrap();
    let file = fs::File::open(it.path(&sealed.file)).unwrap();
    let compressing = file_lock::try_exclusive(&file, &it.path(&sealed.file)).unwrap();
    assert!(compressing.is_some());
    it.add(&held, 3);
    assert_eq!(compress_sealed(held.dir()).unwrap(), []);
    drop(compressing);
    assert_eq!(compress_sealed(held.dir()).unwrap().len(), 1);
    it.read().assert_sound();
}

#[test]
fn compressed_segments_keep_their_events() {
    let it = TestLog::with_notes(50);
    let log = it.log();
    let sealed = rotate(&log).unwrap();
    it.add(&log, 51);
    let before = it.read();
    // A compression that was killed before it removed the plain segment left this.
    fs::write(it.path(&layout::compressed(&sealed.file)), gz(b"half")).unwrap();
    let would = plan_compression(log.dir()).unwrap();
    let done = compress_sealed(log.dir()).unwrap();
    assert_eq!(done.len(), 1);
    assert_eq!((would.len(), &would[0].file), (1, &done[0].file));
    assert_eq!(done[0].bytes, sealed.bytes);
    assert!(done[0].compressed_bytes < Some(sealed.bytes));
    assert_eq!(
        segment_names(&it),
        [layout::compressed(&sealed.file), layout::ACTIVE.to_owned()]
    );
    assert_eq!(it.read().lines, before.lines);
    assert_eq!(compress_sealed(log.dir()).unwrap(), []);
}

#[test]
fn grown_sealed_segment_is_kept_plain() {
    let it = TestLog::with_notes(3);
    let log = it.log();
    let sealed = rotate(&log).unwrap();
    let path = it.path(&sealed.file);
    let mut grown = fs::read(&path).unwrap();
    grown.extend_from_slice(
        b"{\"id\":\"01k0000000000000000000000a\",\"ts\":\"2026-01-01T00:00:00Z\",\
        \"run_id\":\"r\",\"type\":\"node.started\",\"node_id\":\"late\"}\n",
    );
    fs::write(&path, grown).unwrap();
    assert_eq!(compress_sealed(log.dir()).unwrap(), []);
    assert_eq!(log.prune(PruneLimit::AllBut(0)).unwrap(), []);
    // Lines that another program wrote there count.
    assert!(fold(log.dir()).unwrap().job("late").is_some());
}

#[test]
fn pruning_starts_at_oldest_and_keeps_checkpoint() {
    let it = TestLog::with_notes(2);
    let log = it.log();
    for n in 0..4 {
        rotate(&log).unwrap();
        it.add(&log, n);
    }
    compress_sealed(log.dir()).unwrap();
    let state = fold(log.dir()).unwrap();
    assert_eq!(plan_prune(log.dir(), PruneLimit::AllBut(9)).unwrap(), []);
    let two = plan_prune(log.dir(), PruneLimit::AllBut(2)).unwrap();
    assert_eq!(log.prune(PruneLimit::AllBut(2)).unwrap(), two);
    assert_eq!(two.len(), 2);
    assert_eq!(segment_names(&it).len(), 3);
    assert_eq!(it.read().damage, []);
    assert_eq!(it.read().seqs, [5, 6, 7, 8, 9, 10]);
    assert_eq!(fold(log.dir()).unwrap(), state);

    // If the newest segment has no checkpoint, the previous one is kept.
    let mut bytes = it.bytes();
    bytes[8] ^= 1;
    it.set(&bytes);
    assert_eq!(log.prune(PruneLimit::AllBut(0)).unwrap().len(), 1);
    assert_eq!(fold(log.dir()).unwrap().opened_ts, state.opened_ts);
}

#[test]
fn age_of_segment_is_that_of_its_last_event() {
    let it = TestLog::with_notes(2);
    let log = it.log();
    rotate(&log).unwrap();
    let between = jiff::Timestamp::now();
    it.add(&log, 1);
    rotate(&log).unwrap();
    assert_eq!(
        plan_prune(log.dir(), PruneLimit::OlderThan(between))
            .unwrap()
            .len(),
        1
    );
    let now = jiff::Timestamp::now();
    assert_eq!(
        plan_prune(log.dir(), PruneLimit::OlderThan(now))
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn writers_rotate_automatically() {
    let it = TestLog::with_notes(0);
    let rotation = RotationPolicy {
        max_size: 4096,
        keep: Some(3),
        compress: true,
    };
    let log = it.log().rotating(Some(rotation));
    (0..200).for_each(|n| it.add(&log, n));
    log.finish_upkeep().unwrap();
    let found = it.read();
    assert_eq!(found.damage, []);
    assert!(found.seqs[0] > 0);
    let names = segment_names(&it);
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(
        names[..3].iter().all(|name| name.contains(".jsonl.gz")),
        "{names:?}"
    );
    assert!(it.bytes().len() < 3 * 4096);
}

#[test]
fn large_checkpoint_does_not_rotate_every_event() {
    let it = TestLog::with_notes(0);
    let jobs: Vec<_> = (0..100).map(|n| it.submitted(&format!("job{n}"))).collect();
    it.log().append(&jobs, Durability::Process).unwrap();
    let rotation = RotationPolicy {
        max_size: 100,
        keep: None,
        compress: false,
    };
    let log = it.log().rotating(Some(rotation));
    (0..20).for_each(|n| it.add(&log, n));
    assert_eq!(segment_names(&it).len(), 2);
}

#[test]
fn concurrent_writes_and_rotations_lose_nothing() {
    let it = TestLog::with_notes(0);
    let (done, rotations) = (AtomicBool::new(false), AtomicUsize::new(0));
    let is_done = || done.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let log = it.log();
                    let mut acked = 0;
                    loop {
                        let rounds = rotations.load(Ordering::Relaxed);
                        if rounds == ROTATIONS {
                            return acked;
                        }
                        // Not so fast that the rotation never finishes.
                        if acked < 50 * (rounds + 1) {
                            it.add(&log, acked);
                            acked += 1;
                        } else {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let rotator = scope.spawn(|| {
            while !is_done() {
                let log = it.log();
                if rotations.load(Ordering::Relaxed) < ROTATIONS && rotate(&log).is_ok() {
                    rotations.fetch_add(1, Ordering::Relaxed);
                }
                compress_sealed(log.dir()).unwrap();
            }
        });
        let reader = scope.spawn(|| {
            while !is_done() {
                it.read().assert_sound();
            }
        });
        let follower = scope.spawn(|| follow(&it, is_done));
        let acked: usize = writers.into_iter().map(|w| w.join().unwrap()).sum();
        done.store(true, Ordering::Relaxed);
        rotator.join().unwrap();
        reader.join().unwrap();
        let found = it.read();
        found.assert_sound();
        let notes = found.kinds.iter().filter(|kind| *kind == "note").count();
        assert_eq!(notes, acked);
        assert_eq!(follower.join().unwrap(), found.seqs);
    });
}

/// Returns the numbers that a follower reads, until there are no new lines after `is_done`.
fn follow(it: &TestLog, is_done: impl Fn() -> bool) -> Vec<u64> {
    let dir = it.log().dir().try_clone().unwrap();
    let mut follower = Follower::new(FollowStart::Beginning);
    let mut seqs = Vec::new();
    loop {
        let last_round = is_done();
        let mut any = false;
        if let Some(mut update) = follower.poll(&dir, &|_| true).unwrap() {
            assert!(update.gaps.is_empty());
            while let Some(item) = update.reader.next_item().unwrap() {
                any = true;
                match item {
                    Item::Event(env, _) => seqs.push(env.seq),
                    other => panic!("{other:?}"),
                }
            }
            follower.mark_read(&update.reader);
        }
        if !any && last_round {
            return seqs;
        }
    }
}
