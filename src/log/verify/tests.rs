use std::fs;

use serde_json::json;
use ulid::Ulid;

use crate::log::error::StorageError;
use crate::log::format::envelope::write_line;
use crate::log::format::event_type::{Durability, EventType};
use crate::log::lock::file_lock;
use crate::log::test_log::{TestLog, gz, line, line_ends};
use crate::log::verify::fault::FaultKind;
use crate::log::verify::*;
use crate::log::write::batch::Close;
use crate::log::write::draft::Draft;
use crate::log::write::rotation_policy::RotationThreshold;
use crate::log::write::run_log::RunLog;
use crate::volume::layout;

/// Returns the kind and the line of each fault of the run.
fn faults(it: &TestLog) -> Vec<(FaultKind, Option<u64>)> {
    all(it).0.iter().map(|f| (f.kind, f.line)).collect()
}

fn all(it: &TestLog) -> (Vec<Fault>, VerifyReport) {
    let dir = it.log().dir().try_clone().unwrap();
    let mut faults = Vec::new();
    let verified = verify(&dir, |fault| -> Result<(), StorageError> {
        faults.push(fault);
        Ok(())
    });
    (faults, verified.unwrap())
}

fn started(it: &TestLog, job: &str, attempt: u32) -> Draft {
    let data = json!({"attempt": attempt, "pid": 1});
    it.of_job(EventType::JobStarted, job, &data)
}

fn ended(it: &TestLog, kind: EventType, data: impl serde::Serialize) -> Draft {
    it.of_job(kind, "j", &data)
}

/// Returns a line with an id above all ids that a writer assigns today.
fn written_at(seq: u64, body: &str) -> Vec<u8> {
    let mut line = Vec::new();
    let id = Ulid::from_parts((1 << 47) + seq, 42);
    let ts = "2026-11-21T21:49:00.123456Z";
    write_line(&mut line, seq, id, ts, body.as_bytes());
    line
}

/// Creates a run with one job that has started.
fn with_started() -> (TestLog, RunLog) {
    let it = TestLog::with_notes(0);
    let log = it.log();
    let validated = it.of_job(EventType::JobValidated, "j", &json!({"program": "/x"}));
    let drafts = [it.submitted("j"), validated, started(&it, "j", 1)];
    log.append(&drafts, Durability::Process).unwrap();
    (it, log)
}

#[test]
fn sound_run_has_no_faults() {
    let (it, log) = with_started();
    let error = json!({"kind": "exit", "message": "m"});
    let failed = json!({"attempt": 1, "error": error, "retry_in_ms": 5});
    let drafts = [
        ended(&it, EventType::JobFailed, failed),
        started(&it, "j", 2),
        ended(
            &it,
            EventType::JobFailed,
            json!({"attempt": 2, "error": error}),
        ),
        ended(
            &it,
            EventType::JobRollbackStarted,
            json!({"command": "undo"}),
        ),
        ended(&it, EventType::JobRolledBack, json!({"exit_code": 0})),
    ];
    log.append(&drafts, Durability::Process).unwrap();
    it.close(&[], Close::Now).unwrap();
    let (faults, verified) = all(&it);
    assert_eq!(faults, []);
    assert_eq!(
        (verified.events, verified.jobs, verified.segments),
        (10, 1, 1)
    );
    assert!(!verified.in_flight);
}

type MakeDraft = fn(&TestLog) -> Draft;

