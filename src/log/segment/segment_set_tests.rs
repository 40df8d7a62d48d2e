//! Tests of logs with several segments, some of them lost, compressed or not regular files.

use std::fs;
use std::os::unix::fs::symlink;

use crate::log::test_log::{TestLog, gz, line_ends};
use crate::log::*;
use crate::volume::{VolumeError, layout};

fn sealed_gz(first_seq: u64) -> String {
    format!("{}.gz", layout::sealed(first_seq))
}

/// Creates a run whose rotation was interrupted. `left` is the content of the active segment, if
/// it exists. `seal` writes the sealed one.
fn interrupted(left: Option<&[u8]>, seal: impl Fn(&TestLog, &[u8])) -> TestLog {
    let it = TestLog::with_notes(3);
    let bytes = it.bytes();
    seal(&it, &bytes);
    match left {
        Some(left) => it.set(left),
        None => fs::remove_file(it.active()).unwrap(),
    }
    it
}

type Seal = fn(&TestLog, &[u8]);

fn plain(it: &TestLog, bytes: &[u8]) {
    fs::write(it.path(&layout::sealed(0)), bytes).unwrap();
}

fn compressed(it: &TestLog, bytes: &[u8]) {
    fs::write(it.path(&sealed_gz(0)), gz(bytes)).unwrap();
}

#[test]
fn missing_active_continues_after_sealed() {
    for left in [None, Some(&b""[..])] {
        let removed = ["log_rotated", "log_repaired", "note", "note"];
        // A segment is compressed only after its rotation is complete.
        let cases: [(Seal, _, &[_]); 2] = [
            (plain, vec!["log_rotated", "note", "note"], &[]),
            (compressed, removed.to_vec(), &[DamageReason::Gap]),
        ];
        for (seal, kinds, damage) in cases {
            let it = interrupted(left, seal);
            it.add(&it.log(), 3);
            it.add(&it.log(), 4);
            let found = it.read();
            assert_eq!(found.reasons(), damage);
            found.assert_rising();
            assert_eq!(found.kinds[4..], kinds);
            let rotated: serde_json::Value = serde_json::from_str(&found.lines[4]).unwrap();
            assert_eq!(rotated["sealed"]["last_seq"], 3);
            assert_eq!(rotated["state"]["first_id"], *found.ids[0]);

            // The state does not depend on the removed segment.
            let whole = fold(it.log().dir()).unwrap();
            for name in [layout::sealed(0), sealed_gz(0)] {
                drop(fs::remove_file(it.path(&name)));
            }
            assert_eq!(fold(it.log().dir()).unwrap(), whole);
            assert_eq!(it.read().reasons(), damage);
        }
    }
}

#[test]
fn torn_fragment_after_sealed_is_repaired() {
    let it = interrupted(Some(b"{\"v\":1,"), plain);
    it.add(&it.log(), 3);
    let found = it.read();
    found.assert_sound();
    assert_eq!(found.kinds[4..], ["log_rotated", "log_repaired", "note"]);
}

#[test]
fn sealed_last_line_needs_no_newline() {
    let it = interrupted(None, |it, bytes| plain(it, &bytes[..bytes.len() - 1]));
    it.add(&it.log(), 3);
    it.read().assert_sound();
}

#[test]
fn plain_segment_wins_over_compressed() {
    let it = interrupted(None, |it, bytes| {
        plain(it, bytes);
        fs::write(it.path(&sealed_gz(0)), b"half written").unwrap();
    });
    it.add(&it.log(), 3);
    it.read().assert_sound();
}

#[test]
fn truncated_gzip_loses_only_the_rest() {
    let it = interrupted(None, compressed);
    it.add(&it.log(), 3);
    let before = it.read();
    let path = it.path(&sealed_gz(0));
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let found = it.read();
        assert!(
            before
                .lines
                .ends_with(&found.lines[found.lines.len() - 2..])
        );
        found.assert_rising();
        let first = &found.damage[0];
        assert_eq!(
            (&first.file, first.reason),
            (&path, DamageReason::Compression),
            "cut at {cut}"
        );
        let ends = [
            &[0],
            &line_ends((before.lines[..4].join("\n") + "\n").as_bytes())[..],
        ]
        .concat();
        assert_eq!(first.offset, ends[first.line as usize - 1] as u64);
        assert!(
            found.damage[1..]
                .iter()
                .all(|d| d.reason == DamageReason::Gap)
        );
        // The next writer can still append.
        it.add(&it.log(), 4);
        it.set(
            before.lines[4..]
                .iter()
                .flat_map(|l| [l, "\n"])
                .collect::<String>()
                .as_bytes(),
        );
    }
}

#[test]
fn run_continues_after_broken_gzip() {
    let it = interrupted(None, |it, bytes| {
        let whole = gz(bytes);
        fs::write(it.path(&sealed_gz(0)), &whole[..whole.len() - 9]).unwrap();
    });
    it.add(&it.log(), 3);
    assert_eq!(it.read().kinds.last().unwrap(), "note");
    it.read().assert_rising();
}

