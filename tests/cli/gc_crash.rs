//! `gc` that is killed, and `gc` on failing disks.

use crate::gc::{ended, lines, retired};
use crate::support::crash::{has_strace, on_small_disk, run_with_fault};
use crate::support::env::{Output, TestEnv};

const CALLS: &str = "openat,write,ftruncate,fdatasync,fsync,mkdirat,mkdir,renameat2,unlinkat,flock";

/// Runs `gc` with a fault.
fn with_fault(env: &TestEnv, options: &[&str], fault: &str) -> Option<Output> {
    let args = ["gc", "--max-age", "0", "--json"];
    has_strace(env).then(|| run_with_fault(env, options, fault, &args))
}

/// Creates the finished runs `a` and `b` and the open run `open`.
fn volume() -> TestEnv {
    let env = TestEnv::new();
    ended(&env, "a", "true");
    ended(&env, "b", "false");
    env.ok(&["emit", "--open", "--run", "open", "begin"]);
    env
}

fn is_in_trash(env: &TestEnv, run: &str) -> bool {
    let trash = std::fs::read_dir(env.path(".omne/var/trash"));
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let is_of_run =
        |name: std::ffi::OsString| name.to_str().unwrap().starts_with(&format!("{run}."));
    trash.is_ok_and(|mut trash| trash.any(|entry| is_of_run(name(entry))))
}

/// Asserts that each run is complete, has a tombstone, or is in the trash and will get one, and
/// that the next gc finishes the work.
fn assert_recoverable(env: &TestEnv, when: &str) {
    let status = env.run(&["status", "--json"]);
    assert_eq!((status.code, status.stderr()), (0, String::new()), "{when}");
    let there: Vec<_> = lines(&status)
        .iter()
        .map(|l| l["run_id"].as_str().unwrap().to_owned())
        .collect();
    let gone = retired(env);
    for (run, events) in [("a", 6), ("b", 6)] {
        let is_there = there.iter().any(|id| id == run);
        let is_gone = gone.iter().any(|id| id == run) || is_in_trash(env, run);
        assert!(is_there != is_gone, "{when}: {run}");
        if is_there {
            assert_eq!(env.events(run).len(), events, "{when}: {run}");
        }
    }
    assert!(there.iter().any(|id| id == "open"), "{when}");
    env.ok(&["emit", "--run", "open", "more"]);
    env.ok(&["gc", "--max-age", "0"]);
    assert_eq!(env.runs(), ["open"], "{when}");
    assert_eq!(retired(env), ["a", "b"], "{when}");
    let trash = std::fs::read_dir(env.path(".omne/var/trash")).unwrap();
    assert_eq!(trash.count(), 0, "{when}");
}

#[test]
fn gc_killed_at_each_syscall_is_resumed() {
    for n in 1.. {
        let env = volume();
        let Some(output) = with_fault(&env, &[], &format!("{CALLS}:signal=KILL:when={n}")) else {
            return;
        };
        assert_recoverable(&env, &format!("call {n}"));
        if output.code == 0 {
            assert!(n > 20, "only {n} calls");
            return;
        }
        assert_eq!(output.code, 1009, "{}", output.stderr());
    }
}

#[test]
fn gc_failed_syscall_loses_nothing() {
    for call in [
        "fdatasync",
        "fsync",
        "renameat2",
        "mkdirat",
        "unlinkat",
        "write",
    ] {
        for error in ["EIO", "ENOSPC"] {
            for n in 1..4 {
                let env = volume();
                let fault = format!("{call}:error={error}:when={n}");
                let Some(output) = with_fault(&env, &[], &fault) else {
                    return;
                };
                assert!(
                    [0, 7].contains(&output.code),
                    "{fault}: {}",
                    output.stderr()
                );
                assert!(!output.stderr().contains("panicked"), "{fault}");
                assert_recoverable(&env, &fault);
            }
        }
    }
}