#[test]
fn illegal_stage_order_is_reported() {
    let error = json!({"kind": "exit", "message": "m"});
    let cases: [(&str, MakeDraft); 8] = [
        ("it was submitted before", |it| it.submitted("j")),
        ("job_validated may not follow started", |it| {
            ended(it, EventType::JobValidated, json!({}))
        }),
        ("job_started may not follow started", |it| {
            started(it, "j", 2)
        }),
        ("job_completed without job_submitted", |it| {
            it.ended("other", None)
        }),
        ("job_rollback_started may not follow started", |it| {
            ended(it, EventType::JobRollbackStarted, json!({"command": "x"}))
        }),
        ("job_rolled_back without job_rollback_started", |it| {
            ended(it, EventType::JobRolledBack, json!({}))
        }),
        ("the run was opened before", |it| {
            Draft::with_type(EventType::RunOpened, &it.run, None, &json!({"name": "x"})).unwrap()
        }),
        ("but job j has no end", |it| {
            let summary = json!({"summary": {}});
            Draft::with_type(EventType::RunClosed, &it.run, None, &summary).unwrap()
        }),
    ];
    for (message, draft) in cases {
        let (it, log) = with_started();
        log.append(&[draft(&it)], Durability::Process).unwrap();
        let (faults, _) = all(&it);
        assert_eq!(
            faults[0].kind,
            FaultKind::StageOrder,
            "{message}: {faults:?}"
        );
        assert!(faults[0].message.ends_with(message), "{faults:?}");
        assert_eq!(faults[0].line, Some(5));
    }
    let (it, log) = with_started();
    let failed = ended(&it, EventType::JobFailed, json!({ "error": error }));
    let again = ended(&it, EventType::JobCompleted, json!({}));
    log.append(&[failed, again], Durability::Process).unwrap();
    assert_eq!(faults(&it), [(FaultKind::StageOrder, Some(6))]);
}

#[test]
fn fields_of_another_type_are_reported() {
    let (it, log) = with_started();
    let drafts = [
        ended(&it, EventType::JobFailed, json!({"exit_code": 1})),
        Draft::with_type(EventType::RunClosed, &it.run, None, &json!({})).unwrap(),
    ];
    log.append(&drafts, Durability::Process).unwrap();
    assert_eq!(
        faults(&it),
        [(FaultKind::Fields, Some(5)), (FaultKind::Fields, Some(6))]
    );
}

#[test]
fn matching_checksum_over_no_json_is_forged() {
    let (it, _log) = with_started();
    let forged = [
        r#""type":"note","run_id":"r","name":"#,
        r#""type":"note","run_id":"r"} {"#,
        r#""type":"run_closed","run_id":"r","summary":{]"#,
    ];
    let mut bytes = it.bytes();
    for (body, seq) in forged.into_iter().zip(4..) {
        bytes.extend(written_at(seq, body));
    }
    it.set(&bytes);
    let (found, verified) = all(&it);
    let kinds: Vec<_> = found.iter().map(|fault| (fault.kind, fault.seq)).collect();
    let forged = |seq| (FaultKind::Forged, Some(seq));
    assert_eq!(kinds, [forged(4), forged(5), forged(6)]);
    assert_eq!(verified.events, 7);
    // Readers trust the checksum.
    assert_eq!(it.read().damage, []);
}

#[test]
fn damage_is_reported_without_its_consequences() {
    let (it, log) = with_started();
    log.append(&[it.ended("j", None)], Durability::Process)
        .unwrap();
    let whole = it.bytes();
    let ends = line_ends(&whole);
    // job_started is damaged. The missing start of job_completed is not a separate fault.
    let mut bytes = whole.clone();
    bytes[ends[2] + 30] ^= 1;
    it.set(&bytes);
    assert_eq!(faults(&it), [(FaultKind::DamagedLine, Some(4))]);
    // job_started is cut out. The gap is the only fault.
    it.set(&[&whole[..ends[2]], &whole[ends[3]..]].concat());
    let (found, _) = all(&it);
    assert_eq!(found[0].kind, FaultKind::Gap);
    assert_eq!(found[0].message, "event 3 is missing before it");
    assert_eq!(found.len(), 1);
    // job_started is repeated.
    it.set(&[&whole[..], line(&whole, 3)].concat());
    assert_eq!(faults(&it), [(FaultKind::Repeated, Some(6))]);
}

