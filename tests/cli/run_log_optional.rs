//! `run --log-optional`: a command runs even if no log can be written.

use std::fs::File;

use crate::support::crash::on_small_disk;
use crate::support::env::TestEnv;
use crate::support::process::Output;

/// A job that prints to both streams and ends with its own exit code.
const JOB: &str = "echo out; echo err >&2; cat; exit 7";

fn assert_ran_without_log(output: &Output) {
    let stderr = output.stderr();
    assert_eq!(output.code, 7, "{stderr}");
    assert_eq!(output.stdout(), "out\nin\n");
    let (warning, rest) = stderr.split_once('\n').unwrap();
    assert!(
        warning.starts_with("warning: the command runs without a log: "),
        "{warning}"
    );
    assert!(rest.ends_with("err\n"), "{rest}");
}

fn assert_refused(output: &Output) {
    assert_eq!(output.code, 125, "{}", output.stderr());
    assert_eq!(output.stdout(), "");
}

#[test]
fn command_runs_with_file_in_place_of_volume() {
    let env = TestEnv::new();
    env.write(".omne", "");
    let run =
        |options: &[&str]| env.run_with(&[options, &["--", "sh", "-c", JOB]].concat(), b"in\n");
    assert_ran_without_log(&run(&["run", "--log-optional"]));
    let output = run(&["run", "--log-optional", "--timeout", "9s", "--retries", "1"]);
    assert_ran_without_log(&output);
    assert!(
        output
            .stderr()
            .contains("without a log, these are ignored: --timeout, --retries"),
        "{}",
        output.stderr()
    );
    assert_refused(&run(&["run"]));
    let missing = env.run(&["run", "--log-optional", "--", "no-such-command"]);
    assert_eq!(missing.code, 127);
}

#[test]
fn ignored_options_are_named() {
    let env = TestEnv::new();
    env.write(".omne", "");
    let script = r#""$RUNLOG" run --log-optional -q --id-file id --tty always --kill-after 1s --if-killed keep \
        --sample 1s \
        --fail-if-longer 9s --on-end true --on-success true -- true 2>&1"#;
    let output = env.sh(script);
    assert_eq!(output.code, 0);
    let list = "ignored: --kill-after, --if-killed, --fail-if-longer, --on-success, --on-end, --sample, \
        --id-file, --quiet, --tty\n";
    assert!(output.stdout().ends_with(list), "{}", output.stdout());
}

#[test]
fn secret_is_not_passed_on_without_log() {
    let env = TestEnv::new();
    env.write(".omne", "");
    let options = ["--log-optional", "--redact", "s3cret", "--redact-passed-on"];
    assert_refused(&env.run(&[&["run"], &options[..], &["--", "echo", "s3cret"]].concat()));
}

#[test]
fn command_runs_while_lock_is_held() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--", "true"]);
    let log = File::open(env.log_path("it")).unwrap();
    log.lock().unwrap();
    let args = [
        "run",
        "--run",
        "it",
        "--log-optional",
        "--",
        "sh",
        "-c",
        JOB,
    ];
    assert_ran_without_log(&env.run_with(&args, b"in\n"));
}

#[test]
fn early_signal_reaches_command_without_log() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--", "true"]);
    let log = File::open(env.log_path("it")).unwrap();
    log.lock().unwrap();
    let job = env.spawn(&["run", "--run", "it", "--log-optional", "--", "touch", "ran"]);
    // The front blocks its signals before it forks.
    crate::support::env::wait_until("a supervisor", || {
        !crate::support::process::supervisors(job.pid()).is_empty()
    });
    job.signal(rustix::process::Signal::TERM);
    // The command replaced the front.
    assert_eq!(job.wait().code, 1000 + 15);
    assert!(!env.exists("ran"));
}

#[test]
fn command_runs_on_full_and_on_read_only_disk() {
    let env = TestEnv::new();
    let script = format!(
        r#"
        mkdir .omne; cat /dev/zero >fill 2>/dev/null
        echo in | "$RUNLOG" run --log-optional -- sh -c '{JOB}'; echo "code $?"
        "$RUNLOG" run -- sh -c '{JOB}' 2>/dev/null; echo "code $?"
        rm fill; mount -o remount,ro . || exit 0
        echo in | "$RUNLOG" run --log-optional -- sh -c '{JOB}'; echo "code $?"
        "$RUNLOG" run -- sh -c '{JOB}' 2>/dev/null; echo "code $?"
    "#
    );
    let Some(output) = on_small_disk(&env, &script) else {
        return;
    };
    let ran = "out\nin\ncode 7\ncode 125\n";
    let expected = [ran.to_owned(), ran.repeat(2)];
    assert!(expected.contains(&output.stdout()), "{}", output.stdout());
    assert!(
        output.stderr().contains("No space left"),
        "{}",
        output.stderr()
    );
}

#[test]
fn setting_makes_log_optional() {
    let env = TestEnv::new();
    std::fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(".omne/lib/cfg/runlog.toml", "[run]\nlog_optional = true\n");
    env.write(".omne/var", "");
    let output = env.run_with(&["run", "--", "sh", "-c", JOB], b"in\n");
    assert_ran_without_log(&output);
    let args = ["run", "--no-log-optional", "--", "sh", "-c", JOB];
    assert_refused(&env.run_with(&args, b"in\n"));
}

#[test]
fn detached_command_runs_without_log() {
    let env = TestEnv::new();
    env.write(".omne", "");
    let output = env.run(&["run", "--detach", "--log-optional", "--", "touch", "ran"]);
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert!(output.stderr().contains("without a log"));
    env.wait_for_file("ran");
}
