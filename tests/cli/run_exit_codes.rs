//! The exit code of `run`: the job's own, or one as in `timeout(1)` and shells.

use std::fs;

use insta::assert_snapshot;

use crate::support::checks::snapshot;
use crate::support::env::TestEnv;

/// Runs a script with `sh -c` and returns the exit code of runlog.
fn code_of(script: &str) -> i32 {
    TestEnv::new().run(&["run", "--", "sh", "-c", script]).code
}

#[test]
fn exit_code_is_passed_through() {
    let script = r#"
        for code in $(seq 0 5 255); do
            "$RUNLOG" run -q --no-capture -- sh -c "exit $code"
            got=$?
            [ $got -eq $code ] || echo "$code came back as $got"
        done
    "#;
    assert_eq!(TestEnv::new().sh(script).stdout(), "");
}

#[test]
fn exit_code_is_recorded() {
    let env = TestEnv::new();
    for code in [0_u8, 1, 2, 124, 125, 126, 127, 128, 137, 255] {
        let script = format!("exit {code}");
        let job = format!("c{code}");
        env.run(&[
            "run", "--run", "codes", "--job", &job, "--", "sh", "-c", &script,
        ]);
        let last = env.events("codes").pop().unwrap();
        let expected = if code == 0 {
            "job_completed"
        } else {
            "job_failed"
        };
        assert_eq!(
            (&last["type"], &last["exit_code"]),
            (&expected.into(), &code.into())
        );
        assert!(last.get("signal").is_none(), "{last}");
    }
}

#[test]
fn signal_exits_128_plus_number() {
    // A code of 1000 and more: the signal ended runlog itself.
    for (signal, code) in [("HUP", 1001), ("INT", 1002), ("KILL", 137), ("SEGV", 139)] {
        assert_eq!(
            code_of(&format!("ulimit -c 0; kill -{signal} $$")),
            code,
            "{signal}"
        );
    }
    for (signal, code) in [
        ("USR1", 138),
        ("PIPE", 1013),
        ("TERM", 1015),
        ("RTMIN", 162),
    ] {
        assert_eq!(code_of(&format!("kill -{signal} $$")), code, "{signal}");
    }
}

#[test]
fn signal_is_recorded_by_name_without_exit_code() {
    let env = TestEnv::new();
    env.run(&["run", "--", "sh", "-c", "kill -TERM $$"]);
    let failed = env.event("job_failed");
    assert_eq!(failed["signal"], "SIGTERM");
    assert_eq!(failed["error"]["kind"], "signal");
    assert!(failed.get("exit_code").is_none(), "{failed}");
}

#[test]
fn exit_code_over_128_is_not_a_signal() {
    let env = TestEnv::new();
    assert_eq!(env.run(&["run", "--", "sh", "-c", "exit 143"]).code, 143);
    assert_eq!(env.event("job_failed")["error"]["kind"], "exit");
}

#[test]
fn timeout_exits_124() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--timeout", "50ms", "--", "sleep", "60"]);
    assert_eq!(output.code, 124);
    let failed = env.event("job_failed");
    assert_eq!(failed["error"]["kind"], "timeout");
    assert_eq!(failed["signal"], "SIGTERM");
}

#[test]
fn job_exiting_0_on_timeout_still_timed_out() {
    let env = TestEnv::new();
    let script = "trap 'exit 0' TERM; while test -d .omne; do sleep 0.01; done";
    let output = env.run(&["run", "--timeout", "300ms", "--", "sh", "-c", script]);
    assert_eq!(output.code, 124);
    assert_eq!(env.event("job_failed")["error"]["kind"], "timeout");
}

#[test]
fn unknown_command_exits_127() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--", "no-such-command-here"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 127
    -- stderr
    run_id=no-such-command-here-[ULID]
    error: command not found: `no-such-command-here`
    hint: check the spelling of the command and PATH
    ");
    assert_eq!(env.event("job_failed")["error"]["kind"], "not_found");
    assert_eq!(env.events_of_type(&env.only_run(), "job_started").len(), 0);
}

#[test]
fn missing_path_exits_127() {
    assert_eq!(TestEnv::new().run(&["run", "--", "./missing"]).code, 127);
}

#[test]
fn empty_command_is_rejected_without_traces() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--", ""]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 2
    -- stderr
    error: the command is empty
    hint: give a command: `runlog run COMMAND`
    ");
    assert!(!env.exists(".omne"));
}

