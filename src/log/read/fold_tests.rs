use std::fs;

use super::damage::DamageList;
use super::fold::{Fold, fold};
use super::reader::{Item, Reader};
use super::summary::{JobScope, is_closed, read_summary};
use crate::log::state::run_state::RunState;
use crate::log::test_log::{TestLog, line_ends, written};
use crate::log::{Close, Durability, EventType, NotRotated, Rotation, RotationThreshold};

const SEALED: &str = "events-00000000000000000000.jsonl";

/// Creates a run with a completed and a failed job in a sealed segment, and one more job in the
/// active segment.
fn rotated() -> TestLog {
    let it = TestLog::with_notes(1);
    let log = it.log();
    let jobs = [
        it.submitted("a"),
        it.ended("a", None),
        it.submitted("b"),
        it.ended("b", Some("no")),
    ];
    log.append(&jobs, Durability::Process).unwrap();
    let budget = EventType::LogRotated.lock_budget();
    log.rotate(RotationThreshold::default(), budget).unwrap();
    log.append(&[it.submitted("c")], Durability::Process)
        .unwrap();
    it
}

/// Folds all segments from the first one, like `replay --state`.
fn fold_all(it: &TestLog) -> Fold {
    let mut reader = Reader::open(it.log().dir()).unwrap();
    let mut fold = Fold::default();
    while let Some(item) = reader.next_item().unwrap() {
        fold.apply(&item);
    }
    fold
}

fn states(it: &TestLog) -> [RunState; 3] {
    let log = it.log();
    let summary = read_summary(log.dir(), JobScope::All).unwrap();
    [fold(log.dir()).unwrap(), summary.state, fold_all(it).state]
}

#[test]
fn shorter_sealed_segment_keeps_checkpoint() {
    let it = rotated();
    let [whole, ..] = states(&it);
    assert_eq!((whole.jobs_total, whole.jobs_failed), (3, 1));
    let sealed = fs::read(it.path(SEALED)).unwrap();
    let ends = line_ends(&sealed);
    for len in [0, 7, ends[1], ends[3] + 9, ends[4], sealed.len() - 1] {
        fs::write(it.path(SEALED), &sealed[..len]).unwrap();
        assert_eq!(states(&it), [(); 3].map(|()| whole.clone()), "cut at {len}");
    }
    fs::remove_file(it.path(SEALED)).unwrap();
    assert_eq!(states(&it), [(); 3].map(|()| whole.clone()));
}

#[test]
fn longer_sealed_segment_adds_to_checkpoint() {
    let it = rotated();
    let sealed = fs::read(it.path(SEALED)).unwrap();
    let line = br#"{"type":"node.started","id":"x","ts":"2026-04-15T00:00:00Z","run_id":"r","node_id":"late","kind":"bash"}"#;
    fs::write(it.path(SEALED), [&sealed[..], line, b"\n"].concat()).unwrap();
    for state in states(&it) {
        assert!(state.job("late").is_some());
        assert_eq!(state.jobs_total, 4);
    }
}

#[test]
fn missing_event_makes_state_uncertain() {
    let it = TestLog::with_notes(3);
    let whole = it.bytes();
    let ends = line_ends(&whole);
    let mut garbage = whole.clone();
    garbage.splice(ends[1]..ends[1], *b"garbage\n");
    let mut hurt = whole.clone();
    hurt[ends[1] + 40] ^= 1;
    let cut = [&whole[..ends[1]], &whole[ends[2]..]].concat();
    let copied = [&whole[..], &whole[ends[1]..ends[2]]].concat();
    let trailing = [&whole[..], b"garbage\n"].concat();
    let headless = whole[ends[0]..].to_vec();
    for (bytes, is_uncertain) in [
        (&whole, false),
        (&garbage, false),
        (&copied, false),
        (&hurt, true),
        (&cut, true),
        (&trailing, true),
        (&headless, true),
    ] {
        it.set(bytes);
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(fold_all(&it).is_uncertain(), is_uncertain, "{text}");
        let summary = read_summary(it.log().dir(), JobScope::All).unwrap();
        assert_eq!(summary.is_uncertain, is_uncertain, "{text}");
        assert_eq!(summary.damage.is_empty(), bytes == &whole, "{text}");
    }
}

