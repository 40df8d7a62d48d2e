//! gc with a full `.omne/var`, and with a `runs/` that cannot be renamed from.

use std::fs;

use crate::support::crash::{has_strace, run_with_fault};
use crate::support::env::{TestEnv, finish};

/// Creates the ended runs `a`, `b` and `c`, each with output.
fn three_ended() -> TestEnv {
    let env = TestEnv::new();
    for run in ["a", "b", "c"] {
        let args = ["run", "-q", "--run", run, "--close", "--job", "j", "--"];
        env.ok(&[&args[..], &["echo", run]].concat());
    }
    env
}

fn retired(env: &TestEnv) -> Vec<String> {
    let lines = env.json_lines(&["status", "--retired", "--json"]);
    let id = |line: &serde_json::Value| line["run_id"].as_str().unwrap().to_owned();
    lines.iter().map(id).collect()
}

#[test]
fn gc_keeps_output_of_runs_it_cannot_remove() {
    let env = three_ended();
    if !has_strace(&env) {
        return;
    }
    fs::write(env.path(".omne/var/retired.jsonl"), "").unwrap();
    let path = env.path(".omne/var/retired.jsonl");
    let only = ["-P", path.to_str().unwrap()];
    let output = run_with_fault(
        &env,
        &only,
        "write:error=ENOSPC",
        &["gc", "--max-runs", "0"],
    );
    assert_eq!(output.code, 7, "{}", output.stderr());
    let left = env.runs();
    assert!(
        left.ends_with(&["b".to_owned(), "c".to_owned()]),
        "{left:?}"
    );
    for run in &left {
        assert_eq!(env.captured(run, "j"), format!("{run}\n").as_bytes());
    }
    // The run that gc left in the trash gets its summary before it is removed.
    env.ok(&["gc", "--max-runs", "0"]);
    assert_eq!(retired(&env), ["a", "b", "c"]);
    assert_eq!(
        fs::read_dir(env.path(".omne/var/trash")).unwrap().count(),
        0
    );
}

#[test]
fn gc_removes_in_place_where_runs_is_a_mount() {
    let env = three_ended();
    let script = "mount --bind .omne/var/runs .omne/var/runs || exit 99
        \"$RUNLOG\" gc --max-runs 1 && \"$RUNLOG\" gc --max-runs 0 && ls -A .omne/var/runs";
    let output = finish(env.program("unshare").args(["-m", "sh", "-c", script]));
    if output.code == 99 || output.stderr().starts_with("unshare") {
        eprintln!("skipped: no mounts can be made here: {}", output.stderr());
        return;
    }
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_eq!(env.runs(), Vec::<String>::new());
    assert_eq!(retired(&env), ["a", "b", "c"]);
}

#[test]
fn interrupted_removal_adds_one_tombstone() {
    let env = three_ended();
    if !has_strace(&env) {
        return;
    }
    for _ in 0..3 {
        let faults = ["-e", "inject=renameat2,renameat,rename:error=EXDEV"];
        let args = ["gc", "--max-runs", "0"];
        let output = run_with_fault(&env, &faults, "unlinkat:error=EIO", &args);
        assert_eq!(output.code, 7, "{}", output.stderr());
        // The events are removed last, so the run is still listed with its state.
        assert_eq!(env.status("a")["state"], "completed");
    }
    let text = fs::read_to_string(env.path(".omne/var/retired.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    env.ok(&["gc", "--max-runs", "0"]);
    assert_eq!(retired(&env), ["a", "b", "c"]);
}

#[test]
fn gc_removes_in_place_without_room_for_trash() {
    let env = three_ended();
    if !has_strace(&env) {
        return;
    }
    let args = ["gc", "--max-runs", "1"];
    let output = run_with_fault(&env, &[], "mkdirat:error=ENOSPC", &args);
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_eq!(env.runs(), ["c"]);
    assert_eq!(retired(&env), ["a", "b"]);
    assert!(!env.exists(".omne/var/trash"));
}
