//! `-o FILE`: the file is replaced atomically when the export is complete.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use insta::assert_snapshot;

use crate::export::{FORMATS, exported};
use crate::replay::with_timeline;
use crate::support::checks::{assert_one_error, snapshot};
use crate::support::crash::{at_each_call, has_strace, run_with_fault, was_hit};
use crate::support::env::TestEnv;

#[test]
fn export_file_is_written_atomically() {
    let env = with_timeline();
    for format in FORMATS {
        let text = exported(&env, format);
        env.write("out", "before");
        fs::set_permissions(env.path("out"), fs::Permissions::from_mode(0o604)).unwrap();
        env.ok(&["replay", "it", "--export", format, "-o", "out"]);
        let written = fs::read_to_string(env.path("out")).unwrap();
        // The token of the workflow commands is random.
        assert!(written == text || format == "github", "{format}");
        let mode = fs::metadata(env.path("out")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o604);
        let dash = env.ok(&["replay", "it", "--export", format, "-o", "-"]);
        assert_eq!(dash.stdout.len(), text.len(), "{format}");
    }
    assert_eq!(left(&env), ["out"]);
}

/// Returns the contents of the directory, except the volume.
fn left(env: &TestEnv) -> Vec<String> {
    let entries = fs::read_dir(env.root()).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != ".omne").collect();
    names.sort();
    names
}

#[test]
fn failed_export_keeps_existing_file() {
    let env = with_timeline();
    env.write("out", "before");
    env.damage_event_3("it");
    for format in FORMATS {
        let args = ["replay", "it", "--export", format, "-o", "out"];
        let output = env.run(&[&args[..], &["--strict"]].concat());
        assert_eq!(output.code, 5, "{format}: {}", output.stderr());
        assert_eq!(fs::read_to_string(env.path("out")).unwrap(), "before");
    }
    assert_eq!(left(&env), ["out"]);
    for (to, code) in [("none/x", 7), ("/dev/full", 7), (".omne/var/runs/it/x", 2)] {
        let output = env.run(&["replay", "it", "--export", "junit", "-o", to]);
        assert_eq!(output.code, code, "{to}: {}", output.stderr());
    }
    assert_snapshot!(snapshot(&env, &env.run(&["replay", "-o", "x"])), @r#"
    exit 2
    -- stderr
    error: the following required arguments were not provided:
     <--as <PROGRAM>|--export <FORMAT>>

    Usage: runlog replay --out <FILE> <--as <PROGRAM>|--export <FORMAT>> [RUN]

    For more information, try '--help'.
    "#);
    assert_one_error(&env.run(&["replay", "it", "--export", "spark"]));
}

#[test]
fn export_refuses_to_overwrite_run_files() {
    let env = with_timeline();
    let printed = env.captured("it", "deploy");
    symlink(".omne/var/runs/it/new", env.path("link")).unwrap();
    for to in [
        ".omne/var/runs/it/jobs/deploy.out",
        ".omne/var/runs/it/events.jsonl",
        ".omne/var/runs/it/new",
        ".omne/var/runs/new",
        "link",
    ] {
        for command in [["replay", "it"].as_slice(), &["status"]] {
            let args = [command, &["--export", "csv", "-o", to]].concat();
            let output = env.run(&args);
            assert_eq!(output.code, 2, "{args:?}");
            assert_one_error(&output);
            assert!(output.stderr().contains("hint: name another file with -o"));
        }
    }
    assert_eq!(env.captured("it", "deploy"), printed);
    assert_eq!(env.runs(), ["it"]);
    env.ok(&["replay", "it", "--verify"]);
}

#[test]
fn export_refuses_to_replace_non_files() {
    let env = with_timeline();
    let socket = UnixListener::bind(env.path("socket")).unwrap();
    for to in ["socket", ".", "none/out", "out/"] {
        let output = env.run(&["replay", "it", "--export", "csv", "-o", to]);
        assert_eq!(output.code, 7, "{to}");
        assert_one_error(&output);
    }
    drop(socket);
    assert_eq!(left(&env), ["socket"]);
    let whole = exported(&env, "csv");
    let fifo = env.sh(
        r#"mkfifo fifo; { cat fifo >read & }; "$RUNLOG" replay it --export csv -o fifo && wait"#,
    );
    assert_eq!(fifo.code, 0, "{}", fifo.stderr());
    assert_eq!(fs::read_to_string(env.path("read")).unwrap(), whole);
    // `/dev/stdout` follows the shell's redirection, and nothing is replaced.
    env.sh(r#"echo before >all; "$RUNLOG" replay it --export csv -o /dev/stdout >>all"#);
    let all = fs::read_to_string(env.path("all")).unwrap();
    assert_eq!(all, format!("before\n{whole}"));
}

/// Injects a fault at each system call of an export that affects its file.
fn sweep(fault: &str) {
    let env = with_timeline();
    if !has_strace(&env) {
        return;
    }
    let whole = exported(&env, "csv");
    let calls = [
        "openat",
        "write",
        "fchown",
        "fchmod",
        "fdatasync",
        "linkat",
        "rename",
    ];
    let hits = at_each_call(&calls, fault, |fault| {
        env.write("out", "before");
        let args = ["replay", "it", "--export", "csv", "-o", "out"];
        let output = run_with_fault(&env, &[], fault, &args);
        was_hit(&env).then_some(())?;
        let what = format!("{fault}: {} {}", output.code, output.stderr());
        assert_ne!(output.code, 101, "{what}");
        let there = fs::read_to_string(env.path("out")).unwrap();
        let expected = if output.code == 0 {
            whole.as_str()
        } else {
            "before"
        };
        assert_eq!(there, expected, "{what}");
        // The named temporary file remains if the export is killed before the final rename.
        let mut files = left(&env);
        files.retain(|name| !(fault.starts_with("rename") && name.starts_with(".runlog-")));
        assert_eq!(files, ["out"], "{what}");
        Some(())
    });
    assert!(hits > 5, "{hits}");
}

#[test]
fn export_killed_at_each_syscall() {
    let env = TestEnv::new();
    let unnamed = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::WRONLY;
    if rustix::fs::open(env.root(), unnamed, 0o600.into()).is_err() {
        eprintln!("skipped: the file system has no files without a name");
        return;
    }
    sweep("signal=KILL");
}

#[test]
fn export_failing_at_each_syscall() {
    sweep("error=EIO");
    sweep("error=ENOSPC");
}
