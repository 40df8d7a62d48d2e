//! Unexpected files in a volume: links are not followed, nothing blocks, and one bad run does
//! not hide the others.

use std::os::unix::fs::symlink;

use crate::support::env::{Output, TestEnv, finish};

/// Creates the runs `it` and `other`.
fn two_runs() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--", "true"]);
    env.ok(&["run", "--run", "other", "--close", "--", "true"]);
    env
}

/// Replaces the log of the run `it` with the file that this shell command creates at `$LOG`.
fn replace_log(env: &TestEnv, make: &str) {
    let script = format!("rm $LOG && {make}");
    let mut command = env.program("sh");
    let output = finish(command.args(["-c", &script]).env("LOG", env.log_path("it")));
    assert_eq!(output.code, 0, "{}", output.stderr());
}

#[track_caller]
fn assert_refused(output: &Output) {
    assert!(![0, 101].contains(&output.code), "exit {}", output.code);
    assert!(
        output.stderr().starts_with("error: "),
        "{}",
        output.stderr()
    );
}

#[test]
fn fifo_as_log_does_not_block() {
    let env = two_runs();
    replace_log(&env, "mkfifo $LOG");
    assert_refused(&env.run(&["status", "it"]));
    assert_refused(&env.run(&["emit", "--run", "it", "x"]));
    assert_refused(&env.run(&["run", "--run", "it", "--", "touch", "ran"]));
    assert!(!env.exists("ran"));
}

#[test]
fn fifo_as_log_does_not_hide_other_runs() {
    let env = two_runs();
    replace_log(&env, "mkfifo $LOG");
    let output = env.run(&["status"]);
    assert!(output.stdout().contains("other"), "{}", output.stdout());
    assert!(output.stderr().contains("it"), "{}", output.stderr());
    assert_ne!(output.code, 0);
}

#[test]
fn symlink_as_log_is_not_followed() {
    let env = two_runs();
    let target = env.write("target", "");
    std::fs::remove_file(env.log_path("it")).unwrap();
    symlink(&target, env.log_path("it")).unwrap();
    assert_refused(&env.run(&["emit", "--run", "it", "x"]));
    assert_refused(&env.run(&["status", "it"]));
    assert_eq!(std::fs::read(&target).unwrap(), b"");
}

#[test]
fn hard_linked_log_is_not_written() {
    let env = two_runs();
    std::fs::hard_link(env.log_path("it"), env.path("second")).unwrap();
    let before = std::fs::read(env.path("second")).unwrap();
    assert_refused(&env.run(&["emit", "--run", "it", "x"]));
    assert_eq!(std::fs::read(env.path("second")).unwrap(), before);
    // Reading does no harm.
    env.ok(&["status", "it"]);
}

#[test]
fn directory_as_log_is_rejected() {
    let env = two_runs();
    replace_log(&env, "mkdir $LOG");
    assert_refused(&env.run(&["emit", "--run", "it", "x"]));
    assert_refused(&env.run(&["status", "it"]));
}

#[test]
fn device_as_log_is_rejected() {
    let env = two_runs();
    let made = finish(
        env.program("sh")
            .args(["-c", "rm $LOG; mknod $LOG c 1 5"])
            .env("LOG", env.log_path("it")),
    );
    if made.code != 0 {
        eprintln!("skipped: no devices can be made: {}", made.stderr());
        return;
    }
    assert_refused(&env.run(&["status", "it"]));
    assert_refused(&env.run(&["emit", "--run", "it", "x"]));
}

#[test]
fn symlink_as_lock_is_not_followed() {
    let env = two_runs();
    let lock = env.run_dir("it").join("lock");
    std::fs::remove_file(&lock).unwrap();
    symlink(env.path("elsewhere"), &lock).unwrap();
    assert_refused(&env.run(&["emit", "--run", "it", "x"]));
    assert!(!env.exists("elsewhere"));
}

