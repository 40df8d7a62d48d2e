//! What closing a run rejects, allows and leaves behind.

use crate::log::format::payload::{JobEnded, RollbackStarted};
use crate::log::test_log::TestLog;
use crate::log::*;
use crate::volume::layout;

fn closed_with_one_job() -> TestLog {
    let it = TestLog::with_notes(0);
    let drafts = [it.submitted("a"), it.ended("a", Some("exit 3"))];
    assert!(it.close(&drafts, Close::Now).unwrap().closed);
    it
}

#[test]
fn unfinished_job_keeps_run_open() {
    let it = TestLog::with_notes(0);
    let drafts = [it.submitted("a"), it.submitted("b"), it.ended("a", None)];
    let refused = it.close(&drafts, Close::Now);
    assert!(
        matches!(refused, Err(AppendError::Refused(Refusal::Unfinished { jobs, .. })) if jobs == ["b"])
    );
    assert_eq!(it.read().seqs, [0]);

    let appended = it.close(&drafts, Close::IfAllEnded).unwrap();
    assert_eq!(
        (appended.closed, appended.unfinished),
        (false, vec!["b".to_owned()])
    );
    assert!(
        it.close(&[it.ended("b", None)], Close::IfAllEnded)
            .unwrap()
            .closed
    );
    it.read().assert_sound();
}

#[test]
fn closed_run_rejects_events() {
    let it = closed_with_one_job();
    let before = it.bytes();
    for (draft, close) in [
        (it.note(0), Close::No),
        (it.submitted("b"), Close::No),
        (
            it.of_job(
                EventType::JobRollbackStarted,
                "a",
                &RollbackStarted::default(),
            ),
            Close::Now,
        ),
    ] {
        let refused = it.close(&[draft], close);
        assert!(
            matches!(refused, Err(AppendError::Refused(Refusal::Closed { .. }))),
            "{refused:?}"
        );
    }
    assert_eq!(it.bytes(), before);
}

#[test]
fn last_line_of_closed_run_has_state() {
    let it = closed_with_one_job();
    let stage = || it.read().last()["summary"]["jobs"][0]["stage"].clone();
    assert_eq!(stage(), "failed");

    let started = it.of_job(
        EventType::JobRollbackStarted,
        "a",
        &RollbackStarted::default(),
    );
    it.log().append(&[started], Durability::Process).unwrap();
    assert_eq!(
        it.read().last()["summary"]["jobs"][0]["rollback"]["started"],
        true
    );

    it.set(&[&it.bytes()[..], b"torn"].concat());
    it.log()
        .append(&[it.note(0)], Durability::Process)
        .unwrap_err();
    assert_eq!(it.read().last()["type"], "log_repaired");
    assert_eq!(stage(), "failed");

    let ended = it.of_job(EventType::JobRolledBack, "a", &JobEnded::default());
    it.log().append(&[ended], Durability::Process).unwrap();
    assert_eq!(stage(), "rolled_back");
    it.read().assert_sound();
    assert!(fold(it.log().dir()).unwrap().is_closed());
}

#[test]
fn summary_of_draft_is_kept() {
    let it = closed_with_one_job();
    let own = serde_json::json!({"command": "x", "summary": {"own": true}});
    let started = it.of_job(EventType::JobRollbackStarted, "a", &own);
    it.log().append(&[started], Durability::Process).unwrap();
    let found = it.read();
    assert_eq!(found.lines.last().unwrap().matches("summary").count(), 1);
    assert_eq!(found.last()["summary"]["own"], true);
}

#[test]
fn summary_of_largest_run_is_short() {
    let it = TestLog::with_notes(0);
    let ends = |n: usize| {
        [
            it.submitted(&format!("j{n}")),
            it.ended(&format!("j{n}"), Some("x")),
        ]
    };
    let drafts: Vec<Draft> = (0..MAX_JOBS).flat_map(ends).collect();
    it.log().append(&drafts, Durability::Process).unwrap();
    it.close(&[], Close::Now).unwrap();
    let found = it.read();
    let summary = &found.last()["summary"];
    assert!(summary.to_string().len() <= 32 << 10);
    assert_eq!(summary["jobs_total"], MAX_JOBS);
    assert_eq!(summary["jobs_failed"], MAX_JOBS);
    assert_eq!(summary["jobs_truncated"], true);
    assert!(summary["jobs"].as_array().unwrap().len() > 50);
}

fn blocks(it: &TestLog) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(it.active()).unwrap().blocks() * 512
}

#[test]
fn shrunk_file_is_preallocated_again() {
    let it = TestLog::with_notes(0);
    let log = it.log();
    it.add(&log, 0);
    let (reserved, bytes) = (blocks(&it), it.bytes());
    for left in [bytes.len() - 9, 0] {
        it.set(&bytes[..left]);
        it.add(&log, 1);
        assert!(blocks(&it) >= reserved);
    }
}

#[test]
fn closing_releases_reserved_blocks() {
    let open = TestLog::with_notes(1);
    let reserved = blocks(&open);
    assert!(blocks(&closed_with_one_job()) <= reserved.min(16 << 10));
}

#[test]
fn closed_run_without_active_segment_stays_closed() {
    let it = closed_with_one_job();
    std::fs::rename(it.active(), it.path(&layout::sealed(0))).unwrap();
    let refused = it.log().append(&[it.note(0)], Durability::Process);
    assert!(
        matches!(refused, Err(AppendError::Refused(Refusal::Closed { .. }))),
        "{refused:?}"
    );
    let last = it.read().last();
    assert_eq!(
        (&last["type"], &last["summary"]["jobs_failed"]),
        (&"log_rotated".into(), &1.into())
    );
}
