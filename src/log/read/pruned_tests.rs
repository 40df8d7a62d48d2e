//! Tests of readers whose segments are pruned between their listing and their turn.

use std::fs;

use super::fold::Fold;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::segment::segment_set::open_segments;
use crate::log::test_log::TestLog;
use crate::log::verify::verify;
use crate::log::*;
use crate::volume::layout;

/// More segments than a reader holds open.
const SEGMENTS: u64 = 14;
/// The first event of the oldest segment that a reader holds open.
const FIRST_HELD: u64 = 2 * (SEGMENTS - 8);
/// The first event of the oldest segment that pruning keeps.
const FIRST_KEPT: u64 = 2 * (SEGMENTS - 3);

/// Creates a run in which each segment has two events. The first one of all but the oldest is a
/// checkpoint.
fn rotated() -> (TestLog, RunLog) {
    let it = TestLog::with_notes(1);
    let log = it.log();
    for n in 1..SEGMENTS {
        let rotation = log
            .rotate(RotationThreshold::default(), LOCK_TIMEOUT)
            .unwrap();
        assert!(matches!(rotation, Rotation::Sealed(_)), "{rotation:?}");
        it.add(&log, n as usize);
    }
    (it, log)
}

fn prune(log: &RunLog) {
    assert!(!log.prune(PruneLimit::AllBut(2)).unwrap().is_empty());
}

#[test]
fn reader_reports_pruned_segments_as_dropped() {
    let (_it, log) = rotated();
    let mut reader = Reader::open(log.dir()).unwrap();
    let mut fold = Fold::default();
    fold.apply(&reader.next_item().unwrap().unwrap());
    prune(&log);
    let mut seqs = Vec::new();
    let mut dropped = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        fold.apply(&item);
        match item {
            Item::Event(env, _) => seqs.push(env.seq),
            Item::Dropped(gap) => dropped.push(gap),
            Item::Foreign(..) | Item::Damage(_) => panic!("{item:?}"),
        }
    }
    let gap = Gap {
        from_seq: Some(2),
        to_seq: Some(FIRST_HELD - 1),
        why: GapReason::Dropped,
    };
    assert_eq!(dropped, [gap]);
    assert!(
        seqs.into_iter()
            .eq([1].into_iter().chain(FIRST_HELD..2 * SEGMENTS))
    );
    assert!(!fold.is_uncertain());
    assert_eq!(fold.state, super::fold::fold(log.dir()).unwrap());
}

#[test]
fn segments_pruned_before_first_item_are_no_gap() {
    let (_it, log) = rotated();
    let mut reader = Reader::open(log.dir()).unwrap();
    prune(&log);
    let first = reader.next_item().unwrap();
    let Some(Item::Event(env, _)) = first else {
        panic!("{first:?}");
    };
    assert_eq!(env.seq, FIRST_HELD);
}

#[test]
fn segment_lost_after_older_one_is_damage() {
    let (it, log) = rotated();
    let mut reader = Reader::open(log.dir()).unwrap();
    fs::remove_file(it.path(&layout::sealed(2))).unwrap();
    let mut damage = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Damage(one) => damage.push(one.reason),
            Item::Event(..) => {}
            Item::Foreign(..) | Item::Dropped(_) => panic!("{item:?}"),
        }
    }
    assert_eq!(damage, [DamageReason::Gap]);
}

#[test]
fn position_in_pruned_segment_is_followed_by_gap() {
    let (_it, log) = rotated();
    let mut reader = Reader::open(log.dir()).unwrap();
    reader.next_item().unwrap();
    let position = reader.position().unwrap();
    let segments = open_segments(log.dir()).unwrap();
    prune(&log);
    let (mut reader, gap) = Reader::resume(&position, segments);
    assert_eq!(
        gap.map(|gap| (gap.from_seq, gap.to_seq, gap.why)),
        Some((Some(1), Some(FIRST_HELD - 1), GapReason::Dropped))
    );
    assert!(matches!(reader.next_item().unwrap(), Some(Item::Event(..))));
}

#[test]
fn verification_starts_again_after_pruning() {
    let (it, log) = rotated();
    // The first fault is reported while the oldest segment is read.
    let oldest = it.path(&layout::sealed(0));
    let mut bytes = fs::read(&oldest).unwrap();
    bytes[8] ^= 1;
    fs::write(&oldest, bytes).unwrap();
    let mut faults = Vec::new();
    let report = verify(log.dir(), |fault| {
        if faults.is_empty() {
            prune(&log);
        }
        faults.push(fault.file);
        Ok::<_, StorageError>(())
    });
    assert_eq!(faults, [oldest]);
    let report = report.unwrap();
    assert_eq!((report.faults, report.segments), (1, 3));
    assert_eq!(report.first_seq, Some(FIRST_KEPT));
}