#[test]
fn non_executable_file_exits_126() {
    let env = TestEnv::new();
    env.write("plain", "#!/bin/sh\n");
    let output = env.run(&["run", "--", "./plain"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 126
    -- stderr
    run_id=plain-[ULID]
    error: `./plain` is not executable
    hint: make the file executable, or run it with its interpreter
    ");
    assert_eq!(env.event("job_failed")["error"]["kind"], "not_executable");
}

#[test]
fn directory_as_command_exits_126() {
    assert_eq!(TestEnv::new().run(&["run", "--", "/tmp"]).code, 126);
}

#[test]
fn script_without_shebang_runs_in_sh() {
    let env = TestEnv::new();
    env.executable("script", "exit 7\n");
    assert_eq!(env.run(&["run", "--", "./script"]).code, 7);
}

#[test]
fn program_for_another_machine_exits_126() {
    let env = TestEnv::new();
    env.executable("arm", "\x7fELF\x02\x01\x01 a program for another machine\n");
    let output = env.run(&["run", "--", "./arm"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 126
    -- stderr
    run_id=arm-[ULID]
    error: cannot execute ./arm: Exec format error (os error 8)
    hint: the file was built for another machine, or is damaged
    ");
    assert_eq!(env.event("job_failed")["error"]["kind"], "not_executable");
    env.write("volume", "");
    let args = ["-C", "volume", "run", "-q", "--log-optional", "--", "./arm"];
    assert_eq!(env.run(&args).code, 126);
}

#[test]
fn unusable_paths_exit_126_with_reason() {
    let env = TestEnv::new();
    std::os::unix::fs::symlink("loop", env.path("loop")).unwrap();
    env.executable("passwd", "#!/etc/passwd\n");
    let output = env.sh(
        r#"for path in ./loop /etc/passwd/x ./passwd; do "$RUNLOG" run -q -- $path 2>&1; echo $?; done"#,
    );
    assert_snapshot!(output.stdout(), @"
    error: cannot execute ./loop: Too many levels of symbolic links (os error 40)
    hint: check the path of the command, and the permissions of its directories
    126
    error: cannot execute /etc/passwd/x: Not a directory (os error 20)
    hint: check the path of the command, and the permissions of its directories
    126
    error: cannot execute ./passwd: its interpreter `/etc/passwd`: Permission denied (os error 13)
    hint: make the interpreter executable, or correct the first line of the script
    126
    ");
}

#[test]
fn missing_loader_is_named() {
    let env = TestEnv::new();
    let output = env.sh(
        r#"sed -E 's|/(ld[^/]*\.so\.)[0-9]|/\19|' /bin/true >job; chmod +x job; "$RUNLOG" run -q -- ./job; echo $?"#,
    );
    assert_eq!(output.stdout(), "127\n");
    assert!(
        output.stderr().contains("loader not found: `/lib"),
        "{}",
        output.stderr()
    );
}

#[test]
fn variables_keep_their_order() {
    let output = TestEnv::new().sh(
        r#"env -i Z=1 A=2 PATH="$PATH" "$RUNLOG" run --no-capture --env M=3 -- env | grep -v RUNLOG"#,
    );
    let names: Vec<_> = output
        .stdout()
        .lines()
        .map(|line| line[..1].to_owned())
        .collect();
    assert_eq!(names, ["Z", "A", "P", "M"]);
}

#[test]
fn socket_activation_reaches_the_job() {
    let script = r#"export LISTEN_FDS=1 LISTEN_PID=$$
        exec "$RUNLOG" run -- sh -c 'test $LISTEN_PID = $$ && echo activated'"#;
    assert_eq!(TestEnv::new().sh(script).stdout(), "activated\n");
}

#[test]
fn script_sees_name_that_shell_would_execute() {
    let env = TestEnv::new();
    fs::create_dir(env.path("sub")).unwrap();
    env.executable("sub/show", "#!/bin/sh\necho $0\n");
    let name = |script: &str| env.sh(script).stdout();
    assert_eq!(name("$RUNLOG run sub/show"), "sub/show\n");
    assert_eq!(name("$RUNLOG run ./sub/../sub/show"), "./sub/../sub/show\n");
    assert_eq!(name("$RUNLOG run --cwd sub ./show"), "./show\n");
    assert_eq!(name("PATH=sub:$PATH $RUNLOG run show"), "sub/show\n");
    assert_eq!(name("cd sub; PATH=:$PATH $RUNLOG run show"), "./show\n");
}

#[test]
fn script_with_missing_interpreter_is_not_started() {
    let env = TestEnv::new();
    env.executable("script", "#!/no/such/interpreter\n");
    let output = env.run(&["run", "--", "./script"]);
    assert!([126, 127].contains(&output.code), "{}", output.code);
    assert_eq!(env.types(&env.only_run()).last().unwrap(), "run_closed");
}

#[test]
fn missing_working_directory_exits_125() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--cwd", "missing", "--", "true"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 125
    -- stderr
    run_id=true-[ULID]
    error: cannot enter working directory `[ROOT]/missing`: No such file or directory (os error 2)
    hint: use another directory with --cwd
    ");
    assert_eq!(env.event("job_failed")["error"]["kind"], "validation");
}

#[test]
fn unusable_volume_exits_125() {
    let env = TestEnv::new();
    env.write(".omne", "a file");
    let output = env.run(&["run", "--", "touch", "ran"]);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 125
    -- stderr
    error: `[ROOT]/.omne` is not a directory
    hint: name another directory with -C DIR
    ");
    assert!(!env.exists("ran"));
}

#[test]
fn invalid_options_exit_2_and_create_nothing() {
    let env = TestEnv::new();
    for args in [
        &["run", "--no-such-option", "--", "true"][..],
        &["run"],
        &["run", "--"],
        &["run", "--close"],
        &["nonsense"],
        &[],
    ] {
        assert_eq!(env.run(args).code, 2, "{args:?}");
    }
    assert!(!env.exists(".omne"));
}

#[test]
fn help_and_version_exit_0() {
    let env = TestEnv::new();
    for args in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let output = env.run(args);
        assert_eq!(
            (output.code, output.stderr()),
            (0, String::new()),
            "{args:?}"
        );
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
}
