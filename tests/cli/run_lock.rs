//! `run --lock`: one run at a time.

use std::fs;

use insta::assert_snapshot;
use regex::Regex;
use rustix::process::{Signal, kill_process};

use crate::support::env::{Background, Output, TestEnv, pid_of, wait_until};
use crate::support::process::supervisors;

/// A job that runs until the file `go` exists.
const UNTIL_GO: &str = "touch ready; until test -e go; do sleep 0.01; done";

/// Starts a run that holds the lock `it`, and waits until its job runs.
fn holder(env: &TestEnv, options: &[&str]) -> Background {
    let run = ["run", "-q", "--run", "first", "--close", "--lock=it"];
    let job = env.spawn(&[&run, options, &["--", "sh", "-c", UNTIL_GO]].concat());
    env.wait_for_file("ready");
    job
}

/// Runs `true` with the lock `it`, as the second run.
fn second(env: &TestEnv, options: &[&str]) -> Output {
    let run = ["run", "--run", "second", "--close", "--lock=it"];
    env.run(&[&run, options, &["--", "true"]].concat())
}

/// Returns stderr without the parts that differ each time.
fn stderr(output: &Output) -> String {
    let pid = Regex::new(r"pid \d+").unwrap();
    let text = output.stderr();
    let text = pid.replace_all(&text, "pid N");
    let time = Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d").unwrap();
    time.replace_all(&text, "TIME").into_owned()
}

