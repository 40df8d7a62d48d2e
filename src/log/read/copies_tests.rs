//! Copied, damaged and foreign lines: no sequence number is ever used twice.

use crate::log::format::envelope::write_line;
use crate::log::test_log::{ReadBack, TestLog, line, line_ends};
use crate::log::*;

const OMNE: &[u8] =
    b"{\"type\":\"node.started\",\"id\":\"x\",\"ts\":\"2026-04-15T00:00:00Z\",\"run_id\":\"r\",\"node_id\":\"n\"}\n";

/// Writes five events, then `tail`. Then a writer that knew the log before and one that did not
/// each append one more event, in both orders. Returns what a reader finds.
fn after(tail: impl Fn(&[u8]) -> Vec<u8>) -> [ReadBack; 2] {
    [true, false].map(|held_first| {
        let it = TestLog::with_notes(3);
        let held = it.log();
        it.add(&held, 3);
        let bytes = it.bytes();
        it.set(&[&bytes[..], &tail(&bytes)].concat());
        let mut writers = [held, it.log()];
        if !held_first {
            writers.reverse();
        }
        for log in &writers {
            it.add(log, 4);
        }
        it.read()
    })
}

#[test]
fn copied_lines_never_reuse_a_number() {
    let copies: [&[usize]; 6] = [&[4], &[4, 4], &[0], &[3, 4], &[2, 3], &[0, 1, 2]];
    for copied in copies {
        let all = after(|bytes| {
            copied
                .iter()
                .flat_map(|n| line(bytes, *n).to_vec())
                .collect()
        });
        for found in all {
            assert_eq!(found.seqs, [0, 1, 2, 3, 4, 5, 6], "{copied:?}");
            found.assert_rising();
            assert_eq!(found.reasons(), vec![DamageReason::Repeated; copied.len()]);
        }
    }
}

#[test]
fn damaged_whole_lines_count_as_numbers() {
    for found in after(|_| b"garbage\n\n{\"v\":1}\n".to_vec()) {
        assert_eq!(found.seqs, [0, 1, 2, 3, 4, 8, 9]);
        found.assert_rising();
        let reasons = [
            DamageReason::Unrecognized,
            DamageReason::Blank,
            DamageReason::NoChecksum,
        ];
        assert_eq!(found.reasons(), reasons);
    }
}

#[test]
fn garbage_log_accepts_events() {
    let it = TestLog::new();
    let log = it.log();
    it.set(b"x\ny\n");
    it.add(&log, 0);
    it.add(&it.log(), 1);
    assert_eq!(it.read().seqs, [2, 3]);
}

#[test]
fn lines_of_other_programs_take_no_number() {
    for found in after(|_| [OMNE, OMNE].concat()) {
        found.assert_sound();
        assert_eq!((found.seqs.len(), found.foreign), (7, 2));
    }
}

#[test]
fn gap_is_reported_and_next_line_is_read() {
    let it = TestLog::with_notes(4);
    let bytes = it.bytes();
    let ends = line_ends(&bytes);
    it.set(&[&bytes[..ends[1]], &bytes[ends[2]..]].concat());
    it.add(&it.log(), 9);
    let found = it.read();
    assert_eq!(found.seqs, [0, 1, 3, 4, 5]);
    let [gap] = &found.damage[..] else {
        panic!("{:?}", found.damage)
    };
    assert_eq!(
        (gap.line, gap.offset, gap.reason),
        (3, ends[1] as u64, DamageReason::Gap)
    );
    assert_eq!(gap.file, it.active());
}

#[test]
fn ids_increase_after_log_was_emptied() {
    let it = TestLog::with_notes(0);
    let log = it.log();
    it.add(&log, 0);
    let before = it.read().ids;
    it.set(b"");
    it.add(&log, 1);
    assert!(it.read().ids[0] > before[1]);
}

#[test]
fn oversized_number_is_damage() {
    let mut line = Vec::new();
    let ts = "2026-11-21T21:49:00.123456Z";
    write_line(&mut line, u64::MAX, fresh_ulid(), ts, b"\"type\":\"note\"");
    for found in after(|_| line.clone()) {
        assert_eq!(found.reasons(), [DamageReason::BadFrame]);
    }
}
