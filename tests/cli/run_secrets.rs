//! Values of variables with names that suggest a secret are masked by default.

use std::process::Stdio;

use crate::support::env::{Background, Output, TestEnv, finish, wait_until};

const SECRET: &str = "s3cr3t-Value";

/// Runs `runlog` with the variable `DB_PASSWORD` set.
fn with_secret(env: &TestEnv, args: &[&str]) -> Output {
    finish(env.command(args).env("DB_PASSWORD", SECRET))
}

fn stored(env: &TestEnv, job: &str) -> String {
    String::from_utf8(env.captured(&env.only_run(), job)).unwrap()
}

fn read(env: &TestEnv, name: &str) -> String {
    std::fs::read_to_string(env.path(name)).unwrap()
}

fn on_disk(env: &TestEnv, text: &str) -> bool {
    env.sh(&format!("grep -rq -e '{text}' .omne")).code == 0
}

#[test]
fn secret_variable_is_masked_in_output_only() {
    let env = TestEnv::new();
    let output = with_secret(
        &env,
        &["run", "-q", "--", "sh", "-c", "echo pw=$DB_PASSWORD;"],
    );
    assert_eq!(output.code, 0);
    assert_eq!(stored(&env, "sh"), "pw=***\n");
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["redacted_vars"][0], "DB_PASSWORD");
    assert!(submitted.get("redacted").is_none());
    let env = TestEnv::new();
    let output = with_secret(&env, &["run", "--", "sh", "-c", "echo $DB_PASSWORD"]);
    assert_eq!(output.stdout(), format!("{SECRET}\n"));
}

#[test]
fn secret_in_command_becomes_reference() {
    let env = TestEnv::new();
    let argument = format!("--password={SECRET}");
    with_secret(&env, &["run", "-q", "--", "echo", &argument]);
    assert_eq!(
        env.event("job_submitted")["argv"][1],
        "--password=${DB_PASSWORD}"
    );
    assert_eq!(stored(&env, "echo"), "--password=***\n");
    assert!(!on_disk(&env, SECRET));
}

#[test]
fn recorded_rollback_runs_with_secret() {
    let env = TestEnv::new();
    let rollback = format!("echo '<{SECRET}>' > undone; exit 1");
    with_secret(
        &env,
        &["run", "-n", "it", "--rollback", &rollback, "--", "false"],
    );
    assert_eq!(read(&env, "undone"), format!("<{SECRET}>\n"));
    assert!(!on_disk(&env, SECRET));
    let run = env.only_run();
    let output = env.run(&["replay", &run, "--rollback"]);
    assert_eq!(output.code, 1, "{}", output.stdout());
    std::fs::remove_file(env.path("undone")).unwrap();
    with_secret(&env, &["replay", &run, "--rollback"]);
    assert_eq!(read(&env, "undone"), format!("<{SECRET}>\n"));
}

#[test]
fn rollback_that_its_reference_would_change_is_not_run() {
    let env = TestEnv::new();
    let rollback = format!("cat > undone <<'EOF'\n{SECRET}\nEOF");
    with_secret(
        &env,
        &["run", "-n", "it", "--rollback", &rollback, "--", "true"],
    );
    let output = with_secret(&env, &["replay", "it", "--rollback"]);
    assert_ne!(output.code, 0);
    assert!(
        output.stdout().contains("contains masked secrets"),
        "{}",
        output.stdout()
    );
    assert!(!env.exists("undone"));
    assert!(!on_disk(&env, SECRET));
}

#[test]
fn secret_is_masked_in_messages_and_notes() {
    let env = TestEnv::new();
    let program = format!("./{SECRET}");
    with_secret(&env, &["run", "--", &program]);
    let error = &env.event("job_failed")["error"]["message"];
    assert_eq!(error, "command not found: `./***`");
    let env = TestEnv::new();
    let script = r#""$RUNLOG" emit seen "pw=$DB_PASSWORD""#;
    with_secret(&env, &["run", "--", "sh", "-c", script]);
    assert_eq!(env.event("note")["data"]["pw"], "***");
}

#[test]
fn secret_is_not_in_names_made_from_the_program() {
    for program in [format!("./{SECRET}"), format!("API_TOKEN={SECRET}")] {
        let env = TestEnv::new();
        with_secret(&env, &["run", "--", &program]);
        with_secret(&env, &["run", "--run", "shared", "--", &program]);
        assert!(!on_disk(&env, SECRET), "{program}");
        let names = env.runs().concat();
        assert!(!names.contains(SECRET), "{names}");
    }
}

#[test]
fn secret_variable_value_becomes_reference() {
    let env = TestEnv::new();
    let set = ["-e", "DB_PASSWORD", "-e", "MODE=fast"];
    with_secret(
        &env,
        &[&["run", "--record-env"], &set[..], &["--", "true"]].concat(),
    );
    let recorded = &env.event("job_submitted")["env"];
    assert_eq!(recorded["DB_PASSWORD"], "${DB_PASSWORD}");
    assert_eq!(recorded["MODE"], "fast");
}