#[test]
fn torn_tail_is_reported_unless_locked() {
    let it = TestLog::with_notes(2);
    let whole = it.bytes();
    it.set(&whole[..whole.len() - 7]);
    assert_eq!(faults(&it), [(FaultKind::TornTail, Some(3))]);
    for name in [layout::LOCK, layout::ACTIVE] {
        let file = fs::File::open(it.path(name)).unwrap();
        let guard = file_lock::try_exclusive(&file, &it.path(name))
            .unwrap()
            .unwrap();
        let (faults, verified) = all(&it);
        assert!(verified.in_flight && faults.is_empty(), "{faults:?}");
        drop(guard);
    }
}

/// Creates a run of two segments, the first of them sealed.
fn rotated() -> TestLog {
    let (it, log) = with_started();
    fs::rename(it.active(), it.path(&layout::sealed(0))).unwrap();
    log.append(&[it.ended("j", None)], Durability::Process)
        .unwrap();
    it
}

#[test]
fn segment_chain_has_no_faults() {
    let it = rotated();
    assert_eq!(faults(&it), []);
    let sealed = it.path(&layout::sealed(0));
    let compressed = it.path(&format!("{}.gz", layout::sealed(0)));
    fs::write(&compressed, gz(&fs::read(&sealed).unwrap())).unwrap();
    fs::remove_file(&sealed).unwrap();
    assert_eq!(faults(&it), []);
    // The checkpoint covers a pruned segment.
    fs::remove_file(&compressed).unwrap();
    let (faults, verified) = all(&it);
    assert_eq!((faults.len(), verified.first_seq), (0, Some(4)));
}