#[test]
fn held_lock_refuses_start() {
    let env = TestEnv::new();
    let job = holder(&env, &[]);
    let output = second(&env, &[]);
    assert_eq!(output.code, 75);
    assert_snapshot!(stderr(&output), @"
    error: lock `it` is held by run first (pid N) since TIME +00:00
    hint: wait for the lock with --if-locked wait, or end the run with `runlog stop first`
    ");
    assert_eq!(env.runs(), ["first"]);
    env.write("go", "");
    assert_eq!(job.end().code, 0);
    assert_eq!(second(&env, &[]).code, 0);
    assert_eq!(
        env.events_of_type("second", "job_submitted")[0]["lock"],
        "it"
    );
}

#[test]
fn other_locks_do_not_matter() {
    let env = TestEnv::new();
    let _job = holder(&env, &[]);
    env.ok(&["run", "-q", "--lock", "true"]);
    env.ok(&["run", "-q", "--lock=other", "true"]);
    env.ok(&["run", "-q", "-n", "it", "true"]);
    assert_eq!(env.run(&["run", "-n", "it", "--lock", "true"]).code, 75);
    env.write("go", "");
}

#[test]
fn skipped_start_is_noted_in_other_run() {
    let env = TestEnv::new();
    let job = holder(&env, &[]);
    let output = second(&env, &["--if-locked", "skip", "--name", "nightly"]);
    assert_eq!(output.code, 0);
    assert_snapshot!(stderr(&output), @"runlog: not started: lock `it` is held by run first (pid N) since TIME +00:00");
    let quiet = second(&env, &["--if-locked", "skip", "--quiet"]);
    assert_eq!((quiet.code, quiet.stderr()), (0, String::new()));
    let note = &env.events_of_type("first", "note")[0];
    assert_eq!(note["name"], "start_skipped");
    assert_eq!(note["data"]["lock"], "it");
    assert_eq!(note["data"]["name"], "nightly");
    assert_eq!(env.runs(), ["first"]);
    env.write("go", "");
    assert_eq!(job.end().code, 0);
}

#[test]
fn waiting_run_starts_after_other_one() {
    let env = TestEnv::new();
    let job = holder(&env, &["--rollback", "sleep 0.1; echo undone >>order"]);
    let run = ["run", "--run", "second", "--close", "--lock=it"];
    let wait = [
        "--if-locked",
        "wait",
        "--",
        "sh",
        "-c",
        "echo second >>order",
    ];
    let mut waiting = env.spawn(&[&run[..], &wait].concat());
    let told = waiting.read_stderr_line();
    assert!(
        told.starts_with("runlog: lock `it` is held by run first (pid "),
        "{told}"
    );
    assert!(told.ends_with("; waiting"), "{told}");
    assert_eq!(env.runs(), ["first"]);
    job.signal(Signal::TERM);
    assert_eq!(job.end().code, 1015);
    assert_eq!(waiting.end().code, 0);
    let order = fs::read_to_string(env.path("order")).unwrap();
    assert_eq!(order, "undone\nsecond\n");
}

#[test]
fn wait_ends_by_signal_or_limit() {
    let env = TestEnv::new();
    let _job = holder(&env, &[]);
    let limit = ["--if-locked", "wait", "--lock-timeout", "50ms"];
    let output = second(&env, &limit);
    assert_eq!(output.code, 75);
    let text = stderr(&output);
    assert_snapshot!(text, @"
    runlog: lock `it` is held by run first (pid N) since TIME +00:00; waiting
    error: lock `it` is held by run first (pid N) since TIME +00:00, and was not released in time
    hint: wait longer with --lock-timeout, or end the run with `runlog stop first`
    ");
    let run = ["run", "--lock=it", "--if-locked", "wait", "true"];
    let mut waiting = env.spawn(&run);
    waiting.read_stderr_line();
    waiting.signal(Signal::INT);
    assert_eq!(waiting.end().code, 1002);
    assert_eq!(env.runs(), ["first"]);
    env.write("go", "");
}

#[test]
fn replaced_run_is_stopped_first() {
    let env = TestEnv::new();
    let job = holder(&env, &["--rollback", "echo undone >>order"]);
    let run = ["run", "--run", "second", "--close", "--lock=it"];
    let replace = [
        "--if-locked",
        "replace",
        "--",
        "sh",
        "-c",
        "echo second >>order",
    ];
    let output = env.run(&[&run[..], &replace].concat());
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_snapshot!(stderr(&output), @"
    runlog: lock `it` is held by run first (pid N) since TIME +00:00; stopping it
    run_id=second
    ");
    assert_eq!(job.end().code, 1015);
    let order = fs::read_to_string(env.path("order")).unwrap();
    assert_eq!(order, "undone\nsecond\n");
    let note = &env.events_of_type("first", "note")[0];
    assert_eq!(note["name"], "stop_requested");
    let reason = "replaced by another run with lock `it`";
    assert_eq!(note["data"]["reason"], reason);
    let submitted = &env.events_of_type("second", "job_submitted")[0];
    assert_eq!(submitted["replaced_runs"], serde_json::json!(["first"]));
}

#[test]
fn replacement_waits_no_longer_than_allowed() {
    let env = TestEnv::new();
    let script = "trap '' TERM; touch ready; until test -e go; do sleep 0.01; done";
    let run = [
        "run",
        "-q",
        "--lock=it",
        "-n",
        "first",
        "--",
        "sh",
        "-c",
        script,
    ];
    let job = env.spawn(&run);
    env.wait_for_file("ready");
    let output = second(&env, &["--if-locked", "replace", "--lock-timeout", "50ms"]);
    assert_eq!(output.code, 75);
    let text = stderr(&output);
    assert!(text.contains("and did not end in time"), "{text}");
    env.write("go", "");
    assert_eq!(job.end().code, 0);
}

#[test]
fn of_many_replacements_each_starts_or_is_replaced() {
    let env = TestEnv::new();
    let start = |n: usize| {
        let name = format!("n{n}");
        let run = ["run", "-q", "-n", &name, "--lock=it", "--if-locked=replace"];
        env.spawn(&[&run[..], &["--", "sleep", "0.05"]].concat())
    };
    let all: Vec<_> = (0..8).map(start).collect();
    for run in all {
        let output = run.end();
        // It ended, or SIGTERM ended its job and then itself.
        assert!(
            [0, 1015].contains(&output.code),
            "{} {}",
            output.code,
            output.stderr()
        );
    }
}

#[test]
fn lock_lasts_until_both_processes_exit() {
    let env = TestEnv::new();
    let job = holder(&env, &["--if-killed", "keep"]);
    // The front forks another supervisor, which inherits the lock.
    for pid in supervisors(job.pid()) {
        kill_process(pid_of(i64::from(pid)), Signal::KILL).unwrap();
    }
    env.wait_for("supervisor_replaced");
    assert_eq!(second(&env, &[]).code, 75);
    // This kills the front, and the supervisor continues.
    drop(job);
    assert_eq!(second(&env, &[]).code, 75);
    env.write("go", "");
    wait_until("the end of the run", || second(&env, &[]).code == 0);

    let env = TestEnv::new();
    let job = holder(&env, &[]);
    job.kill_both();
    wait_until("the release", || second(&env, &[]).code == 0);
    assert_eq!(env.status("first")["state"], "lost");
    env.write("go", "");
}

#[test]
fn stuck_reader_does_not_keep_lock_of_ended_job() {
    for (options, stop, code) in [
        (&["--timeout", "0.1"][..], None, "124\n"),
        (&[], Some("yes"), "143\n"),
    ] {
        let env = TestEnv::new();
        let options = options.join(" ");
        let script = format!(
            r#"{{ "$RUNLOG" run --lock=it {options} -- yes; echo $? >code; }} |
               {{ head -n 1; until test -e go; do sleep 0.01; done; }}"#
        );
        let mut job = Background::new(env.program("sh").args(["-c", &script]));
        job.read_line();
        if let Some(run) = stop {
            env.ok(&["stop", run]);
        }
        wait_until("the release of the lock", || second(&env, &[]).code == 0);
        env.write("go", "");
        job.end();
        assert_eq!(fs::read_to_string(env.path("code")).unwrap(), code);
    }
}

#[test]
fn detached_run_keeps_lock_after_caller_exits() {
    let env = TestEnv::new();
    let run = ["run", "--detach", "--run", "first", "--close", "--lock=it"];
    env.ok(&[&run[..], &["--", "sh", "-c", UNTIL_GO]].concat());
    assert_eq!(second(&env, &[]).code, 75);
    env.write("go", "");
    assert_eq!(second(&env, &["--if-locked", "wait"]).code, 0);
}

#[test]
fn job_and_leftover_process_do_not_inherit_lock() {
    let env = TestEnv::new();
    // The process that stays behind holds the pipes, which a process of runlog reads.
    let script = "ls -l /proc/self/fd; until test -e go; do sleep 0.01; done & sleep 0.01";
    let output = env.run(&[
        "run",
        "--run",
        "first",
        "--lock=it",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert!(!output.stdout().contains("locks"), "{}", output.stdout());
    assert_eq!(second(&env, &[]).code, 0);
    env.write("go", "");
}

#[test]
fn two_runs_never_overlap() {
    let env = TestEnv::new();
    let script = "mkdir busy || touch overlap; echo >>count; rmdir busy";
    let run = ["run", "-q", "--lock=it", "--if-locked", "wait", "--"];
    let jobs: Vec<_> = (0..8)
        .map(|_| env.spawn(&[&run[..], &["sh", "-c", script]].concat()))
        .collect();
    for job in jobs {
        assert_eq!(job.end().code, 0);
    }
    assert!(!env.exists("overlap"));
    assert_eq!(fs::read_to_string(env.path("count")).unwrap().len(), 8);
}

#[test]
fn nested_run_does_not_wait_for_own_lock() {
    let env = TestEnv::new();
    for policy in ["fail", "wait", "replace"] {
        let script = format!("$RUNLOG run -q --lock=it --if-locked {policy} true");
        let output = env.run(&["run", "-q", "--lock=it", "sh", "-c", &script]);
        assert_eq!(output.code, 75);
        let text = env.ok(&["tail", "--output", "latest"]).stdout();
        assert!(text.contains("which waits for this command"), "{text}");
        assert!(text.contains("hint: use another lock"), "{text}");
    }
}

#[test]
fn lock_file_names_holder() {
    let env = TestEnv::new();
    fs::create_dir_all(env.path(".omne/var/locks")).unwrap();
    // A crash may leave any content.
    env.write(".omne/var/locks/it", "{\"run_id\":\"gone\",\"pid\":1}\nx\n");
    let job = holder(&env, &[]);
    let text = fs::read_to_string(env.path(".omne/var/locks/it")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["run_id"], "first");
    assert_eq!(said["pid"], job.pid());
    assert!(said["since"].as_str().unwrap().ends_with('Z'));
    env.write("go", "");
    assert_eq!(job.end().code, 0);
    env.ok(&["gc", "--max-age", "0"]);
    assert!(env.exists(".omne/var/locks/it"));
}

#[test]
fn lock_of_other_program_is_not_that_of_last_run() {
    let env = TestEnv::new();
    assert_eq!(second(&env, &[]).code, 0);
    let mut flock = env.program("flock");
    flock.args([".omne/var/locks/it", "sh", "-c", UNTIL_GO]);
    let mut other = flock.spawn().unwrap();
    env.wait_for_file("ready");
    for (policy, code) in [("fail", 75), ("skip", 0), ("replace", 75), ("wait", 75)] {
        let options = ["--if-locked", policy, "--lock-timeout", "2s"];
        let options = if policy == "wait" {
            &options[..]
        } else {
            &options[..2]
        };
        let output = env.run(&[&["run", "--lock=it"], options, &["true"]].concat());
        assert_eq!(output.code, code, "{policy}");
        let text = output.stderr();
        let holder = format!("lock `it` is held by process {} (flock)", other.id());
        assert!(text.contains(&holder) && !text.contains("second"), "{text}");
        assert!(!text.contains("warning"), "{text}");
        assert!(!text.contains("runlog stop"), "{text}");
    }
    assert_eq!(env.runs(), ["second"]);
    env.write("go", "");
    other.wait().unwrap();
}

#[test]
fn skipped_start_while_other_run_starts_is_no_warning() {
    let env = TestEnv::new();
    assert_eq!(second(&env, &[]).code, 0);
    let lock = ".omne/var/locks/it";
    let mut flock = env.program("flock");
    let mut other = flock.args([lock, "sh", "-c", UNTIL_GO]).spawn().unwrap();
    env.wait_for_file("ready");
    // The lock names a run that has no log yet.
    let (pid, since) = (other.id(), "2026-11-21T21:49:00.000000Z");
    let holder = format!("{{\"run_id\":\"first\",\"pid\":{pid},\"since\":\"{since}\"}}\n");
    env.write(lock, holder);
    let output = env.run(&["run", "--lock=it", "--if-locked", "skip", "true"]);
    let text = output.stderr();
    assert_eq!(output.code, 0, "{text}");
    assert!(text.contains("held by run first"), "{text}");
    assert!(!text.contains("warning"), "{text}");
    env.write("go", "");
    other.wait().unwrap();
}

#[test]
fn settings_give_every_run_a_lock() {
    let env = TestEnv::new();
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    let settings = "[run]\nlock = true\nif_locked = \"skip\"\nquiet = true\n";
    env.write(".omne/lib/cfg/runlog.toml", settings);
    let job = env.spawn(&["run", "-n", "it", "--", "sh", "-c", UNTIL_GO]);
    env.wait_for_file("ready");
    env.ok(&["run", "-n", "it", "touch", "started"]);
    assert!(!env.exists("started"));
    assert_eq!(
        env.run(&["run", "-n", "it", "--if-locked=fail", "true"])
            .code,
        75
    );
    env.ok(&["run", "-n", "it", "--no-lock", "touch", "started"]);
    assert!(env.exists("started"));
    env.write("go", "");
    assert_eq!(job.end().code, 0);
}

#[test]
fn invalid_lock_options_are_refused() {
    let env = TestEnv::new();
    for (options, text) in [
        (&["--lock=../x"][..], "must begin with"),
        (&["--lock="], "it is empty"),
        (&["--if-locked", "wait"], "hint: add --lock"),
        (&["--lock-timeout", "1s"], "hint: add --lock"),
        (
            &["--lock=hunter2", "--redact", "hunter2"],
            "contains a secret",
        ),
    ] {
        let output = env.run(&[&["run"], options, &["true"]].concat());
        assert_eq!(output.code, 2, "{options:?}");
        assert!(output.stderr().contains(text), "{}", output.stderr());
    }
    assert!(!env.exists(".omne"));
}