#[test]
fn symlink_as_run_directory_is_not_followed() {
    let env = two_runs();
    std::fs::create_dir(env.path("elsewhere")).unwrap();
    symlink(env.path("elsewhere"), env.run_dir("linked")).unwrap();
    assert_refused(&env.run(&["emit", "--open", "--run", "linked", "x"]));
    assert_eq!(std::fs::read_dir(env.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn symlink_as_jobs_directory_is_not_followed() {
    let env = two_runs();
    std::fs::create_dir(env.path("elsewhere")).unwrap();
    let jobs = env.run_dir("it").join("jobs");
    std::fs::remove_dir_all(&jobs).unwrap();
    symlink(env.path("elsewhere"), &jobs).unwrap();
    let output = env.run(&["run", "--run", "it", "--", "touch", "ran"]);
    assert_eq!(output.code, 125);
    assert!(!env.exists("ran"));
    assert_eq!(std::fs::read_dir(env.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn output_of_unlogged_job_is_not_overwritten() {
    let env = two_runs();
    let out = env.run_dir("it").join("jobs/mine.out");
    std::fs::write(&out, "precious").unwrap();
    let output = env.run(&["run", "--run", "it", "--job", "mine", "--", "touch", "ran"]);
    assert_eq!(output.code, 2, "{}", output.stderr());
    assert!(!env.exists("ran"));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "precious");
}

#[test]
fn unrelated_files_and_directories_are_ignored() {
    let env = two_runs();
    env.write(".omne/var/runs/file", "x");
    std::fs::create_dir(env.run_dir(".hidden")).unwrap();
    let output = env.ok(&["status", "--json"]);
    assert_eq!(output.stdout().lines().count(), 2, "{}", output.stdout());
}

#[test]
fn malformed_last_id_file_is_rewritten() {
    for content in [
        "",
        "garbage\n",
        "01",
        "\0\0\0\0",
        "zzzzzzzzzzzzzzzzzzzzzzzzzz\n",
    ] {
        let env = two_runs();
        env.write(".omne/var/.ulid-last", content);
        env.ok(&["run", "--", "true"]);
        env.ok(&["run", "--", "true"]);
        assert_eq!(env.runs().len(), 4, "{content:?}");
    }
}

#[test]
fn run_without_lock_file_is_readable() {
    let env = two_runs();
    std::fs::remove_file(env.run_dir("other").join("lock")).unwrap();
    assert_eq!(env.status("other")["state"], "completed");
}

#[test]
fn torn_tail_is_quarantined_by_next_writer() {
    let env = two_runs();
    let mut log = std::fs::read(env.log_path("it")).unwrap();
    log.extend_from_slice(b"{\"v\":1,\"seq\":5,\"id\":\"01");
    std::fs::write(env.log_path("it"), &log).unwrap();
    env.ok(&["emit", "--run", "it", "after"]);
    let types = env.types("it");
    assert_eq!(types[types.len() - 2..], ["log_repaired", "note"]);
    let aside = std::fs::read_dir(env.run_dir("it").join("quarantine")).unwrap();
    let bytes: Vec<_> = aside
        .map(|e| std::fs::read(e.unwrap().path()).unwrap())
        .collect();
    assert_eq!(bytes, [b"{\"v\":1,\"seq\":5,\"id\":\"01".to_vec()]);
}

#[test]
fn run_directory_removed_under_writer_is_an_error() {
    let env = two_runs();
    let mut emit = env.spawn(&["emit", "--run", "it", "--lines", "--ack"]);
    emit.write(b"one\n");
    emit.read_line();
    std::fs::remove_dir_all(env.run_dir("it")).unwrap();
    emit.write(b"two\n");
    let output = emit.end();
    assert_eq!((output.code, output.stdout()), (3, String::new()));
    assert!(
        output.stderr().starts_with("error: "),
        "{}",
        output.stderr()
    );
}

#[test]
fn job_continues_when_run_directory_is_removed() {
    let env = two_runs();
    let mut job = env.spawn(&[
        "run",
        "--run",
        "third",
        "--",
        "sh",
        "-c",
        "echo a; cat; exit 7",
    ]);
    job.read(2);
    std::fs::remove_dir_all(env.run_dir("third")).unwrap();
    job.write(b"b");
    let output = job.end();
    assert_eq!((output.code, output.stdout()), (7, "b".to_owned()));
    assert!(output.stderr().contains("warning: "), "{}", output.stderr());
}

#[test]
fn run_with_torn_first_event_has_not_started() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    let whole = std::fs::read(env.log_path("it")).unwrap();
    std::fs::write(env.log_path("it"), &whole[..100]).unwrap();
    for args in [
        &["emit", "--run", "it", "x"][..],
        &["replay", "it", "--recover"],
    ] {
        let output = env.run(args);
        assert_eq!(output.code, 3, "{args:?}: {}", output.stderr());
    }
    env.ok(&["replay", "--recover", "--all"]);
    assert_eq!(std::fs::read(env.log_path("it")).unwrap(), &whole[..100]);
    // The first writer opens the run.
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    assert_eq!(env.types("it"), ["log_repaired", "run_opened", "note"]);
    env.ok(&["replay", "it", "--verify"]);
    // The log has only the repair, because the writer died right after it.
    let repaired = std::fs::read(env.log_path("it")).unwrap();
    let first = repaired.iter().position(|b| *b == b'\n').unwrap();
    std::fs::write(env.log_path("it"), &repaired[..=first]).unwrap();
    assert_eq!(env.run(&["emit", "--run", "it", "x"]).code, 3);
    env.ok(&["gc", "--orphans", "--max-age", "0"]);
    env.ok(&["run", "--run", "it", "--", "true"]);
    env.ok(&["replay", "it", "--verify"]);
}
