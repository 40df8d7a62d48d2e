//! Several writers at once, and runs that are removed while they write.

use std::sync::Barrier;
use std::time::Duration;
use std::{fs, thread};

use crate::log::test_log::TestLog;
use crate::log::*;
use crate::volume::{RunId, format_ulid, layout};

#[test]
fn many_threads_with_several_logs_lose_nothing() {
    const THREADS: usize = 8;
    const EACH: usize = 60;
    let it = TestLog::new();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        // All threads open the new run at once. Then two threads share each log.
        let logs = thread::scope(|scope| {
            let open = || scope.spawn(|| it.log());
            let opening: Vec<_> = (0..THREADS / 2).map(|_| open()).collect();
            opening
                .into_iter()
                .map(|t| t.join().unwrap())
                .collect::<Vec<_>>()
        });
        for (t, log) in logs
            .into_iter()
            .map(std::sync::Arc::new)
            .cycle_pairs()
            .enumerate()
        {
            let (it, start) = (&it, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..EACH {
                    let batch = [it.note(t * EACH + n), it.note((THREADS + t) * EACH + n)];
                    let durability = if n % 8 == 0 {
                        Durability::Power
                    } else {
                        Durability::Process
                    };
                    log.append(&batch, durability).unwrap();
                }
            });
        }
    });
    let found = it.read();
    found.assert_sound();
    let number =
        |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64();
    let mut numbers: Vec<_> = found.lines.iter().map(number).collect();
    // The events of a batch are adjacent.
    let pairs = numbers
        .chunks(2)
        .all(|p| p[1] == p[0].map(|n| n + (THREADS * EACH) as u64));
    assert!(pairs);
    numbers.sort_unstable();
    assert!(
        numbers
            .into_iter()
            .eq((0..2 * THREADS * EACH).map(|n| Some(n as u64)))
    );
}

/// An extension of iterators to return each item twice.
trait CyclePairs: Iterator + Sized {
    fn cycle_pairs(self) -> impl Iterator<Item = Self::Item>
    where
        Self::Item: Clone,
    {
        self.flat_map(|item| [item.clone(), item])
    }
}
impl<I: Iterator> CyclePairs for I {}

#[test]
fn state_follows_other_writers() {
    let it = TestLog::with_notes(0);
    let (a, b) = (it.log(), it.log());
    let jobs = |log: &RunLog| {
        let mut jobs = 0;
        let budget = EventType::Note.lock_budget();
        let seen = log.append_with_state(Durability::Process, budget, |_, state| {
            jobs = state.jobs.len();
            let drafts = Vec::new();
            Ok(Batch {
                drafts,
                close: Close::No,
            })
        });
        seen.unwrap();
        jobs
    };
    assert_eq!((jobs(&a), jobs(&b)), (0, 0));
    a.append(&[it.submitted("x")], Durability::Process).unwrap();
    assert_eq!((jobs(&a), jobs(&b)), (1, 1));
    // A rejected batch leaves no trace in the remembered state.
    let refused = a.append_with(Durability::Process, EventType::Note.lock_budget(), |_| {
        let drafts = vec![it.submitted("y")];
        Ok(Batch {
            drafts,
            close: Close::Now,
        })
    });
    assert!(matches!(
        refused,
        Err(AppendError::Refused(Refusal::Unfinished { .. }))
    ));
    assert_eq!((jobs(&a), jobs(&b)), (1, 1));
    it.add(&a, 0);
    it.read().assert_sound();
}

type Hurt<'a> = &'a dyn Fn(&TestLog);