#[test]
fn gc_frees_output_to_make_room_for_tombstone() {
    let env = volume();
    let big = "head -c 100000 /dev/zero";
    ended(&env, "c", big);
    let book = env.path(".omne/var/retired.jsonl");
    let options = ["-P", book.to_str().unwrap()];
    let Some(output) = with_fault(&env, &options, "write:error=ENOSPC:when=1") else {
        return;
    };
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_eq!(env.runs(), ["open"]);
    assert_eq!(retired(&env), ["a", "b", "c"]);
    // If both tombstones do not fit, removing one run makes room for the other.
    let env = volume();
    let book = env.path(".omne/var/retired.jsonl");
    let options = ["-P", book.to_str().unwrap()];
    let output = with_fault(&env, &options, "write:error=ENOSPC:when=1..2").unwrap();
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_eq!(retired(&env), ["a", "b"]);
    // If that does not help, gc reports it, and the other runs remain.
    let env = volume();
    let book = env.path(".omne/var/retired.jsonl");
    let options = ["-P", book.to_str().unwrap()];
    let output = with_fault(&env, &options, "write:error=ENOSPC").unwrap();
    assert_eq!(output.code, 7);
    assert!(
        output.stderr().contains("No space left"),
        "{}",
        output.stderr()
    );
    assert_recoverable(&env, "ENOSPC");
}

#[test]
fn gc_empties_full_disk() {
    let env = TestEnv::new();
    let script = r#"
        for run in a b c; do
            "$RUNLOG" run -q --run $run -- head -c 200000 /dev/zero
            "$RUNLOG" run --run $run --close
        done >/dev/null
        cat /dev/zero >fill 2>/dev/null
        "$RUNLOG" gc --max-age 0; echo "code $?"
        ls .omne/var/runs .omne/var/trash; "$RUNLOG" status --retired --json | wc -l
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    let said = output.stdout();
    assert!(said.contains("code 0\n"), "{said} {}", output.stderr());
    assert!(
        said.ends_with(".omne/var/runs:\n\n.omne/var/trash:\n3\n"),
        "{said}"
    );
}

#[test]
fn gc_skips_mount_point_in_run() {
    let env = TestEnv::new();
    let script = r#"
        for run in a b; do
            "$RUNLOG" run -q --run $run -- true; "$RUNLOG" run --run $run --close
        done
        mkdir .omne/var/runs/a/there; mount -t tmpfs none .omne/var/runs/a/there || exit 99
        echo kept >.omne/var/runs/a/there/file
        "$RUNLOG" gc --max-age 0; echo "code $?"
        ls .omne/var/runs; cat .omne/var/runs/a/there/file
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    let said = output.stdout();
    assert!(
        said.ends_with("code 7\na\nkept\n"),
        "{said} {}",
        output.stderr()
    );
    assert!(
        output
            .stderr()
            .contains("on another file system and was not touched")
    );
}

#[test]
fn unreadable_run_in_trash_is_kept_until_it_has_a_tombstone() {
    let env = TestEnv::new();
    ended(&env, "a", "true");
    let trashed = env.path(".omne/var/trash/a.01k0000000000000000000000a");
    std::fs::create_dir_all(trashed.parent().unwrap()).unwrap();
    std::fs::rename(env.run_dir("a"), &trashed).unwrap();
    let (log, aside) = (trashed.join("events.jsonl"), env.path("aside"));
    std::fs::rename(&log, &aside).unwrap();
    std::os::unix::fs::symlink("nowhere", &log).unwrap();
    for args in [
        &["gc", "--max-runs", "9"][..],
        &["replay", "--recover", "--all"],
    ] {
        let output = env.run(args);
        assert_eq!(output.code, 7, "{args:?}: {}", output.stderr());
    }
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    env.ok(&["gc", "--max-runs", "9"]);
    assert_eq!(retired(&env), ["a"]);
    assert!(!trashed.exists());
}

#[test]
fn gc_needs_no_free_inode() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" run -q --run a --close -- echo x || exit 1
        mount -o remount,nr_inodes=64 . || exit 99
        n=0; while touch "fill$n" 2>/dev/null; do n=$((n+1)); done
        "$RUNLOG" gc --max-runs 0 || exit 2
        test ! -e .omne/var/runs/a || exit 3
        "$RUNLOG" status --retired --json
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    assert_eq!(output.code, 0, "{}{}", output.stdout(), output.stderr());
    assert!(output.stdout().contains("\"run_id\":\"a\""));
}
