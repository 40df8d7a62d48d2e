//! Runs that are removed or truncated while other processes use them.

use crate::support::env::{TestEnv, wait_until};

#[test]
fn follow_ends_when_run_is_removed() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "note"]);
    for args in [&["tail", "-f", "it"][..], &["status", "--wait", "it"]] {
        let follower = env.spawn(args);
        // Wait until it has found the run and watches it.
        wait_until("the run is watched", || {
            let fds = std::fs::read_dir(format!("/proc/{}/fd", follower.pid())).unwrap();
            let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
            links
                .into_iter()
                .any(|link| link.ends_with("anon_inode:inotify"))
        });
        std::fs::remove_dir_all(env.run_dir("it")).unwrap();
        let output = follower.wait();
        assert_eq!(output.code, 3, "{args:?}: {}", output.stderr());
        env.ok(&["emit", "--open", "--run", "it", "note"]);
    }
}

#[test]
fn log_truncated_under_supervisor_reports_gap() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    std::fs::write(env.log_path("it"), "").unwrap();
    assert_eq!(job.end().code, 0);
    wait_until("the end is written", || {
        std::fs::metadata(env.log_path("it")).unwrap().len() > 0
    });
    let tail = env.run(&["tail", "it", "-n", "all", "--json"]);
    assert_eq!(tail.code, 5);
    assert!(tail.stderr().contains("events are missing before it"));
    assert!(tail.stdout().starts_with("{\"v\":1,\"seq\":4,"));
}

#[test]
fn removed_active_segment_is_reported() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "a"]);
    env.ok(&["rotate", "r", "--force"]);
    env.ok(&["emit", "--run", "r", "lost"]);
    let damaged = |args: &[&str]| {
        let output = env.run(args);
        assert_eq!(output.code, 5, "{args:?}: {}", output.stderr());
        output.stdout() + &output.stderr()
    };
    // Removed, emptied, and overwritten with zeros.
    for left in [None, Some(0), Some(5_000)] {
        match left {
            None => std::fs::remove_file(env.log_path("r")).unwrap(),
            Some(zeros) => std::fs::write(env.log_path("r"), vec![0; zeros]).unwrap(),
        }
        let found = damaged(&["status", "r"]);
        assert!(found.contains("events are missing"), "{found}");
        let found = damaged(&["replay", "r", "--verify"]);
        assert!(found.contains("removed or overwritten"), "{found}");
        for args in [
            &["replay", "r"][..],
            &["replay", "r", "--json"],
            &["replay", "r", "--state"],
            &["replay", "r", "--export", "csv"],
            &["replay", "r", "--output"],
            &["tail", "r"],
            &["tail", "r", "-n", "1", "--json"],
            &["tail", "--all", "--cursor-file", "cursors"],
            &["replay", "r", "--rollback"],
            &["replay", "r", "--rollback", "--dry-run"],
        ] {
            damaged(args);
        }
        assert_eq!(env.run(&["gc", "--max-runs", "0"]).code, 5);
        // The next writer assigns the numbers again, and reports that.
        env.ok(&["emit", "--run", "r", "b"]);
        let found = damaged(&["replay", "r", "--verify"]);
        assert!(
            found.contains("the segment before was damaged or removed"),
            "{found}"
        );
        damaged(&["status", "r"]);
        damaged(&["tail", "r", "--json"]);
        damaged(&["replay", "r", "--recover"]);
        env.ok(&["rotate", "r", "--force"]);
    }
}

#[test]
fn interrupted_rotation_is_no_damage() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "a"]);
    env.ok(&["rotate", "r", "--force"]);
    env.ok(&["emit", "--run", "r", "b"]);
    let sealed = env.run_dir("r").join("events-00000000000000000002.jsonl");
    std::fs::rename(env.log_path("r"), sealed).unwrap();
    env.ok(&["status", "r"]);
    env.ok(&["replay", "r", "--verify"]);
    env.ok(&["emit", "--run", "r", "c"]);
    env.ok(&["replay", "r", "--verify"]);
    env.ok(&["status", "r"]);
}

