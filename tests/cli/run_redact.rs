//! Masked text never reaches the disk, but passes through unchanged.

use std::process::Stdio;

use crate::support::env::{Background, TestEnv, finish};

/// Asserts that no file of the volume contains this text.
#[track_caller]
fn assert_not_on_disk(env: &TestEnv, secret: &str) {
    let found = env.sh(&format!("grep -rl -e '{secret}' .omne"));
    assert_eq!(found.stdout(), "", "{secret} is on disk");
    assert_eq!(found.code, 1, "{}", found.stderr());
}

/// Asserts that the stored output does not contain this text.
#[track_caller]
fn assert_not_captured(env: &TestEnv, text: &str) {
    let stored = env.captured(&env.only_run(), "sh");
    let stored = String::from_utf8_lossy(&stored);
    assert!(!stored.contains(text), "{text} is stored");
}

#[test]
fn masked_text_passes_through_but_is_not_stored() {
    let env = TestEnv::new();
    let output = env.ok(&[
        "run",
        "--redact",
        "hunter[0-9]",
        "--",
        "echo",
        "pw=hunter2;",
    ]);
    assert_eq!(output.stdout(), "pw=hunter2;\n");
    assert_not_on_disk(&env, "hunter2");
    let stored = env.captured(&env.only_run(), "echo");
    assert!(
        stored.starts_with(b"pw=") && stored.ends_with(b";\n"),
        "{stored:?}"
    );
}

#[test]
fn masked_arguments_are_flagged() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "--redact",
        "hunter2",
        "--",
        "true",
        "--password=hunter2",
    ]);
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["redacted"], true);
    assert!(
        submitted["argv"][1]
            .as_str()
            .unwrap()
            .starts_with("--password=")
    );
    assert_not_on_disk(&env, "hunter2");
}

#[test]
fn all_recorded_fields_are_masked() {
    let env = TestEnv::new();
    env.run(&[
        "run",
        "--redact",
        "hunter2",
        "--name",
        "n-hunter2",
        "--input",
        "a=hunter2",
        "--label",
        "b=hunter2",
        "--env",
        "C=hunter2",
        "--record-env",
        "--rollback",
        "echo hunter2; exit 1",
        "--",
        "sh",
        "-c",
        "echo hunter2 >&2; exit 1",
    ]);
    assert_not_on_disk(&env, "hunter2");
}

#[test]
fn variable_value_is_masked() {
    let env = TestEnv::new();
    let mut command = env.command(&[
        "run",
        "--redact",
        "ENV:TOKEN",
        "--",
        "sh",
        "-c",
        "echo $TOKEN",
    ]);
    let output = finish(command.env("TOKEN", "s3cr.t(value"));
    assert_eq!(output.stdout(), "s3cr.t(value\n");
    assert_not_on_disk(&env, "s3cr.t(value");
}

#[test]
fn json_escaped_value_is_masked() {
    let env = TestEnv::new();
    let secret = "a\"b\\c";
    let mut command = env.command(&["run", "--redact", "ENV:TOKEN", "--", "echo", secret]);
    let output = finish(command.env("TOKEN", secret));
    assert_eq!(output.stdout(), format!("{secret}\n"));
    let run = env.only_run();
    assert_eq!(env.event("job_submitted")["redacted"], true);
    let log = std::fs::read_to_string(env.log_path(&run)).unwrap();
    assert!(!log.contains(r#"a\"b\\c"#) && !log.contains(secret));
    assert!(!env.captured(&run, "echo").starts_with(b"a\""));
}

#[test]
fn secret_printed_in_pieces_is_masked() {
    let env = TestEnv::new();
    let script = "printf hun; read _; printf 'ter2\\n'";
    let mut command = env.command(&["run", "--redact", "hunter2", "--", "sh", "-c", script]);
    let mut job = Background::new(command.stdin(Stdio::piped()));
    assert_eq!(job.read(3), b"hun");
    job.write(b"\n");
    assert_eq!(job.end().stdout(), "ter2\n");
    assert_not_captured(&env, "ter2");
}

#[test]
fn secret_far_into_long_line_is_masked() {
    // Around 64 KiB, where a line is split.
    for before in [65_530, 65_536, 131_070] {
        let env = TestEnv::new();
        let script = format!("head -c {before} /dev/zero | tr '\\0' x; echo $TOKEN");
        let args = [
            "run",
            "-q",
            "--redact",
            "ENV:TOKEN",
            "--",
            "sh",
            "-c",
            &script,
        ];
        finish(env.command(&args).env("TOKEN", "hunter2"));
        assert_not_on_disk(&env, "hunter2");
        assert_not_captured(&env, "ter2");
        let stored = env.captured(&env.only_run(), "sh");
        assert!(
            stored.len() >= before,
            "only {} bytes are left",
            stored.len()
        );
    }
}

#[test]
fn streams_are_masked_independently() {
    let env = TestEnv::new();
    let script = "printf hun; printf x >&2; printf 'ter2\\n'";
    env.ok(&["run", "-q", "--redact", "hunter2", "--", "sh", "-c", script]);
    assert_not_captured(&env, "ter2");
}

#[test]
fn notes_of_job_script_are_masked() {
    let env = TestEnv::new();
    let script =
        r#""$RUNLOG" emit seen pw=hunter2; echo '{"k":"hunter2"}' | "$RUNLOG" emit --lines"#;
    let output = env.ok(&["run", "--redact", "hunter2", "--", "sh", "-c", script]);
    assert_eq!(output.code, 0, "{}", output.stderr());
    assert_eq!(env.events_of_type(&env.only_run(), "note").len(), 2);
    assert_not_on_disk(&env, "hunter2");
}

#[test]
fn empty_redaction_is_rejected_before_start() {
    let env = TestEnv::new();
    for redact in ["", "ENV:EMPTY", "ENV:UNSET", "("] {
        let mut command = env.command(&["run", "--redact", redact, "--", "touch", "ran"]);
        let output = finish(command.env("EMPTY", ""));
        assert_eq!(output.code, 2, "{redact}: {}", output.stderr());
    }
    assert!(!env.exists(".omne") && !env.exists("ran"));
}

#[test]
fn secret_in_error_message_is_masked() {
    let env = TestEnv::new();
    let program = "API_TOKEN=s3cr3tvalue";
    let mut command = env.command(&["run", "-q", "--redact", "ENV:TOKEN", "--", program, "curl"]);
    finish(command.env("TOKEN", "s3cr3tvalue"));
    assert_not_on_disk(&env, "s3cr3tvalue");
    assert_eq!(
        env.event("job_failed")["error"]["message"],
        "command not found: `API_TOKEN=***`"
    );
}

#[test]
fn secret_in_program_path_is_masked() {
    let env = TestEnv::new();
    env.sh("mkdir hunter2; cp /bin/true hunter2/it");
    env.ok(&["run", "-q", "--redact", "hunter2", "--", "hunter2/it"]);
    assert_not_on_disk(&env, "hunter2");
}

#[test]
fn ids_with_secret_are_refused() {
    let env = TestEnv::new();
    let probe = ["--probe", "hunter2=file:/"];
    for id in [["--run", "a-hunter2"], ["--job", "hunter2"], probe] {
        let [flag, id] = id;
        let output = env.run(&["run", flag, id, "--redact", "hunter2", "--", "true"]);
        assert_eq!(output.code, 2);
        assert!(!output.stderr().contains("hunter2"), "{}", output.stderr());
    }
    assert!(!env.exists(".omne"));
}
