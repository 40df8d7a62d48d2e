//! Power cuts: the tests trace the real program, and derive from its changes and syncs what can
//! be on the disk if the power fails at any moment. On each of these images, the program must
//! find everything that it had acknowledged by then, repair the rest, and continue.
//!
//! `RUNLOG_POWER_CUTS=all` tests many more images.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test helper fails by panicking"
)]

mod disk;
mod record;
mod trace;
mod world;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use disk::{Disk, Random, Unsynced};
use record::{CALLS, Recording};
use world::{World, command};

/// A shell command that makes this host look as if it had rebooted.
const OTHER_BOOT: &str =
    r#"mount --bind "$BOOT" /proc/sys/kernel/random/boot_id 2>/dev/null || exit 99;"#;
const UNWATCHED: &str = r#"exec sh -c "$SCRIPT""#;
const WATCHED: &str = r#"
    exec strace -f -q -y -xx -s 4000000 -o "$TRACE" -e trace="$CALLS" sh -c "$SCRIPT"
"#;

fn can_watch(root: &Path) -> bool {
    let probe = command("unshare", root)
        .args(["-m", "sh", "-c", &format!("{OTHER_BOOT} {WATCHED}")])
        .env("BOOT", "/proc/version")
        .env("TRACE", "/dev/null")
        .env("CALLS", "execve")
        .env("SCRIPT", "true")
        .output();
    probe.is_ok_and(|output| output.status.success())
}

/// Runs `before`, records `script`, and checks every image that a power cut can leave.
fn cut_everywhere(before: &str, script: &str) {
    let looked = check_images(before, script, "");
    if let Some((recording, images)) = looked {
        let steps = recording.disk.steps();
        assert!(images > 5, "only {images} images of {steps} steps");
        eprintln!("{images} images of {steps} steps");
    }
}

