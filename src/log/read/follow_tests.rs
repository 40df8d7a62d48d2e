//! A follower and its cursors, with everything that may happen to a log in the meantime.

use std::fs;
use std::time::Duration;

use crate::log::format::envelope;
use crate::log::test_log::{TestLog, line_ends};
use crate::log::*;
use crate::volume::{RunId, layout};

/// Polls once and returns the gap and the numbers of the events.
fn poll(it: &TestLog, follower: &mut Follower) -> (Option<Gap>, Vec<u64>) {
    let dir = it.log().dir().try_clone().unwrap();
    let Some(mut update) = follower.poll(&dir, &|_| true).unwrap() else {
        return (None, Vec::new());
    };
    let mut seqs = Vec::new();
    while let Some(item) = update.reader.next_item().unwrap() {
        match item {
            Item::Event(env, _) => seqs.push(env.seq),
            other => panic!("{other:?}"),
        }
    }
    follower.mark_read(&update.reader);
    (update.gaps.pop(), seqs)
}

/// Returns the gap and the numbers after a cursor, which is converted to text and back.
fn after(it: &TestLog, cursor: &Cursor) -> (Option<Gap>, Vec<u64>) {
    let cursor = cursor.to_string().parse().unwrap();
    poll(it, &mut Follower::new(FollowStart::After(cursor)))
}

fn run() -> RunId {
    "r".parse().unwrap()
}

/// Returns the cursor after the last line.
fn cursor(it: &TestLog) -> Cursor {
    let mut follower = Follower::new(FollowStart::Beginning);
    poll(it, &mut follower);
    follower.cursor(&run(), RunEnd::Open).unwrap()
}

fn rotate(it: &TestLog) {
    let budget = Duration::from_secs(5);
    it.log()
        .rotate(RotationThreshold::default(), budget)
        .unwrap()
        .into_result()
        .unwrap();
}

fn compress(it: &TestLog) {
    assert!(!compress_sealed(it.log().dir()).unwrap().is_empty());
}

fn keep(it: &TestLog, n: usize) {
    let dropped = it.log().prune(PruneLimit::AllBut(n)).unwrap();
    assert!(!dropped.is_empty());
}

/// Returns the cursors after each line of a log with events 0 to 4 that has not been rotated
/// yet.
fn cursors(it: &TestLog) -> Vec<Cursor> {
    let whole = it.bytes();
    let cursors = line_ends(&whole)
        .into_iter()
        .map(|end| {
            it.set(&whole[..end]);
            cursor(it)
        })
        .collect();
    it.set(&whole);
    cursors
}

#[test]
fn cursor_continues_after_rename_and_compression() {
    let it = TestLog::with_notes(4);
    let cursors = cursors(&it);
    let check = |end: u64| {
        for (n, cursor) in (1..).zip(&cursors) {
            assert_eq!(after(&it, cursor), (None, (n..end).collect()), "behind {n}");
        }
    };
    check(5);
    rotate(&it);
    it.add(&it.log(), 6);
    check(7);
    compress(&it);
    check(7);
    rotate(&it);
    check(8);
    compress(&it);
    check(8);
}

#[test]
fn follower_continues_in_compressed_segment() {
    let it = TestLog::with_notes(2);
    let mut follower = Follower::new(FollowStart::Beginning);
    poll(&it, &mut follower);
    it.add(&it.log(), 3);
    rotate(&it);
    compress(&it);
    // The new segment may have the inode of the removed one by now.
    rotate_twice(&it);
    let end = it.read().seqs.len() as u64;
    assert_eq!(poll(&it, &mut follower), (None, (3..end).collect()));
    assert_eq!(poll(&it, &mut follower), (None, vec![]));
}

fn rotate_twice(it: &TestLog) {
    for n in 0..2 {
        it.add(&it.log(), n);
        rotate(it);
    }
    compress(it);
}

#[test]
fn pruned_segment_is_a_gap_only_if_unread() {
    let it = TestLog::with_notes(2);
    let read = cursor(&it);
    rotate(&it);
    keep(&it, 0);
    assert_eq!(after(&it, &read), (None, vec![3]));

    it.add(&it.log(), 4);
    rotate(&it);
    keep(&it, 0);
    let gap = Gap {
        from_seq: Some(3),
        to_seq: Some(4),
        why: GapReason::Dropped,
    };
    assert_eq!(after(&it, &read), (Some(gap), vec![5]));
}

#[test]
fn log_cut_before_cursor_is_a_gap() {
    let it = TestLog::with_notes(4);
    let cursors = cursors(&it);
    let whole = it.bytes();
    it.set(&whole[..line_ends(&whole)[2]]);
    assert_eq!(after(&it, &cursors[2]), (None, vec![]));
    let gap = Gap {
        from_seq: Some(5),
        to_seq: None,
        why: GapReason::Changed,
    };
    assert_eq!(after(&it, &cursors[4]), (Some(gap), vec![0, 1, 2]));
    // Other events were written in their place.
    (0..3).for_each(|n| it.add(&it.log(), 100 + n));
    assert_eq!(after(&it, &cursors[4]).0, Some(gap));
    assert_eq!(after(&it, &cursors[2]), (None, vec![3, 4, 5]));
}

