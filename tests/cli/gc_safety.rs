//! `gc` next to other processes, and on damaged files.

use std::os::unix::fs::symlink;

use insta::assert_snapshot;
use rustix::fs::{FlockOperation, flock};

use crate::gc::{ended, lines, retired, three_ended};
use crate::support::checks::snapshot;
use crate::support::env::{Background, TestEnv, wait_until};

#[test]
fn second_gc_is_rejected() {
    let env = three_ended();
    let book = std::fs::File::create(env.path(".omne/var/retired.jsonl")).unwrap();
    flock(&book, FlockOperation::LockExclusive).unwrap();
    assert_snapshot!(snapshot(&env, &env.run(&["gc", "--max-age", "0"])), @"
    exit 6
    -- stderr
    error: another gc is running: `[ROOT]/.omne/var/retired.jsonl` is locked
    hint: wait for it to finish, then retry
    ");
    assert_eq!(env.runs(), ["a", "b", "c"]);
    // A dry run changes nothing and needs no lock.
    env.ok(&["gc", "--max-age", "0", "--dry-run"]);
    drop(book);
    env.ok(&["gc", "--max-age", "0"]);
}

#[test]
fn gc_skips_locked_run() {
    let env = three_ended();
    for file in ["lock", "events.jsonl", "jobs/sh.out"] {
        let held = std::fs::File::open(env.run_dir("b").join(file)).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let output = env.run(&["gc", "--max-runs", "1"]);
        assert_eq!((output.code, env.runs()), (0, vec!["b".into(), "c".into()]));
        assert!(
            output.stderr().starts_with("run b is kept: "),
            "{}",
            output.stderr()
        );
        let named = env.run(&["gc", "b", "--max-age", "0", "--json"]);
        assert_eq!(named.code, 6);
        assert_eq!(lines(&named)[0]["action"], "skip");
    }
    env.ok(&["gc", "--max-runs", "1"]);
    assert_eq!(env.runs(), ["c"]);
}

#[test]
fn gc_continues_past_corrupt_run() {
    let env = three_ended();
    let outside = env.path("outside");
    std::fs::rename(env.run_dir("a"), &outside).unwrap();
    symlink(&outside, env.run_dir("a")).unwrap();
    env.write(".omne/var/runs/file", "x");
    std::fs::create_dir_all(env.log_path("subdir")).unwrap();
    std::fs::create_dir(env.run_dir("fifo")).unwrap();
    assert_eq!(env.sh("mkfifo .omne/var/runs/fifo/events.jsonl").code, 0);
    std::fs::write(env.path(".omne/var/runs/.hidden"), "").unwrap();
    let output = env.run(&["gc", "--max-age", "0"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 7
    -- stdout
    removed run b, failed, [SIZE]: [DURATION] old, the limit is [DURATION]
    removed run c, completed, [SIZE]: [DURATION] old, the limit is [DURATION]
    2 runs removed, [SIZE]
    -- stderr
    warning: run fifo: `[ROOT]/.omne/var/runs/fifo/events.jsonl` is a FIFO; runlog reads only regular files and writes only to files with one link
    warning: run subdir: `[ROOT]/.omne/var/runs/subdir/events.jsonl` is a directory; runlog reads only regular files and writes only to files with one link
    ");
    assert_eq!(env.runs(), [".hidden", "a", "fifo", "file", "subdir"]);
    assert!(outside.join("events.jsonl").exists());
    assert_eq!(retired(&env), ["b", "c"]);
}

#[test]
fn gc_reports_damaged_log_and_uses_rest() {
    let env = three_ended();
    let text = std::fs::read_to_string(env.log_path("b")).unwrap();
    // The line with the outcome of the run is no longer the last one.
    std::fs::write(env.log_path("b"), format!("{text}garbage\n")).unwrap();
    let output = env.run(&["gc", "--max-age", "0"]);
    assert_eq!(output.code, 5, "{}", output.stderr());
    assert!(output.stderr().contains("it is not an event"));
    // The damage may hide an event, so the run is removed only if it is named.
    assert_eq!(env.runs(), ["b"]);
    assert_eq!(env.run(&["gc", "b", "--max-age", "0"]).code, 5);
    assert_eq!(env.runs(), Vec::<String>::new());
    let line = &lines(&env.ok(&["status", "--retired", "--json", "b"]))[0];
    assert_eq!(
        (&line["damaged"], &line["state"]),
        (&1.into(), &"failed".into())
    );
}

#[test]
fn gc_removes_unknown_files_without_following_links() {
    let env = three_ended();
    let outside = env.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "").unwrap();
    symlink(&outside, env.run_dir("a").join("link")).unwrap();
    symlink(&outside, env.run_dir("a").join("jobs/link")).unwrap();
    std::fs::hard_link(outside.join("kept"), env.run_dir("a").join("hard")).unwrap();
    std::fs::create_dir_all(env.run_dir("a").join("x/y/z")).unwrap();
    env.ok(&["gc", "--max-age", "0"]);
    assert!(outside.join("kept").exists());
    assert_eq!(env.runs(), Vec::<String>::new());
    assert_eq!(
        std::fs::read_dir(env.path(".omne/var/trash"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn gc_keeps_newest_tombstones() {
    let env = three_ended();
    env.ok(&["gc", "--max-age", "0"]);
    let path = env.path(".omne/var/retired.jsonl");
    let before = std::fs::read_to_string(&path).unwrap();
    let mode = |path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions())
    };
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let planned = env.ok(&["gc", "--max-retired", "2", "--dry-run"]);
    assert_eq!(
        planned.stderr(),
        "1 record of a removed run would be removed\n"
    );
    assert_eq!(retired(&env), ["a", "b", "c"]);
    env.ok(&["gc", "--max-retired", "2"]);
    assert_eq!(retired(&env), ["b", "c"]);
    let after = std::fs::read_to_string(&path).unwrap();
    assert!(before.ends_with(&after) && mode(&path) & 0o777 == 0o640);
    // The setting applies to every gc.
    std::fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(".omne/lib/cfg/runlog.toml", "[gc]\nmax_retired = 1\n");
    ended(&env, "d", "true");
    env.ok(&["gc", "d"]);
    assert_eq!(retired(&env), ["d"]);
    assert!(!env.exists(".omne/var/retired.jsonl.tmp"));
}

#[test]
fn gc_repairs_torn_tombstone() {
    let env = three_ended();
    env.ok(&["gc", "--max-runs", "2"]);
    let path = env.path(".omne/var/retired.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    // A complete line without its `\n`, then half a line, then something else.
    std::fs::write(&path, text.trim_end()).unwrap();
    env.ok(&["gc", "--max-runs", "1"]);
    let two = std::fs::read_to_string(&path).unwrap();
    assert!(two.starts_with(&text) && two.lines().count() == 2);
    std::fs::write(&path, format!("{two}{}", &text[..text.len() / 2])).unwrap();
    assert_eq!(retired(&env), ["a", "b"]);
    env.ok(&["gc", "--max-runs", "1"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), two);
    std::fs::write(&path, format!("garbage\n{two}")).unwrap();
    let output = env.run(&["status", "--retired", "--json"]);
    assert_eq!((output.code, lines(&output).len()), (5, 2));
    assert!(output.stderr().contains("retired.jsonl:1:0: damaged line"));
}

#[test]
fn gc_ignores_tombstone_of_existing_run() {
    let env = three_ended();
    let run = env.run_dir("a");
    let copy = env.path("copy");
    assert_eq!(
        env.sh(&format!("cp -a {} {}", run.display(), copy.display()))
            .code,
        0
    );
    env.ok(&["gc", "a", "--max-age", "0"]);
    assert_eq!(retired(&env), ["a"]);
    // Simulate a crash before the directory was removed.
    std::fs::rename(&copy, &run).unwrap();
    assert_eq!(retired(&env), Vec::<String>::new());
    env.ok(&["gc", "a", "--max-age", "0"]);
    assert_eq!(retired(&env), ["a"]);
    let path = env.path(".omne/var/retired.jsonl");
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
}

#[test]
fn gc_empties_trash_of_crashed_gc_first() {
    let env = three_ended();
    let trash = env.path(".omne/var/trash");
    std::fs::create_dir(&trash).unwrap();
    let left = trash.join("old.01jz0000000000000000000000");
    std::fs::rename(env.run_dir("a"), &left).unwrap();
    std::fs::write(trash.join("mine"), "").unwrap();
    let foreseen = env.ok(&["gc", "--max-runs", "9", "--dry-run", "--json"]);
    assert_eq!(lines(&foreseen)[0]["action"], "finish");
    assert!(left.exists());
    let output = env.ok(&["gc", "--max-runs", "9"]);
    assert!(
        output.stdout().contains("\n1 leftover removed, "),
        "{}",
        output.stdout()
    );
    assert!(!left.exists());
    assert!(trash.join("mine").exists());
}

#[test]
fn gc_works_with_few_file_descriptors() {
    let env = TestEnv::new();
    for run in 0..20 {
        env.ok(&["emit", "--open", "--run", &format!("r{run}"), "n"]);
        env.ok(&["run", "--run", &format!("r{run}"), "--close"]);
    }
    let output = env.sh("ulimit -n 40; exec \"$RUNLOG\" gc --max-age 0");
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_eq!(env.runs(), Vec::<String>::new());
}

/// Writers open, close and join runs while two gcs remove finished ones.
#[test]
fn gc_never_loses_acked_events() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "other", "stays"]);
    let script = r#"
        i=0; while [ $i -lt 12 ]; do i=$((i+1))
            "$RUNLOG" emit --open --ack --run shared mark n=$1.$i >>acked$1 2>>err || true
            "$RUNLOG" run -q --run own$1.$i -- true || exit 9
            "$RUNLOG" run --run own$1.$i --close || exit 8
            "$RUNLOG" run --run shared --close 2>>err || true
        done"#;
    let writer = |n: &str| Background::new(env.program("sh").args(["-c", script, "sh", n]));
    let mut writers: Vec<_> = ["1", "2", "3"].iter().map(|n| writer(n)).collect();
    let mut gone = Vec::new();
    wait_until("the writers are done", || {
        let pair: Vec<_> = (0..2)
            .map(|_| env.spawn(&["gc", "--max-age", "0", "--json"]))
            .collect();
        let status = env.run(&["status", "--json"]);
        assert_eq!(status.code, 0, "{}", status.stderr());
        for output in pair.into_iter().map(Background::end) {
            assert!([0, 6].contains(&output.code), "{}", output.stderr());
            let removed = lines(&output)
                .into_iter()
                .filter(|l| l["action"] == "remove");
            gone.extend(removed.map(|l| l["run_id"].as_str().unwrap().to_owned()));
        }
        writers.iter_mut().all(Background::has_ended)
    });
    for writer in writers {
        let output = writer.end();
        assert_eq!(output.code, 0, "{}", output.stderr());
    }
    env.ok(&["gc", "--max-age", "0"]);
    // Each removed run has its tombstone, and each acknowledged event of `shared` was in a
    // removed run or is in the current one.
    let told = lines(&env.ok(&["status", "--retired", "--json"]));
    let own = told.iter().filter(|l| l["run_id"] != "shared").count();
    assert_eq!(own, 36);
    let of_shared = told.iter().filter(|l| l["run_id"] == "shared");
    let mut notes: u64 = of_shared
        // Except for `run_opened` and `run_closed`.
        .map(|l| l["events"].as_u64().unwrap() - 2)
        .sum();
    if env.exists(".omne/var/runs/shared") {
        notes += env.events_of_type("shared", "note").len() as u64;
    }
    let acked = env.sh("cat acked1 acked2 acked3 | wc -l").stdout();
    assert_eq!(acked.trim().parse::<u64>().unwrap(), notes);
    assert!(gone.iter().any(|run| run.starts_with("own")));
}

#[test]
fn readers_of_removed_run_finish_or_report_it() {
    let env = TestEnv::new();
    let names: Vec<_> = (0..40).map(|n| format!("r{n}")).collect();
    for run in &names {
        ended(&env, run, "true");
    }
    let follower = env.spawn(&["tail", "-f", "r39", "--json", "-n", "all"]);
    let gc = env.spawn(&["gc", "--max-age", "0"]);
    wait_until("all are gone", || {
        let output = env.run(&["status", "--json"]);
        assert_eq!((output.code, output.stderr()), (0, String::new()));
        let all = lines(&output);
        for line in &all {
            assert_eq!(
                (&line["state"], &line["events"]),
                (&"completed".into(), &6.into())
            );
        }
        all.is_empty()
    });
    assert_eq!(gc.end().code, 0);
    let read = follower.end();
    assert!([0, 3].contains(&read.code), "{}", read.stderr());
}
