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