#[test]
fn reason_of_stop_is_masked() {
    let env = TestEnv::new();
    let run = ["run", "--detach", "-n", "it", "--", "sleep", "1000"];
    assert_eq!(env.run(&run).code, 0);
    let reason = format!("wrong password {SECRET}");
    let output = with_secret(&env, &["stop", "it", "--reason", &reason]);
    assert_eq!(output.code, 0);
    assert_eq!(env.event("note")["data"]["reason"], "wrong password ***");
}

#[test]
fn default_masking_can_be_switched_off() {
    let script = r#"echo $DB_PASSWORD; "$RUNLOG" emit seen "pw=$DB_PASSWORD""#;
    let env = TestEnv::new();
    with_secret(
        &env,
        &["run", "-q", "--no-default-redact", "--", "sh", "-c", script],
    );
    assert_eq!(stored(&env, "sh"), format!("{SECRET}\n"));
    assert_eq!(env.event("note")["data"]["pw"], SECRET);
    assert!(env.event("job_submitted").get("redacted_vars").is_none());

    let env = TestEnv::new();
    env.sh("mkdir -p .omne/lib/cfg");
    env.write(".omne/lib/cfg/runlog.toml", "[redact]\ndefault = false\n");
    with_secret(&env, &["run", "-q", "--", "sh", "-c", script]);
    assert_eq!(stored(&env, "sh"), format!("{SECRET}\n"));
    assert_eq!(env.event("note")["data"]["pw"], SECRET);
}

#[test]
fn default_masking_can_be_switched_on_again() {
    let script = r#"echo $DB_PASSWORD; "$RUNLOG" emit seen "pw=$DB_PASSWORD""#;
    for settings in [
        "[redact]\ndefault = false\n",
        "[run]\nno_default_redact = true\n",
    ] {
        let env = TestEnv::new();
        env.sh("mkdir -p .omne/lib/cfg");
        env.write(".omne/lib/cfg/runlog.toml", settings);
        with_secret(
            &env,
            &["run", "-q", "--default-redact", "--", "sh", "-c", script],
        );
        assert_eq!(stored(&env, "sh"), "***\n", "{settings}");
        assert_eq!(env.event("note")["data"]["pw"], "***", "{settings}");
    }
}

#[test]
fn common_values_are_not_masked() {
    let env = TestEnv::new();
    let script = "echo $A_TOKEN $B_TOKEN $C_TOKEN $D_TOKEN";
    let mut command = env.command(&["run", "-q", "--", "sh", "-c", script]);
    command
        .envs([("A_TOKEN", "short"), ("B_TOKEN", "lowercase")])
        .envs([("C_TOKEN", "1234567890"), ("D_TOKEN", "/bin/../bin")]);
    finish(&mut command);
    assert_eq!(
        stored(&env, "sh"),
        "short lowercase 1234567890 /bin/../bin\n"
    );
}

#[test]
fn passed_on_output_is_masked_on_request() {
    for more in [&[][..], &["--no-capture"]] {
        let env = TestEnv::new();
        let mut args = vec!["run", "--redact", "hunter2", "--redact-passed-on"];
        args.extend(more);
        args.extend([
            "--",
            "sh",
            "-c",
            "echo hunter2 $DB_PASSWORD; printf 'hunter2 hun' >&2",
        ]);
        let output = with_secret(&env, &args);
        assert_eq!(output.stdout(), "*** ***\n");
        assert!(output.stderr().ends_with("*** hun"), "{}", output.stderr());
    }
}

#[test]
fn errors_and_output_of_hooks_are_masked_on_request() {
    let env = TestEnv::new();
    let mask = ["run", "--redact-passed-on"];
    let program = format!("./{SECRET}");
    let missing = with_secret(&env, &[&mask[..], &["--", &program]].concat());
    assert_eq!(missing.code, 127);
    assert!(missing.stderr().contains("command not found: `./***`"));
    let print = "echo \"<$DB_PASSWORD>\"";
    let commands = [
        "--on-failure",
        print,
        "--rollback",
        print,
        "--",
        "sh",
        "-c",
        "exit 3",
    ];
    let output = with_secret(&env, &[&mask[..], &commands[..]].concat());
    assert_eq!(output.code, 3);
    assert_eq!(
        output.stderr().matches("<***>").count(),
        2,
        "{}",
        output.stderr()
    );
    assert!(!output.stderr().contains(SECRET));
}

#[test]
fn unfinished_line_is_stored_at_once() {
    let env = TestEnv::new();
    let script = "printf 'Password: '; read _";
    let mut command = env.command(&["run", "-q", "--", "sh", "-c", script]);
    let mut job = Background::new(command.env("DB_PASSWORD", SECRET).stdin(Stdio::piped()));
    env.wait_for("job_started");
    wait_until("the prompt is stored", || {
        stored(&env, "sh") == "Password: "
    });
    job.write(b"\n");
    job.end();
}