#[test]
fn damaged_first_line_is_reported_once() {
    let it = TestLog::with_notes(3);
    let bytes = it.bytes();
    let from = line_ends(&bytes)[1];
    let mut sealed = bytes[from..].to_vec();
    sealed[5] ^= 1;
    fs::write(it.path(&layout::sealed(2)), sealed).unwrap();
    it.set(b"");
    let found = it.read();
    assert_eq!(
        (found.reasons(), found.seqs),
        (vec![DamageReason::BadChecksum], vec![3])
    );
}

#[test]
fn damage_has_file_line_and_offset() {
    let it = TestLog::with_notes(5);
    let whole = it.bytes();
    let ends = line_ends(&whole);
    for (n, start) in [0].iter().chain(&ends[..5]).enumerate() {
        let mut bytes = whole.clone();
        bytes[start + 20] ^= 1;
        it.set(&bytes);
        let found = it.read();
        assert_eq!(found.lines.len(), 5);
        let [damage] = &found.damage[..] else {
            panic!("{:?}", found.damage)
        };
        let shown = format!(
            "{}:{}:{start}: damaged line: ",
            it.active().display(),
            n + 1
        );
        assert!(damage.to_string().starts_with(&shown), "{damage}");
        assert_eq!(damage.reason, DamageReason::BadChecksum);
    }
}

#[test]
fn unfinished_last_line_is_not_read() {
    let it = TestLog::with_notes(2);
    let whole = it.bytes();
    let reader_dir = it.log().dir().try_clone().unwrap();
    it.set(&whole[..whole.len() - 1]);
    let mut reader = Reader::open(&reader_dir).unwrap();
    let mut seen = 0;
    while let Some(item) = reader.next_item().unwrap() {
        assert!(matches!(item, Item::Event(..)));
        seen += 1;
    }
    assert_eq!((seen, reader.next_seq()), (2, 2));
}

#[test]
fn zeros_are_damage_and_no_torn_first_write() {
    let it = TestLog::with_notes(0);
    let log = it.log();
    it.set(b"{\"v\":1,");
    assert!(!is_started(log.dir()).unwrap());
    assert_eq!(it.read().damage, []);
    it.set(&[0; 6_000]);
    assert!(is_started(log.dir()).unwrap());
    assert_eq!(it.read().reasons(), [DamageReason::Gap]);
    let summary = read_summary(log.dir(), JobScope::All).unwrap();
    assert!(summary.is_uncertain);
}

type Put = fn(&TestLog);

#[test]
fn non_regular_files_are_refused() {
    let unsafe_of = |result: Result<(), AppendError>| {
        let is_unsafe = matches!(
            &result,
            Err(AppendError::NotWritten(StorageError::Volume(
                VolumeError::UnsafeFile { .. }
            )))
        );
        assert!(is_unsafe, "{result:?}");
    };
    let puts: [Put; 3] = [
        |it| rustix::fs::mkfifoat(rustix::fs::CWD, it.active(), 0o600.into()).unwrap(),
        |it| symlink(it.path(&layout::sealed(0)), it.active()).unwrap(),
        |it| fs::create_dir(it.active()).unwrap(),
    ];
    for put in puts {
        let it = interrupted(None, plain);
        let held = it.log();
        put(&it);
        unsafe_of(held.append(&[it.note(0)], Durability::Process).map(drop));
        unsafe_of(
            Reader::open(held.dir())
                .map(drop)
                .map_err(AppendError::from),
        );
        unsafe_of(fold(held.dir()).map(drop).map_err(AppendError::from));
    }
    // A log with a second link can be read but not written, even by a writer that already had it
    // open.
    let it = TestLog::with_notes(1);
    let held = it.log();
    it.add(&held, 1);
    fs::hard_link(it.active(), it.path("second")).unwrap();
    for log in [held, it.log()] {
        unsafe_of(log.append(&[it.note(0)], Durability::Process).map(drop));
    }
    assert_eq!(it.read().seqs, [0, 1, 2]);
}

#[test]
fn restored_old_segment_reuses_no_number() {
    for compressed in [false, true] {
        let it = TestLog::with_notes(2);
        let old = it.bytes();
        let log = it.log();
        for n in 0..3 {
            it.add(&log, n);
        }
        let budget = EventType::LogRotated.lock_budget();
        log.rotate(RotationThreshold::default(), budget)
            .unwrap()
            .into_result()
            .unwrap();
        if compressed {
            compress_sealed(log.dir()).unwrap();
        }
        it.set(&old);
        let before = it.read();
        for n in 0..2 {
            it.add(&it.log(), n);
        }
        let found = it.read();
        assert_eq!(found.seqs[..], [before.seqs, vec![6, 7]].concat());
        found.assert_rising();
    }
}
