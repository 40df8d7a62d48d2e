//! `runlog status --watch --json`: one line per change.

use std::fs;

use serde_json::Value;

use crate::support::env::{Background, TestEnv, wait_until};

fn line(watcher: &mut Background) -> Value {
    serde_json::from_slice(&watcher.read_line()).unwrap()
}

/// Reads lines until one has this state.
fn until(watcher: &mut Background, run: &str, state: &str) -> Value {
    loop {
        let line = line(watcher);
        assert_eq!(line["run_id"], run);
        if line["state"] == state {
            return line;
        }
    }
}

#[test]
fn watch_json_prints_each_run_then_changes() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "a", "--", "true"]);
    env.ok(&["run", "--run", "a", "--close"]);
    env.ok(&["run", "--run", "b", "--", "true"]);
    let mut watcher = env.spawn(&["status", "--watch", "--json"]);
    let first = line(&mut watcher);
    assert_eq!(first, env.status("a"), "the shape is that of status");
    assert_eq!(line(&mut watcher)["run_id"], "b");
    // A note does not change the state.
    env.ok(&["emit", "--run", "b", "something"]);
    let job = env.spawn(&["run", "--run", "b", "--job", "more", "--", "cat"]);
    let started = loop {
        let line = until(&mut watcher, "b", "running");
        if line["jobs"][1]["stage"] == "started" {
            break line;
        }
    };
    assert_eq!(started["jobs"][1]["job_id"], "more");
    job.end();
    until(&mut watcher, "b", "open");
    env.ok(&["run", "--run", "b", "--close"]);
    until(&mut watcher, "b", "completed");
    env.run(&["run", "--run", "c", "--", "false"]);
    env.run(&["run", "--run", "c", "--close"]);
    until(&mut watcher, "c", "failed");
    fs::remove_dir_all(env.run_dir("a")).unwrap();
    let end = env.run(&["run", "--run", "d", "--", "true"]);
    assert_eq!(end.code, 0);
    until(&mut watcher, "d", "open");
    watcher.signal(rustix::process::Signal::INT);
    let output = watcher.end();
    assert_eq!(output.code, 1002);
    assert_eq!(output.stderr(), "run a was removed\n");
}

#[test]
fn watch_json_respects_filters() {
    let env = TestEnv::new();
    env.ok(&["run", "--name", "old", "--", "true"]);
    let args = [
        "status", "--watch", "--json", "--name", "it", "--state", "failed",
    ];
    let mut watcher = env.spawn(&args);
    env.ok(&["run", "--name", "it", "--", "true"]);
    env.run(&["run", "--name", "other", "--", "false"]);
    env.run(&["run", "--name", "it", "--", "false"]);
    let told = line(&mut watcher);
    assert_eq!(
        (&told["name"], &told["state"]),
        (&"it".into(), &"failed".into())
    );
    let newest = env.spawn(&["status", "--watch", "--json", "-n", "1", "--timeout", "1ms"]);
    let output = newest.end();
    assert_eq!(output.code, 4);
    assert_eq!(output.stdout().lines().count(), 1);
}

#[test]
fn watch_json_of_one_run_ends_with_it() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "it", "--", "cat"]);
    env.wait_for("job_started");
    let mut watcher = env.spawn(&["status", "--watch", "--json", "it"]);
    assert_eq!(line(&mut watcher)["state"], "running");
    job.kill();
    let output = watcher.end();
    assert_eq!(output.code, 1);
    let last = output.stdout();
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!(last["state"], "lost");
    env.ok(&["run", "--name", "done", "--", "true"]);
    let output = env.run(&["status", "--watch", "--json", "latest"]);
    assert_eq!((output.code, output.stdout().lines().count()), (0, 1));
    assert_eq!(env.run(&["status", "--watch", "--json", "nosuch"]).code, 3);
}

#[test]
fn watch_json_ends_on_closed_pipe() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    let output = env.sh("\"$RUNLOG\" status --watch --json | head -n 1");
    assert_eq!(output.code, 0);
    assert_eq!(output.stderr(), "");
}

#[test]
fn watch_json_starts_on_empty_volume() {
    let env = TestEnv::new();
    fs::create_dir(env.path(".omne")).unwrap();
    let mut watcher = env.spawn(&["status", "--watch", "--json"]);
    wait_until("it watches", || !watcher.has_ended());
    env.ok(&["run", "--run", "it", "--", "true"]);
    until(&mut watcher, "it", "open");
}

#[test]
fn watch_json_matches_status_across_segments() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--", "true"]);
    let told = |env: &TestEnv| {
        let output = env.run(&["status", "--watch", "--json", "it", "--timeout", "1ms"]);
        assert_eq!(output.code, 4, "{}", output.stderr());
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(told(&env), env.status("it"));
    env.ok(&["rotate", "it"]);
    assert_eq!(told(&env), env.status("it"));
    env.ok(&["run", "--run", "it", "--job", "more", "--", "true"]);
    env.ok(&["rotate", "it", "--keep", "0"]);
    assert_eq!(told(&env), env.status("it"));
    // The run is rotated and pruned while it is watched.
    let mut following = env.spawn(&["status", "--watch", "--json", "it"]);
    assert_eq!(line(&mut following), env.status("it"));
    env.ok(&["rotate", "it", "--keep", "0"]);
    env.run(&["run", "--run", "it", "--job", "last", "--", "false"]);
    env.ok(&["rotate", "it", "--keep", "0"]);
    let last = loop {
        let line = line(&mut following);
        if line["jobs"][2]["stage"] == "failed" {
            break line;
        }
    };
    assert_eq!(last["jobs"], env.status("it")["jobs"]);
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(until(&mut following, "it", "failed"), env.status("it"));
    assert_eq!(following.end().code, 1);
}

#[test]
fn watch_json_reads_unreadable_run_again() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "a", "x"]);
    env.ok(&["emit", "--open", "--run", "b", "x"]);
    let (log, aside) = (env.log_path("a"), env.path("aside"));
    fs::rename(&log, &aside).unwrap();
    fs::create_dir(&log).unwrap();
    let mut watcher = env.spawn(&["status", "--watch", "--json"]);
    until(&mut watcher, "b", "open");
    fs::remove_dir(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    until(&mut watcher, "a", "open");
    env.ok(&["run", "--run", "a", "--close"]);
    until(&mut watcher, "a", "completed");
    watcher.signal(rustix::process::Signal::INT);
    let told = watcher.end().stderr();
    assert_eq!(told.matches("is a directory").count(), 1, "{told}");
}
