//! Invalid input: one clear line, a hint, the right exit code, and no state left behind.

use insta::assert_snapshot;

use crate::support::checks::{assert_one_error, snapshot};
use crate::support::env::{TestEnv, finish};

/// Asserts that these arguments exit with 2 before anything is created.
#[track_caller]
fn assert_refused(args: &[&str]) {
    let env = TestEnv::new();
    let output = env.run(args);
    assert_eq!(output.code, 2, "{args:?}: {}", output.stderr());
    assert_one_error(&output);
    assert!(!env.exists(".omne"), "{args:?}");
    assert!(!env.exists("ran"), "{args:?}");
}

const BAD_IDS: [&str; 12] = [
    "../x",
    "../../../x",
    "x/y",
    "/etc/x",
    ".",
    "..",
    "",
    ".hidden",
    "a b",
    "a\nb",
    "ä",
    "latest",
];

#[test]
fn malformed_run_ids_are_rejected() {
    for id in BAD_IDS {
        assert_refused(&["run", "--run", id, "--", "touch", "ran"]);
        assert_refused(&["emit", "--open", "--run", id, "x"]);
    }
}

#[test]
fn malformed_job_ids_are_rejected() {
    for id in BAD_IDS {
        assert_refused(&["run", "--job", id, "--", "touch", "ran"]);
    }
}

#[test]
fn id_over_128_characters_is_rejected() {
    let env = TestEnv::new();
    let long = "x".repeat(128);
    env.ok(&["emit", "--open", "--run", &long, "x"]);
    assert_refused(&["emit", "--open", "--run", &"x".repeat(129), "x"]);
}

#[test]
fn run_id_from_environment_is_validated() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    let mut command = env.command(&["emit", "x"]);
    let output = finish(command.env("RUNLOG_RUN_ID", "../it"));
    assert_eq!(output.code, 2, "{}", output.stderr());
}

#[test]
fn status_path_cannot_escape_volume() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    std::fs::create_dir(env.path("secret")).unwrap();
    env.write("secret/events.jsonl", "");
    for name in ["../../../secret", "it/../it", "./it", "/"] {
        let output = env.run(&["status", name]);
        assert!([2, 3].contains(&output.code), "{name}: {}", output.code);
        assert_one_error(&output);
    }
}

#[test]
fn ids_from_names_are_safe() {
    let env = TestEnv::new();
    for name in ["../x", "a/b", "..", "ä ö", "-x", "latest", "a\nb"] {
        let output = env.ok(&["run", &format!("--name={name}"), "--", "true"]);
        let id = output.run_id();
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
            "{id}"
        );
        assert!(id.starts_with(|c: char| c.is_ascii_alphanumeric()), "{id}");
    }
    let long = "n".repeat(1000);
    let id = env.ok(&["run", "--name", &long, "--", "true"]).run_id();
    assert!(id.len() <= 128, "{id}");
}

#[test]
fn malformed_sizes_are_rejected() {
    for size in [
        "",
        "x",
        "-1",
        "1X",
        "1.2.3M",
        "1e3",
        "99999999999999999999",
        "9P",
        "NaN",
    ] {
        for option in [
            "--require-free-disk",
            "--require-free-mem",
            "--capture-limit",
        ] {
            assert_refused(&["run", &format!("{option}={size}"), "--", "touch", "ran"]);
        }
    }
}

#[test]
fn malformed_durations_are_rejected() {
    for time in [
        "", "x", "-1s", "1y", "1m1h", "1.2.3s", "1e3", "200000d", "inf",
    ] {
        for option in ["--timeout", "--kill-after", "--retry-delay", "--sample"] {
            assert_refused(&["run", &format!("{option}={time}"), "--", "touch", "ran"]);
        }
    }
}

#[test]
fn malformed_numbers_and_pairs_are_rejected() {
    for option in [
        "--retries=-1",
        "--retries=x",
        "--max-load=-1",
        "--max-load=NaN",
        "--max-load=x",
        "--name=",
        "--input=novalue",
        "--input==x",
        "--label=1a=x",
        "--env=a b=x",
        "--env=RUNLOG_RUN_ID=x",
    ] {
        assert_refused(&["run", option, "--", "touch", "ran"]);
    }
}

#[test]
fn malformed_pair_error_hides_value() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--env", "MY TOKEN=hunter2", "--", "true"]);
    assert!(!output.stderr().contains("hunter2"), "{}", output.stderr());
}

#[test]
fn variable_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let env = TestEnv::new();
    let mut command = env.command(&["run", "-q", "--env", "V", "--", "true"]);
    let output = finish(command.env("V", std::ffi::OsStr::from_bytes(b"\xff")));
    assert_snapshot!(snapshot(&env, &output), @r#"
    exit 2
    -- stderr
    error: --env V: environment variable was not valid unicode: "\xFF"
    hint: omit the option: the command inherits the variable anyway
    "#);
}

#[test]
fn nul_byte_never_reaches_log() {
    // Arguments cannot contain a NUL. Job output and notes can.
    let env = TestEnv::new();
    env.ok(&["run", "--run", "it", "--", "printf", "a\\0b"]);
    assert_eq!(env.captured("it", "printf"), b"a\0b");
}

#[test]
fn malformed_size_error_message() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--capture-limit", "1X", "--", "true"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 2
    -- stderr
    error: invalid value '1X' for '--capture-limit <SIZE>': `1X` is not a size; write bytes or a number with K, M, G, T, P (1024-based), such as 512M

    For more information, try '--help'.
    ");
}

#[test]
fn malformed_run_id_error_message() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--run", "../x", "--", "true"]);
    assert_snapshot!(snapshot(&env, &output), @r#"
    exit 2
    -- stderr
    error: invalid value '../x' for '--run <ID>': invalid id "../x": it must begin with a letter or a digit

    For more information, try '--help'.
    "#);
}

#[test]
fn option_without_its_mode_is_refused() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--", "true"]);
    for (command, missing) in [
        ("replay it --rollback --with-hooks", "--recover"),
        ("replay it --rollback --with-rollback", "--recover"),
        ("replay --rollback --all", "--recover"),
        ("replay --state --all", "--recover"),
        ("replay it --output --at 1", "--state"),
        ("replay it --state --job it", "--output"),
        ("replay it --recover --stream stdout", "--output"),
        ("replay it --state --dry-run", "--recover|--rollback"),
        ("status --wait --state failed", "RUN"),
        ("status --exit-status --name it", "RUN"),
        ("status --stats --out file", "--export <FORMAT>"),
        ("status --json --with-runs pages", "--export <FORMAT>"),
        ("tail it --type note --timestamps", "--output"),
        ("tail it --cursor-file c --stream stdout", "--output"),
    ] {
        let args: Vec<_> = command.split(' ').collect();
        let output = env.run(&args);
        assert_eq!(output.code, 2, "{command}");
        let expected = format!("required arguments were not provided:\n  <{missing}>");
        let stderr = output.stderr();
        assert!(stderr.contains(&expected), "{command}: {stderr}");
    }
}
