//! `[run]` in the settings: defaults for the flags of `run`.

use std::fs;

use insta::assert_snapshot;

use crate::support::checks::snapshot;
use crate::support::env::{Output, TestEnv, finish};

/// Creates a volume with these settings, and returns it.
fn with_settings(settings: &str) -> TestEnv {
    let env = TestEnv::new();
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(".omne/lib/cfg/runlog.toml", settings);
    env
}

/// Runs `runlog` with the settings of a user.
fn with_user(env: &TestEnv, settings: &str, args: &[&str]) -> Output {
    fs::create_dir_all(env.path("config/runlog")).unwrap();
    env.write("config/runlog/config.toml", settings);
    finish(env.command(args).env("XDG_CONFIG_HOME", env.path("config")))
}

#[test]
fn defaults_hold_for_run() {
    let env = with_settings(
        "[run]\nname = \"nightly\"\nquiet = true\nretries = 1\nretry-delay = \"1ms\"\nlabel = [\"team=a\", \"x=1\"]\n",
    );
    let output = env.run(&["run", "sh", "-c", "echo hi; exit 3"]);
    assert_eq!(
        (output.code, &*output.stdout(), &*output.stderr()),
        (3, "", "")
    );
    let status = env.status("latest");
    assert_eq!(status["name"], "nightly");
    let submitted = env.event("job_submitted");
    assert_eq!(submitted["labels"]["team"], "a");
    assert_eq!(env.events_of_type(&env.only_run(), "job_started").len(), 2);
}

#[test]
fn closing_run_does_not_use_defaults() {
    for settings in ["[run]\nno_such_flag = true\n", "[run\n"] {
        let env = with_settings(settings);
        env.ok(&["emit", "--open", "--run", "it", "x"]);
        env.ok(&["run", "--run", "it", "--close"]);
        let output = env.run(&["run", "--run", "other", "--close", "true"]);
        assert_eq!(output.code, 2, "{}", output.stderr());
    }
}