#[test]
fn checkpoint_over_damage_leaves_state_uncertain() {
    let budget = EventType::LogRotated.lock_budget();
    let it = TestLog::with_notes(3);
    let whole = it.bytes();
    let ends = line_ends(&whole);
    let mut hurt = whole.clone();
    hurt[ends[1] + 40] ^= 1;
    it.set(&hurt);
    let log = it.log();
    let rotate = || log.rotate(RotationThreshold::default(), budget).unwrap();
    assert!(matches!(rotate(), Rotation::Sealed(_)));
    assert!(fold_all(&it).is_uncertain());
    // The record alone is not worth sealing.
    assert_eq!(rotate(), Rotation::Skipped(NotRotated::Fresh));
    it.add(&log, 4);
    assert!(matches!(rotate(), Rotation::Sealed(_)));
    assert!(fold_all(&it).is_uncertain());
    let appended = it.close(&[], Close::IfCertain).unwrap();
    assert_eq!((appended.closed, appended.uncertain), (false, true));

    // Damage before a checkpoint that was written without it hides nothing.
    let it = TestLog::with_notes(3);
    let log = it.log();
    log.rotate(RotationThreshold::default(), budget).unwrap();
    let sealed = it.path("events-00000000000000000000.jsonl");
    fs::write(&sealed, &hurt).unwrap();
    assert!(!fold_all(&it).is_uncertain());
    assert!(it.close(&[], Close::IfCertain).unwrap().closed);
}

#[test]
fn log_that_starts_in_the_middle_has_a_gap() {
    let it = TestLog::with_notes(3);
    let whole = it.bytes();
    let ends = line_ends(&whole);
    it.set(&whole[ends[1]..]);
    let [gap] = &it.read().damage[..] else {
        panic!("no gap");
    };
    assert_eq!((gap.line, gap.offset), (1, 0));
    // The same is true if the first segment is named after its first event.
    fs::rename(it.active(), it.path("events-00000000000000000002.jsonl")).unwrap();
    it.set(b"");
    assert_eq!(it.read().damage.len(), 1);
}

#[test]
fn closed_log_without_start_is_folded() {
    let it = TestLog::with_notes(3);
    it.close(&[], Close::Now).unwrap();
    let dir = it.log().dir().try_clone().unwrap();
    let summary = |scope| read_summary(&dir, scope).unwrap();
    assert!(summary(JobScope::All).damage.is_empty());
    let whole = it.bytes();
    it.set(&whole[line_ends(&whole)[1]..]);
    assert_eq!(summary(JobScope::Summarized).damage.count(), 1);
    assert!(summary(JobScope::Summarized).is_uncertain);
}

#[test]
fn last_line_without_newline_is_not_there() {
    let it = TestLog::with_notes(1);
    it.close(&[], Close::Now).unwrap();
    let dir = it.log().dir().try_clone().unwrap();
    let summary = || read_summary(&dir, JobScope::All).unwrap();
    let whole = it.bytes();
    assert!(is_closed(&dir).unwrap());
    it.set(&[&whole[..], b"{\"v\":1,"].concat());
    assert!(summary().state.is_closed());
    it.set(whole.strip_suffix(b"\n").unwrap());
    assert!(!summary().state.is_closed() && !is_closed(&dir).unwrap());
    assert_eq!((summary().events, it.read().seqs.len()), (2, 2));
}

#[test]
fn blank_lines_take_bounded_memory() {
    let it = TestLog::with_notes(1);
    it.set(&[it.bytes(), vec![b'\n'; 50_000]].concat());
    let summary = read_summary(it.log().dir(), JobScope::All).unwrap();
    assert_eq!(summary.damage.count(), 50_000);
    assert_eq!(summary.damage.first().len(), 1_000);
}

#[test]
fn damage_after_position_has_absolute_line_number() {
    let it = TestLog::with_notes(4);
    let mut bytes = it.bytes();
    let ends = line_ends(&bytes);
    bytes[ends[2] + 40] ^= 1;
    bytes[ends[3] + 40] ^= 1;
    bytes.extend(written(5, r#""type":"note","run_id":"r""#));
    it.set(&bytes);
    let segments = crate::log::segment::segment_set::open_segments(it.log().dir()).unwrap();
    let mut reader = Reader::starting_at(segments, ends[0] as u64, None);
    let mut damage = DamageList::default();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Damage(one) = item {
            damage.push(one);
        }
    }
    let lines: Vec<_> = damage.first().iter().map(|one| one.line).collect();
    assert_eq!(lines, [4, 5]);
}