/// Returns the recording and the number of images, or `None` if recording is not possible.
/// Leaves out calls with the name `ignored_sync`.
fn check_images(before: &str, script: &str, ignored_sync: &str) -> Option<(Recording, usize)> {
    let tmp = tempfile::tempdir().unwrap();
    let recording = record(tmp.path(), before, script, ignored_sync)?;
    let (some, none, all) = (Unsynced::Some, Unsynced::None, Unsynced::All);
    let zeros = Unsynced::Zeros;
    let mut kinds = vec![(none, none), (all, none), (all, zeros), (some, some)];
    if std::env::var_os("RUNLOG_POWER_CUTS").is_some() {
        kinds.extend([(none, all), (all, all), (none, zeros), (all, some)]);
        kinds.extend([(some, some); 8]);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seen = HashSet::new();
    for cut in 0..=recording.disk.steps() {
        for &(names, data) in &kinds {
            // The same image can remain after two changes, with different choices.
            if data == some && !recording.disk.is_changed_by(cut) {
                continue;
            }
            let tree = recording.disk.image(cut, names, data, &mut random);
            if !tree.contains_key("/.omne") {
                let promised = &recording.promised[cut];
                assert!(promised.events.is_empty(), "no volume at {cut}");
                continue;
            }
            let mut hasher = DefaultHasher::new();
            (&tree, &recording.promised[cut]).hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            let image = tempfile::tempdir().unwrap();
            let files = tree.keys();
            let world = World {
                recording: &recording,
                cut,
                may_be_damaged: data == zeros,
                mark: &tmp.path().join("mark"),
                root: image.path().canonicalize().unwrap(),
                what: format!("cut {cut}, names {names:?}, data {data:?}: {files:?}"),
            };
            world.make(&tree);
            world.check();
        }
    }
    Some((recording, seen.len()))
}

fn record(tmp: &Path, before: &str, script: &str, ignored_sync: &str) -> Option<Recording> {
    let tmp = tmp.canonicalize().unwrap();
    if !can_watch(&tmp) {
        eprintln!("skipped: strace and mounts in a namespace are needed");
        return None;
    }
    let root = tmp.join("volume");
    std::fs::create_dir(&root).unwrap();
    let (mark, trace, boot) = (tmp.join("mark"), tmp.join("trace"), tmp.join("boot"));
    std::fs::write(&boot, "01234567-89ab-cdef-0123-456789abcdef\n").unwrap();
    let in_other_boot = |wrapper: &str, script: &str| {
        let wrapper = format!("{OTHER_BOOT} {wrapper}");
        let output = command("unshare", &root)
            .args(["-m", "sh", "-c", &wrapper])
            .env("BOOT", &boot)
            .env("TRACE", &trace)
            .env("CALLS", CALLS)
            .env("SCRIPT", script)
            .env("MARK", &mark)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
    };
    in_other_boot(UNWATCHED, before);
    let disk = Disk::load(&root);
    in_other_boot(WATCHED, script);
    let trace = std::fs::read_to_string(&trace).unwrap();
    let mut calls = trace::calls(&trace);
    for call in calls.iter_mut().filter(|call| call.name == ignored_sync) {
        // To the disk, the call looks as if it had failed.
        call.result = None;
    }
    Some(record::recording(
        disk,
        &root,
        &calls,
        mark.to_str().unwrap(),
    ))
}

const OPEN: &str = r#"
    "$RUNLOG" emit --open --run it one && "$RUNLOG" emit --run it two
"#;
const ENDED: &str = r#"
    "$RUNLOG" emit --open --run open one
    "$RUNLOG" run --run a --close -q -- echo hi
    "$RUNLOG" run --run b --close -q -- false || true
"#;

#[test]
fn power_cut_during_notes() {
    cut_everywhere(
        "",
        r#"
        "$RUNLOG" emit --open --run it one
        "$RUNLOG" emit --no-sync --run it two
        printf '1\n2\n3\n' | "$RUNLOG" emit --run it --lines --ack
        "$RUNLOG" emit --open --run other three
        "#,
    );
}

#[test]
fn power_cut_during_run_of_one_command() {
    cut_everywhere("", r#""$RUNLOG" run -q -- echo hi"#);
}

#[test]
fn power_cut_during_jobs_of_shared_run() {
    cut_everywhere(
        OPEN,
        r#"
        "$RUNLOG" run -q --run it -- echo hi
        "$RUNLOG" run -q --run it --close -- false || true
        "#,
    );
}

#[test]
fn power_cut_during_rotation() {
    cut_everywhere(
        OPEN,
        r#"
        "$RUNLOG" rotate it --no-compress
        "$RUNLOG" emit --run it three
        "$RUNLOG" emit --run it --no-sync four
        "$RUNLOG" rotate it --no-compress
        "$RUNLOG" emit --run it five
        "#,
    );
}

#[test]
fn power_cut_during_compression_and_pruning() {
    let before = format!(r#"{OPEN} "$RUNLOG" rotate it --no-compress; "$RUNLOG" emit --run it 3"#);
    cut_everywhere(
        &before,
        r#"
        "$RUNLOG" rotate it --compress
        "$RUNLOG" emit --run it --no-sync 4
        "$RUNLOG" rotate it --keep 1
        "#,
    );
}

#[test]
fn power_cut_during_automatic_rotation() {
    let before = format!(
        r#"{OPEN} mkdir -p .omne/lib/cfg
        printf '[rotate]\nmax_size = "700"\nkeep = 2\ncompress = true\n' >.omne/lib/cfg/runlog.toml"#
    );
    let note = r#""$RUNLOG" emit --run it x y="$(printf '%0300d' 7)";"#;
    cut_everywhere(&before, &note.repeat(7));
}

#[test]
fn power_cut_during_gc() {
    cut_everywhere(ENDED, r#""$RUNLOG" gc --max-age 0"#);
}

#[test]
fn power_cut_during_repair() {
    let before = format!(r#"{OPEN} printf '{{"v":1,"torn' >>.omne/var/runs/it/events.jsonl"#);
    cut_everywhere(&before, r#""$RUNLOG" emit --run it three"#);
}

/// A dead job whose supervisor was killed. Its id is unlike those of other tests, whose jobs may be
/// alive.
const LOST: &str = r#"
    "$RUNLOG" run -q --run it --job "job$$" --rollback "echo >>$MARK" -- sh -c '
        flock 9; f=$(cut -d" " -f4 /proc/$PPID/stat)
        kill -STOP $f; kill -9 $PPID $f; exec sleep 0' 9>alive || true
    flock alive true
    "$RUNLOG" emit --open --run other one
    printf '{"v":1,"torn' >>.omne/var/runs/it/events.jsonl
"#;

#[test]
fn power_cut_during_recovery() {
    cut_everywhere(LOST, r#""$RUNLOG" replay --recover --all"#);
}

#[test]
fn power_cut_during_recovery_with_rollback() {
    cut_everywhere(LOST, r#""$RUNLOG" replay --recover --all --with-rollback"#);
}

#[test]
fn power_cut_during_rollback_and_later_undo() {
    let with_rollback = r#""$RUNLOG" run -q --rollback "printf x >>$MARK" -- "#;
    let at_once = format!("{with_rollback} false || true");
    let later = r#""$RUNLOG" replay latest --rollback"#;
    for (before, script) in [
        ("", at_once.as_str()),
        (&format!("{with_rollback} true"), later),
    ] {
        let Some((recording, _)) = check_images(before, script, "") else {
            return;
        };
        assert_eq!(recording.promised.last().unwrap().rollbacks, 1);
    }
}

/// strace may report calls of a child before it reports the creation of the child.
#[test]
fn child_seen_before_fork_returns() {
    let hex = |text: &str| {
        let bytes: Vec<_> = text.bytes().map(|b| format!("\\x{b:02x}")).collect();
        bytes.concat()
    };
    let exec = |args: &[&str]| {
        let args: Vec<_> = args.iter().map(|arg| format!("\"{}\"", hex(arg))).collect();
        format!("execve({}, [{}], 0x1) = 0", args[0], args.join(", "))
    };
    let job = exec(&["/bin/sh", "sh", "-c", "touch mark"]);
    let trace = [
        format!("1 {}", exec(&["/bin/runlog", "runlog", "run"])),
        "1 clone3({flags=CLONE_THREAD} <unfinished ...>".to_owned(),
        "2 clone(flags=SIGCHLD <unfinished ...>".to_owned(),
        format!("3 {job}"),
        format!("3 {job}"),
        "2 <... clone resumed>) = 3".to_owned(),
        "1 <... clone3 resumed>) = 2".to_owned(),
    ];
    let calls = trace::calls(&trace.join("\n"));
    let tmp = tempfile::tempdir().unwrap();
    let recording = record::recording(Disk::load(tmp.path()), tmp.path(), &calls, "mark");
    assert_eq!(recording.promised.last().unwrap().rollbacks, 1);
}

/// The tests can fail: a disk that ignores one kind of sync loses data.
#[test]
fn unsynced_data_is_detected_as_missing() {
    let rotate = r#""$RUNLOG" rotate it --no-compress"#;
    for (before, script, ignored_sync) in [
        (OPEN, r#""$RUNLOG" emit --run it three"#, "fdatasync"),
        (OPEN, rotate, "fsync"),
        (ENDED, r#""$RUNLOG" gc --max-age 0"#, "fdatasync"),
        ("", r#""$RUNLOG" run -q -- true"#, "fsync"),
    ] {
        let looked =
            std::panic::catch_unwind(|| check_images(before, script, ignored_sync).is_none());
        assert!(looked.unwrap_or(true), "{script} without {ignored_sync}");
    }
}
