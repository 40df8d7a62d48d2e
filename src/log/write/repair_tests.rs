//! Torn ends of every origin.

use std::fs;

use crate::log::test_log::{TestLog, line_ends};
use crate::log::*;
use crate::volume::layout;

#[test]
fn log_cut_at_any_byte_keeps_whole_events() {
    let whole = TestLog::with_notes(3).bytes();
    for cut in 0..whole.len() {
        let it = TestLog::new();
        let log = it.log();
        it.set(&whole[..cut]);
        it.add(&log, 9);

        let ends = line_ends(&whole);
        let kept = ends.iter().take_while(|end| **end <= cut).count();
        let start = kept.checked_sub(1).map_or(0, |at| ends[at]);
        let found = it.read();
        found.assert_sound();
        if ends.contains(&(cut + 1)) {
            // Only the `\n` was missing.
            assert_eq!(it.bytes()[..=cut], whole[..=cut]);
            assert_eq!(found.kinds[kept + 1..], ["note"], "cut at {cut}");
            assert!(it.quarantined().is_empty());
            continue;
        }
        assert_eq!(it.bytes()[..start], whole[..start], "cut at {cut}");
        if cut == start {
            assert_eq!(found.kinds[kept..], ["note"]);
            continue;
        }
        assert_eq!(found.kinds[kept..], ["log_repaired", "note"]);
        assert_eq!(it.quarantined(), [&whole[start..cut]]);
        assert!(
            it.path(layout::QUARANTINE)
                .join(format!("{:020}@{start}.0", 0))
                .exists()
        );
    }
}

#[test]
fn nul_tail_is_quarantined() {
    for nuls in [1, 4096, 17 << 20] {
        let it = TestLog::with_notes(1);
        let whole = it.bytes();
        let log = it.log();
        it.set(&[&whole[..], &vec![0; nuls]].concat());
        it.add(&log, 1);
        it.read().assert_sound();
        assert_eq!(it.quarantined()[0].len(), nuls);
    }
}

#[test]
fn fragment_is_ended_without_quarantine() {
    let it = TestLog::with_notes(1);
    fs::write(it.path(layout::QUARANTINE), "in the way").unwrap();
    let torn = [&it.bytes()[..], b"{\"v\":1,\"se"].concat();
    it.set(&torn);
    it.add(&it.log(), 1);
    assert!(it.bytes().starts_with(&[&torn[..], b"\n"].concat()));
    let found = it.read();
    assert_eq!(found.kinds, ["run_opened", "note", "log_repaired", "note"]);
    assert_eq!((found.seqs, found.damage.len()), (vec![0, 1, 3, 4], 1));
}

#[test]
fn quarantine_names_are_unique() {
    let it = TestLog::with_notes(0);
    let start = it.bytes();
    for n in 0..3 {
        it.set(&[&start[..], format!("torn {n}").as_bytes()].concat());
        it.add(&it.log(), n);
    }
    let mut kept = it.quarantined();
    kept.sort();
    assert_eq!(kept, [b"torn 0", b"torn 1", b"torn 2"]);
}

#[test]
fn repair_is_recorded_if_append_is_refused() {
    let it = TestLog::with_notes(1);
    let torn = [&it.bytes()[..], b"torn"].concat();
    it.set(&torn);
    let budget = EventType::Note.lock_budget();
    let refused = it.log().append_with(Durability::Process, budget, |view| {
        assert!(!view.is_new);
        Err(StorageError::NotAFile { path: "x".into() }.into())
    });
    assert!(matches!(
        refused,
        Err(AppendError::NotWritten(StorageError::NotAFile { .. }))
    ));
    it.read().assert_sound();
    assert_eq!(it.read().kinds, ["run_opened", "note", "log_repaired"]);
}

#[test]
fn run_with_torn_first_line_is_not_opened() {
    let it = TestLog::new();
    let log = it.log();
    it.set(b"{\"v\":1,\"seq\":0,");
    let is_new = || {
        let mut is_new = None;
        let budget = EventType::Note.lock_budget();
        let made = log.append_with(Durability::Process, budget, |view| {
            is_new = Some(view.is_new);
            let drafts = Vec::new();
            Ok(Batch {
                drafts,
                close: Close::No,
            })
        });
        made.unwrap();
        is_new.unwrap()
    };
    assert!(is_new() && is_new());
    it.add(&log, 0);
    assert!(!is_new());
    assert_eq!(it.read().kinds, ["log_repaired", "note"]);
}

#[test]
fn foreign_run_is_untouched_unless_allowed() {
    let it = TestLog::new();
    let log = it.log();
    let omne =
        br#"{"type":"pipe.started","id":"x","ts":"2026-04-15T00:00:00Z","run_id":"r","pipe":"p"}"#;
    let torn = [&omne[..], b"\n{\"type\":\"node"].concat();
    it.set(&torn);
    log.append(&[it.note(0)], Durability::Process).unwrap_err();
    assert_eq!(it.bytes(), torn);
    let log = it.log().foreign_policy(ForeignPolicy::Accept);
    log.append(&[it.note(0)], Durability::Process).unwrap();
    let found = it.read();
    found.assert_sound();
    assert_eq!(
        (found.foreign, &found.kinds[..]),
        (1, &["log_repaired".to_owned(), "note".to_owned()][..])
    );
}

#[test]
fn newer_format_is_not_written() {
    let newer = |seq: u64| {
        let line = format!("{{\"v\":2,\"seq\":{seq},\"new\":\"shape\"");
        let crc = crc32c::crc32c(line.as_bytes());
        line + &format!(",\"crc\":\"{crc:08x}\"}}")
    };
    for end in ["\n", ""] {
        let it = TestLog::with_notes(1);
        let held = it.log();
        it.add(&held, 1);
        let bytes = [&it.bytes()[..], newer(3).as_bytes(), end.as_bytes()].concat();
        it.set(&bytes);
        for log in [held, it.log()] {
            let refused = log.append(&[it.note(2)], Durability::Process);
            assert!(
                matches!(
                    refused,
                    Err(AppendError::NotWritten(StorageError::NewerFormat { .. }))
                ),
                "{refused:?}"
            );
            assert_eq!(it.bytes(), bytes);
        }
    }
}