#[test]
fn broken_segment_chain_is_reported() {
    let it = rotated();
    let sealed = it.path(&layout::sealed(0));
    let whole = fs::read(&sealed).unwrap();
    let ends = line_ends(&whole);
    // Cut at the end of a line: the remaining lines are valid.
    fs::write(&sealed, &whole[..ends[2]]).unwrap();
    let (found, _) = all(&it);
    let messages: Vec<_> = found.iter().map(|f| f.message.as_str()).collect();
    let name = layout::sealed(0);
    assert_eq!(
        messages,
        [
            "event 3 is missing before it".to_owned(),
            format!("the last event of {name} was 3 when it was sealed, and is 2"),
            format!(
                "{name} had {} bytes when it was sealed, and has {}",
                whole.len(),
                ends[2]
            ),
        ]
    );
    // The segment under the name of another one.
    fs::write(&sealed, &whole).unwrap();
    fs::rename(&sealed, it.path(&layout::sealed(1))).unwrap();
    let (found, _) = all(&it);
    assert!(
        found.iter().all(|f| f.kind == FaultKind::SegmentChain),
        "{found:?}"
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn altered_checkpoint_is_reported() {
    let it = rotated();
    let bytes = it.bytes();
    let rotated: serde_json::Value = serde_json::from_slice(line(&bytes, 0)).unwrap();
    let mut state = rotated["state"].clone();
    state["name"] = json!("another");
    let payload = json!({"sealed": rotated["sealed"], "state": state});
    let draft = Draft::with_type(EventType::LogRotated, &it.run, None, &payload).unwrap();
    let mut out = Vec::new();
    let id = Ulid::from_string(rotated["id"].as_str().unwrap()).unwrap();
    let ts = rotated["ts"].as_str().unwrap();
    write_line(&mut out, 4, id, ts, draft.body());
    out.extend_from_slice(line(&bytes, 1));
    it.set(&out);
    assert_eq!(faults(&it), [(FaultKind::Checkpoint, Some(1))]);
}

#[test]
fn captured_output_is_compared_with_log() {
    let (it, log) = with_started();
    let output = json!({"output": {"captured_bytes": 4}});
    log.append(
        &[ended(&it, EventType::JobCompleted, output)],
        Durability::Process,
    )
    .unwrap();
    let put = |name: &str, bytes: &str| {
        fs::create_dir_all(it.path(layout::JOBS)).unwrap();
        fs::write(it.path(layout::JOBS).join(name), bytes).unwrap();
    };
    let index = |end: u64| format!("{{\"end\":{end},\"stream\":\"stdout\",\"ts\":\"x\"}}\n");
    let kinds = || {
        faults(&it)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(), [FaultKind::OutputLost]);
    put("j.out", "four");
    assert_eq!(kinds(), [FaultKind::OutputIndex]);
    put("j.out.idx", &index(4));
    assert_eq!(kinds(), []);
    put("j.out", "fou");
    assert_eq!(kinds(), [FaultKind::OutputLost]);
    put("j.out", "fourfive");
    assert_eq!(kinds(), [FaultKind::OutputUnknown]);
    put("j.out", "four");
    put("j.out.idx", &format!("{}{}", index(2), index(2)));
    assert_eq!(kinds(), [FaultKind::OutputIndex]);
    put("j.out.idx", &format!("{}\0\0\n", index(2)));
    assert_eq!(faults(&it), [(FaultKind::OutputIndex, Some(2))]);
    put("j.out.idx", &format!("{}{{\"end\":", index(4)));
    assert_eq!(kinds(), []);
    put("other.out", "x");
    assert_eq!(kinds(), [FaultKind::OutputUnknown]);
}

#[test]
fn events_of_another_run_are_reported() {
    let it = TestLog::with_notes(1);
    let other = "other".parse().unwrap();
    let draft = Draft::with_type(EventType::Note, &other, None, &json!({"name": "n"})).unwrap();
    it.log().append(&[draft], Durability::Process).unwrap();
    assert_eq!(faults(&it), [(FaultKind::Fields, Some(3))]);
}

#[test]
fn callback_error_stops_verification() {
    let it = TestLog::with_notes(3);
    it.set(b"x\ny\nz\n");
    let dir = it.log().dir().try_clone().unwrap();
    let mut seen = 0;
    let ended = verify(&dir, |_| {
        seen += 1;
        Err(StorageError::NotAFile { path: "".into() })
    });
    assert!(ended.is_err());
    assert_eq!(seen, 1);
}

#[test]
fn forked_segment_of_same_length_is_reported() {
    let it = TestLog::with_notes(3);
    let log = it.log();
    let due = RotationThreshold::default();
    log.rotate(due, EventType::LogRotated.lock_budget())
        .unwrap();
    assert_eq!(faults(&it), []);
    let path = it.path(&layout::sealed(0));
    let sealed = fs::read(&path).unwrap();
    let fork = |n: usize, from: &str, to: &str| {
        let line = String::from_utf8(line(&sealed, n).to_vec()).unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let body = &line[line.find("\"type\"").unwrap()..line.find(",\"crc\"").unwrap()];
        let id = Ulid::from_string(event["id"].as_str().unwrap()).unwrap();
        let ts = event["ts"].as_str().unwrap();
        let ts = if from == "ts" { to } else { ts };
        let mut forked = Vec::new();
        let body = body.replace(from, to);
        write_line(&mut forked, n as u64, id, ts, body.as_bytes());
        let start = line_ends(&sealed)[n - 1];
        [&sealed[..start], &forked, &sealed[start + line.len()..]].concat()
    };
    let messages = || {
        all(&it)
            .0
            .into_iter()
            .map(|fault| fault.message)
            .collect::<Vec<_>>()
    };
    fs::write(&path, fork(2, "\"n\":1", "\"n\":7")).unwrap();
    assert!(
        messages()[0].contains("had the checksum"),
        "{:?}",
        messages()
    );
    fs::write(&path, fork(3, "ts", "2026-11-21T21:49:00.123456Z")).unwrap();
    assert!(
        messages()[0].contains("had another time"),
        "{:?}",
        messages()
    );
}