#[test]
fn log_emptied_after_follower_is_no_gap() {
    let it = TestLog::with_notes(4);
    let log = it.log();
    it.add(&log, 5);
    let mut follower = Follower::new(FollowStart::Beginning);
    poll(&it, &mut follower);
    it.set(b"");
    it.add(&log, 6);
    // The writer also records which events it lost.
    assert_eq!(poll(&it, &mut follower), (None, vec![6, 7]));
}

#[test]
fn cursor_is_after_damage_and_before_partial_line() {
    let it = TestLog::with_notes(3);
    let mut bytes = it.bytes();
    let ends = line_ends(&bytes);
    bytes[ends[2] + 20] ^= 1;
    bytes.extend_from_slice(b"{\"v\":1,\"se");
    it.set(&bytes);
    let dir = it.log().dir().try_clone().unwrap();
    let mut follower = Follower::new(FollowStart::Beginning);
    let mut update = follower.poll(&dir, &|_| true).unwrap().unwrap();
    let mut items = 0;
    while update.reader.next_item().unwrap().is_some() {
        items += 1;
    }
    assert_eq!(items, 4);
    follower.mark_read(&update.reader);
    let cursor = follower.cursor(&run(), RunEnd::Open).unwrap();
    // The next number is that of the damaged line, or the one after it.
    assert_eq!(cursor.next_seq(), Some(4));
    it.add(&it.log(), 4);
    let (gap, seqs) = after(&it, &cursor);
    assert_eq!((gap, seqs), (None, vec![4, 5]));
}

#[test]
fn start_of_last_lines_is_a_position() {
    let it = TestLog::with_notes(3);
    let mut follower = Follower::new(FollowStart::Last(0));
    assert_eq!(poll(&it, &mut follower), (None, vec![]));
    let cursor = follower.cursor(&run(), RunEnd::Open).unwrap();
    rotate(&it);
    compress(&it);
    assert_eq!(after(&it, &cursor), (None, vec![4]));
    keep(&it, 0);
    assert_eq!(after(&it, &cursor), (None, vec![4]));
}

fn tombstone(id: &str, events: u64) -> Vec<u8> {
    let mut line = format!("{{\"v\":1,\"run_id\":\"r\",\"first_id\":\"{id}\",\"events\":{events}")
        .into_bytes();
    envelope::seal(&mut line, 0);
    line
}

#[test]
fn removed_run_lacks_unread_events() {
    let it = TestLog::with_notes(3);
    let cursors = cursors(&it);
    let var = it.volume.path().join(layout::VAR);
    let mut removed = RemovedRuns::default();
    removed.update(&it.volume).unwrap();
    let mut gap_after = |at: usize| removed.gap_after(&it.volume, &cursors[at]).unwrap();
    assert!(gap_after(3).is_some());
    let mut lines = tombstone(&it.read().ids[0], 4);
    lines.extend_from_slice(b"{\"run_id\":\"r\",\"ev");
    fs::write(var.join(layout::RETIRED), lines).unwrap();
    removed.update(&it.volume).unwrap();
    let mut gap_after = |at: usize| removed.gap_after(&it.volume, &cursors[at]).unwrap();
    assert_eq!(gap_after(3), None);
    let gap = gap_after(0).unwrap();
    assert_eq!((gap.from_seq, gap.to_seq), (Some(1), Some(3)));
}

#[test]
fn cursor_does_not_match_later_run_with_same_id() {
    let it = TestLog::with_notes(3);
    let cursor = cursor(&it);
    let mut follower = Follower::new(FollowStart::Beginning);
    poll(&it, &mut follower);
    let first_id = it.read().ids[0].clone();
    fs::remove_dir_all(it.path("")).unwrap();
    let log = it.log();
    for n in 0..6 {
        it.add(&log, n);
    }
    assert_eq!(
        cursor.first_id().unwrap().to_string().to_lowercase(),
        first_id
    );
    for (gap, seqs) in [after(&it, &cursor), poll(&it, &mut follower)] {
        let gap = gap.unwrap();
        assert_eq!((gap.from_seq, gap.why), (Some(4), GapReason::Changed));
        assert_eq!(seqs, [0, 1, 2, 3, 4, 5]);
    }
    let later = follower.cursor(&run(), RunEnd::Open).unwrap();
    assert_ne!(later.first_id(), cursor.first_id());
    assert_eq!(poll(&it, &mut follower), (None, vec![]));
    // The tombstone of the later run says nothing about the first one.
    let lines = [tombstone(&first_id, 20), tombstone(&it.read().ids[0], 3)];
    let retired = it.volume.path().join(layout::VAR).join(layout::RETIRED);
    fs::write(retired, lines.concat()).unwrap();
    let mut removed = RemovedRuns::default();
    removed.update(&it.volume).unwrap();
    let gap = removed.gap_after(&it.volume, &cursor).unwrap().unwrap();
    assert_eq!((gap.from_seq, gap.to_seq), (Some(4), Some(19)));
    assert_eq!(removed.gap_after(&it.volume, &later).unwrap(), None);
    // The tombstones are found even if reading starts after them.
    let mut removed = RemovedRuns::from_now_on(&it.volume).unwrap();
    let gap = removed.gap_after(&it.volume, &cursor).unwrap().unwrap();
    assert_eq!((gap.from_seq, gap.to_seq), (Some(4), Some(19)));
}
