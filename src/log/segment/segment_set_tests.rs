//! A log in several files, some of them lost, compressed or not files at all.

use std::fs;
use std::os::unix::fs::symlink;

use crate::log::test_log::{TestLog, gz, line_ends};
use crate::log::*;
use crate::volume::{VolumeError, layout};

fn sealed_gz(first_seq: u64) -> String {
    format!("{}.gz", layout::sealed(first_seq))
}

/// A run whose rotation was cut off: `left` is what stands in place of the active
/// segment; `seal` writes the sealed one.
fn cut_off(left: Option<&[u8]>, seal: impl Fn(&TestLog, &[u8])) -> TestLog {
    let it = TestLog::with_notes(3);
    let bytes = it.bytes();
    seal(&it, &bytes);
    match left {
        Some(left) => it.set(left),
        None => fs::remove_file(it.active()).unwrap(),
    }
    it
}

fn plain(it: &TestLog, bytes: &[u8]) {
    fs::write(it.path(&layout::sealed(0)), bytes).unwrap();
}

fn compressed(it: &TestLog, bytes: &[u8]) {
    fs::write(it.path(&sealed_gz(0)), gz(bytes)).unwrap();
}

#[test]
fn a_run_without_an_active_segment_goes_on_from_the_newest_sealed_one() {
    for left in [None, Some(&b""[..])] {
        for seal in [plain, compressed] {
            let it = cut_off(left, seal);
            it.add(&it.log(), 3);
            it.add(&it.log(), 4);
            let found = it.read();
            found.assert_sound();
            assert_eq!(found.kinds[4..], ["log_rotated", "note", "note"]);
            let rotated: serde_json::Value = serde_json::from_str(&found.lines[4]).unwrap();
            assert_eq!(rotated["sealed"]["last_seq"], 3);
            assert_eq!(rotated["state"]["first_id"], *found.ids[0]);

            // The state does not depend on what is gone.
            let whole = fold(it.log().dir()).unwrap();
            for name in [layout::sealed(0), sealed_gz(0)] {
                drop(fs::remove_file(it.path(&name)));
            }
            assert_eq!(fold(it.log().dir()).unwrap(), whole);
            assert_eq!(it.read().damage, []);
        }
    }
}

#[test]
fn a_torn_fragment_in_place_of_the_active_segment_is_mended_too() {
    let it = cut_off(Some(b"{\"v\":1,"), plain);
    it.add(&it.log(), 3);
    let found = it.read();
    found.assert_sound();
    assert_eq!(found.kinds[4..], ["log_repaired", "note"]);
}

#[test]
fn the_last_line_of_a_sealed_segment_counts_without_its_newline() {
    let it = cut_off(None, |it, bytes| plain(it, &bytes[..bytes.len() - 1]));
    it.add(&it.log(), 3);
    it.read().assert_sound();
}

#[test]
fn where_a_segment_is_there_plain_and_compressed_the_plain_one_counts() {
    let it = cut_off(None, |it, bytes| {
        plain(it, bytes);
        fs::write(it.path(&sealed_gz(0)), b"half written").unwrap();
    });
    it.add(&it.log(), 3);
    it.read().assert_sound();
}

#[test]
fn a_compressed_segment_cut_in_the_middle_costs_what_is_behind_the_cut() {
    let it = cut_off(None, compressed);
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
        // Whoever comes next can still append.
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
fn a_run_goes_on_behind_a_compressed_segment_that_is_broken() {
    let it = cut_off(None, |it, bytes| {
        let whole = gz(bytes);
        fs::write(it.path(&sealed_gz(0)), &whole[..whole.len() - 9]).unwrap();
    });
    it.add(&it.log(), 3);
    assert_eq!(it.read().kinds.last().unwrap(), "note");
    it.read().assert_rising();
}

#[test]
fn a_damaged_first_line_of_the_oldest_segment_is_one_damage() {
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
fn damage_is_named_by_file_line_and_offset_and_its_neighbours_are_read() {
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
fn a_last_line_in_flight_is_not_read() {
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

type Put = fn(&TestLog);

#[test]
fn what_is_no_plain_file_is_refused_and_hangs_nobody() {
    let unsafe_of = |result: Result<(), LogError>| {
        let is_unsafe = matches!(&result, Err(LogError::Volume(VolumeError::Unsafe { .. })));
        assert!(is_unsafe, "{result:?}");
    };
    let puts: [Put; 3] = [
        |it| rustix::fs::mkfifoat(rustix::fs::CWD, it.active(), 0o600.into()).unwrap(),
        |it| symlink(it.path(&layout::sealed(0)), it.active()).unwrap(),
        |it| fs::create_dir(it.active()).unwrap(),
    ];
    for put in puts {
        let it = cut_off(None, plain);
        let held = it.log();
        put(&it);
        unsafe_of(held.append(&[it.note(0)], Durability::Process).map(drop));
        unsafe_of(Reader::open(held.dir()).map(drop));
        unsafe_of(fold(held.dir()).map(drop));
    }
    // A second name for the log: it may be read, but not written, also not by a writer
    // that had it open before.
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
fn an_old_segment_put_in_the_place_of_the_active_one_makes_no_number_used_twice() {
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