#[test]
fn removed_or_replaced_run_acks_nothing() {
    let dir_of = |it: &TestLog| it.volume.run_path(&it.run);
    let away = |it: &TestLog| fs::rename(dir_of(it), it.volume.path().join("away")).unwrap();
    let hurts: [Hurt<'_>; 4] = [
        &|it| fs::remove_dir_all(dir_of(it)).unwrap(),
        &|it| fs::remove_dir_all(it.volume.path()).unwrap(),
        &away,
        &|it| {
            away(it);
            TestLog::log(it);
        },
    ];
    for hurt in hurts {
        let it = TestLog::with_notes(1);
        let (held, fresh) = (it.log(), it.log());
        it.add(&held, 1);
        hurt(&it);
        for log in [held, fresh] {
            let refused = log.append(&[it.note(2)], Durability::Power);
            assert!(
                matches!(
                    refused,
                    Err(AppendError::NotWritten(StorageError::RunRemoved { .. }))
                ),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn removed_lock_is_created_again_and_loses_nothing() {
    let it = TestLog::with_notes(1);
    let held = it.log();
    it.add(&held, 1);
    fs::remove_file(it.path(layout::LOCK)).unwrap();
    let fresh = it.log();
    // A process that opens the run creates the file. The writer with the old one notices at its
    // next check.
    let mut n = 2;
    let has_lock = |log: &RunLog| {
        let other = fs::File::open(it.path(layout::LOCK)).unwrap();
        other.lock().unwrap();
        let rotated = log.rotate(RotationThreshold::default(), Duration::ZERO);
        matches!(
            rotated,
            Err(RotateError::Storage(StorageError::LockTimeout { .. }))
        )
    };
    assert!(has_lock(&fresh));
    for log in [&held, &fresh, &held] {
        it.add(log, n);
        n += 1;
        let rotation = log.rotate(RotationThreshold::default(), Duration::from_secs(5));
        assert!(matches!(rotation, Ok(Rotation::Sealed(_))), "{rotation:?}");
    }
    assert!(has_lock(&held));
    // Without a file of that name, the next writer that needs it creates it.
    fs::remove_file(it.path(layout::LOCK)).unwrap();
    it.add(&held, n);
    let rotation = held.rotate(RotationThreshold::default(), Duration::from_secs(5));
    assert!(matches!(rotation, Ok(Rotation::Sealed(_))), "{rotation:?}");
    assert!(it.path(layout::LOCK).exists());
    it.read().assert_sound();
}

#[test]
fn opening_missing_run_does_not_create_it() {
    let it = TestLog::new();
    let open = |run: &RunId| RunLog::open(&it.volume, run);
    assert!(matches!(open(&it.run), Err(SelectError::NoSuchRun { .. })));
    assert!(!it.volume.run_path(&it.run).exists());
    it.log().discard();
    assert!(!it.volume.run_path(&it.run).exists());
    // The run is being created, and no other process may join it yet.
    drop(it.log());
    assert!(matches!(open(&it.run), Err(SelectError::NoSuchRun { .. })));
}

#[test]
fn first_event_has_id_of_run_name() {
    let it = TestLog::new();
    let log = RunLog::create(&it.volume, "build").unwrap();
    let draft =
        Draft::with_type(EventType::Note, log.run_id(), None, &serde_json::json!({})).unwrap();
    log.append(&[draft.clone(), draft], Durability::Process)
        .unwrap();
    let state = fold(log.dir()).unwrap();
    let id = state.first_id.unwrap();
    let expected = format!("build-{}", format_ulid(id));
    assert_eq!(log.run_id().as_str(), expected);
}

#[test]
fn lock_timeout_error_names_timeout() {
    use std::time::Duration;
    let it = TestLog::with_notes(1);
    let log = it.log();
    for name in [layout::LOCK, layout::ACTIVE] {
        let other = fs::File::open(it.path(name)).unwrap();
        other.lock().unwrap();
        let refused = log.append_with(Durability::Process, Duration::ZERO, |_| panic!("no lock"));
        match refused {
            Err(AppendError::NotWritten(StorageError::LockTimeout { path, timeout })) => {
                assert_eq!((path, timeout), (it.path(name), Duration::ZERO));
            }
            other => panic!("{other:?}"),
        }
    }
    it.add(&log, 1);
}

#[test]
fn only_terminal_events_wait_long() {
    use EventType as E;
    let long = [
        E::JobCompleted,
        E::JobFailed,
        E::JobRolledBack,
        E::RunClosed,
    ];
    let short = [
        E::RunOpened,
        E::JobSubmitted,
        E::JobValidated,
        E::JobStarted,
        E::Note,
    ];
    assert!(long.iter().all(|kind| kind.lock_budget().as_secs() == 60));
    assert!(short.iter().all(|kind| kind.lock_budget().as_secs() == 5));
}

#[test]
fn oversized_event_and_empty_batch_write_nothing() {
    let it = TestLog::with_notes(1);
    let log = it.log();
    let before = it.bytes();
    let huge = serde_json::json!({"x": "y".repeat(MAX_LINE_BYTES)});
    let refused = Draft::with_type(EventType::Note, &it.run, None, &huge);
    assert!(matches!(refused, Err(DraftError::TooLong { .. })));
    log.append(&[], Durability::Power).unwrap();
    assert_eq!(it.bytes(), before);
}