#[test]
fn follower_reports_missing_active_segment_once() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "a"]);
    env.ok(&["rotate", "r", "--force"]);
    std::fs::remove_file(env.log_path("r")).unwrap();
    // It polls several times in this time.
    let output = env.run(&["tail", "r", "-f", "--timeout", "3s"]);
    assert_eq!(output.code, 5, "{}", output.stderr());
    assert_eq!(output.stderr().matches("events are missing").count(), 1);
}

#[test]
fn replaced_active_segment_is_reported_until_it_is_rotated() {
    let env = TestEnv::new();
    let job = ["run", "-q", "--run", "r", "--job"];
    let rollback = ["--rollback", "touch undone", "--", "true"];
    env.ok(&[&job[..], &["a"], &rollback].concat());
    let old = std::fs::read(env.log_path("r")).unwrap();
    env.ok(&["rotate", "r", "--force"]);
    env.ok(&[&job[..], &["b"], &rollback].concat());
    std::fs::write(env.log_path("r"), old).unwrap();
    for _ in 0..2 {
        for args in [
            &["status", "r"][..],
            &["replay", "r", "--rollback"],
            &["replay", "r", "--recover", "--with-rollback"],
            &["run", "--run", "r", "--close"],
            &["gc", "r"],
            &["replay", "r", "--verify"],
        ] {
            let output = env.run(args);
            assert_eq!(output.code, 5, "{args:?}: {}", output.stderr());
        }
        assert!(!env.exists("undone"));
        assert_eq!(env.runs(), ["r"]);
        // A later event hides nothing.
        env.ok(&["emit", "--run", "r", "more"]);
    }
}

#[test]
fn lost_log_of_jobs_with_output_is_reported() {
    let env = TestEnv::new();
    let run = [
        "run",
        "-q",
        "--run",
        "r",
        "--close",
        "--rollback",
        "touch undone",
    ];
    env.ok(&[&run[..], &["--", "echo", "x"]].concat());
    for left in [None, Some(0), Some(5_000)] {
        match left {
            None => std::fs::remove_file(env.log_path("r")).unwrap(),
            Some(zeros) => std::fs::write(env.log_path("r"), vec![0; zeros]).unwrap(),
        }
        for args in [
            &["status", "r"][..],
            &["replay", "r"],
            &["tail", "r"],
            &["replay", "r", "--rollback"],
            &["replay", "r", "--verify"],
        ] {
            let output = env.run(args);
            assert_eq!(output.code, 5, "{left:?}: {args:?}: {}", output.stderr());
        }
        let is_damaged = left.is_some_and(|zeros| zeros > 0);
        let (close, gc) = if is_damaged { (5, 5) } else { (3, 0) };
        assert_eq!(env.run(&["run", "--run", "r", "--close"]).code, close);
        assert_eq!(env.run(&["gc", "--max-runs", "0"]).code, gc);
        assert_eq!(env.runs(), ["r"]);
        assert!(!env.exists("undone"));
    }
}

#[test]
fn cursor_in_emptied_segment_skips_nothing() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "r", "a"]);
    let tail = || env.run(&["tail", "r", "--json", "--cursor-file", "cursor"]);
    for name in ["b", "c"] {
        env.ok(&["rotate", "r", "--force"]);
        std::fs::write(env.log_path("r"), "").unwrap();
        assert_eq!(tail().code, 5);
        env.ok(&["emit", "--run", "r", name]);
        env.ok(&["rotate", "r", "--force"]);
        std::fs::write(env.log_path("r"), "").unwrap();
        let output = tail();
        assert_eq!(output.code, 5);
        let shown = format!("\"name\":\"{name}\"");
        assert!(output.stdout().contains(&shown), "{}", output.stdout());
        assert!(!output.stderr().contains("was there before"));
    }
}