#[test]
fn defaults_for_locks_hold_only_with_lock() {
    let settings = "[run]\nif-locked = \"skip\"\nlock-timeout = \"1s\"\n";
    let env = with_settings(settings);
    env.ok(&["run", "-q", "true"]);
    let nested = r#""$RUNLOG" run --lock=it false"#;
    env.ok(&["run", "-q", "--lock=it", "sh", "-c", nested]);
    let refused = TestEnv::new().run(&["run", "--if-locked=skip", "true"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr());
}

#[test]
fn flags_precede_volume_and_volume_precedes_user() {
    let env = with_settings("[run]\nname = \"volume\"\nquiet = true\n");
    let name = || env.status("latest")["name"].clone();
    with_user(
        &env,
        "[run]\nname = \"user\"\nno_capture = true\n",
        &["run", "echo", "x"],
    );
    assert_eq!(name(), "volume");
    assert_eq!(env.ok(&["tail", "--output"]).stdout(), "");
    let output = with_user(
        &env,
        "[run]\nname = \"user\"\nno_capture = true\n",
        &["run", "-n", "flag", "--no-quiet", "--capture", "echo", "x"],
    );
    assert_eq!(output.stdout(), "x\n");
    assert_eq!(name(), "flag");
    assert_eq!(env.ok(&["tail", "--output"]).stdout(), "x\n");
    fs::remove_file(env.path(".omne/lib/cfg/runlog.toml")).unwrap();
    with_user(&env, "[run]\nname = \"user\"\n", &["run", "true"]);
    assert_eq!(name(), "user");
}

#[test]
fn default_that_conflicts_with_flag_is_named() {
    let mut messages = String::new();
    for (settings, flag) in [
        ("[run]\nno-capture = true\n", "--quiet-on-success"),
        ("[run]\nretries = 1\nclose = true\n", "--quiet"),
    ] {
        let env = with_settings(settings);
        let output = env.run(&["run", flag, "true"]);
        assert_eq!(output.code, 2);
        messages.push_str(&snapshot(&env, &output));
    }
    assert_snapshot!(messages, @"
    exit 2
    -- stderr
    error: the argument '--no-capture' cannot be used with '--quiet-on-success'

    Usage: runlog run [OPTIONS] [--] COMMAND [ARGS]…
     runlog run --again RUN [--job ID | --failed] [OPTIONS]
     runlog run --run ID --close

    For more information, try '--help'.
    hint: [ROOT]/.omne/lib/cfg/runlog.toml:2 sets `run.no-capture`; turn it off with --capture
    exit 2
    -- stderr
    error: the following required arguments were not provided:
     --run <ID>

    Usage: runlog run [OPTIONS] [--] COMMAND [ARGS]…
     runlog run --again RUN [--job ID | --failed] [OPTIONS]
     runlog run --run ID --close

    For more information, try '--help'.
    hint: [ROOT]/.omne/lib/cfg/runlog.toml:3 sets `run.close`; turn it off with --no-close
    ");
    let env = with_settings("[run]\nno-capture = true\n");
    env.ok(&["run", "--quiet-on-success", "--capture", "true"]);
}

#[test]
fn zero_turns_default_sampling_off() {
    let env = with_settings("[run]\nsample = \"1m\"\n");
    for (args, recorded) in [
        (&[][..], true),
        (&["--sample", "0"], false),
        (&["--sample", "1ms"], true),
    ] {
        env.ok(&[&["run", "-q", "--run", "it", "--close"], args, &["true"]].concat());
        let submitted = env.event("job_submitted").to_string();
        assert_eq!(submitted.contains("sample_ms"), recorded, "{args:?}");
        fs::remove_dir_all(env.path(".omne/var")).unwrap();
    }
}

#[test]
fn invalid_defaults_name_file_and_line() {
    let mut messages = String::new();
    for settings in [
        "[run]\n\nnmae = \"x\"\n",
        "[run]\ntimeout = \"soon\"\n",
        "[run]\nquiet = \"yes\"\n",
        "[run]\ntimeout = true\n",
        "[run]\nagain = \"build\"\n",
        "[run]\nname = [\"a\", \"b\"]\n",
        "[run]\nlabel = [\"a=1\", 5]\n",
        "[run]\nredact = \"(\"\n",
        "[run]\ntty = \"maybe\"\n",
        "[run]\nname = \"\"\n",
        "[run]\ncommand = \"x\"\n",
        "[run]\nname = {}\n",
    ] {
        let env = with_settings(settings);
        let output = env.run(&["run", "touch", "ran"]);
        assert!(!env.exists("ran") && env.runs().is_empty());
        messages.push_str(&snapshot(&env, &output));
    }
    assert_snapshot!(messages, @r#"
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:3: run.nmae: there is no such flag
    hint: use the long flags of `runlog run` as keys in [run]
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.timeout: `soon` is not a duration; write seconds or numbers with ms, s, m, h, d, w, such as 90, [DURATION] or 1h30m
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.quiet: write true or false
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.timeout: it needs a value
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.again: it chooses what to run, so it has no default
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.name: it takes one value
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.label: `5` has no `=`; write KEY=VALUE, such as stage=build
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.redact: redaction 1 is not a regular expression: unclosed group; a literal secret is best given as ENV:NAME, the name of an environment variable that holds it
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.tty: `maybe` is not one of auto, always, never
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.name: the value is empty
    hint: `runlog run --help` describes the values of the flag
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: run.command: there is no such flag
    hint: use the long flags of `runlog run` as keys in [run]
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: write true or false, a text such as "1h", a number, or a list of these
    hint: fix the settings, or move the file away
    "#);
    let env = TestEnv::new();
    let output = with_user(&env, "[gc]\nmax_runs = 1\n", &["run", "true"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 2
    -- stderr
    error: [ROOT]/config/runlog/config.toml:1: unknown field `gc`, expected one of `run`, `hooks`, `telemetry`
    hint: fix the settings, or move the file away
    ");
    // Other commands do not read the defaults of a user.
    assert_eq!(with_user(&env, "x", &["completions", "bash"]).code, 0);
}
