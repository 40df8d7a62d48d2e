//! Unusable volumes: one clear line, a hint, and no new files.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use insta::assert_snapshot;

use crate::support::checks::{assert_one_error, snapshot};
use crate::support::env::{Output, TestEnv, finish};

/// Creates a volume of another user, and a directory below it. Returns `None` if that is not
/// possible.
fn foreign() -> Option<TestEnv> {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    std::fs::create_dir(env.path("sub")).unwrap();
    if chown(env.path(".omne"), Some(12345), None).is_err() {
        eprintln!("skipped: only root can give files away");
        return None;
    }
    Some(env)
}

#[test]
fn file_as_volume_is_rejected() {
    let env = TestEnv::new();
    env.write("file", "");
    assert_snapshot!(snapshot(&env, &env.run(&["-C", "file", "status"])), @"
    exit 3
    -- stderr
    error: `file` is not a directory
    hint: name another directory with -C DIR
    ");
    let output = env.run(&["-C", "file", "run", "--", "touch", "ran"]);
    assert_eq!(output.code, 125);
    assert_one_error(&output);
    assert!(!env.exists("ran"));
}

#[test]
fn missing_volume_is_rejected() {
    let env = TestEnv::new();
    assert_snapshot!(snapshot(&env, &env.run(&["-C", "no/where", "status"])), @"
    exit 3
    -- stderr
    error: cannot open `no/where`: No such file or directory (os error 2)
    hint: check the path
    ");
    let output = env.run(&["-C", "no/where", "run", "--", "touch", "ran"]);
    assert_eq!(output.code, 125);
    assert_one_error(&output);
    assert!(!env.exists("ran") && !env.exists("no"));
}

#[test]
fn directory_without_omne_is_rejected() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("sub")).unwrap();
    env.ok(&["run", "--", "true"]);
    // The volume in the parent directory must not be used.
    assert_snapshot!(snapshot(&env, &env.run(&["-C", "sub", "status"])), @"
    exit 3
    -- stderr
    error: `sub` is not a volume: it has no .omne directory
    hint: create one with `runlog run COMMAND`, or name one with -C DIR
    ");
    assert!(!env.exists("sub/.omne"));
}

#[test]
fn inside_of_volume_is_rejected() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    assert_snapshot!(snapshot(&env, &env.run(&["-C", ".omne", "run", "--", "touch", "ran"])), @"
    exit 125
    -- stderr
    error: `.omne` is the inside of a volume
    hint: name the directory that contains the .omne with -C DIR
    ");
    assert!(!env.exists(".omne/.omne") && !env.exists("ran"));
}

/// Runs a script in the directory, mounted read-only. Returns `None` and prints `skipped: …` if
/// that is not possible.
fn read_only(env: &TestEnv, script: &str) -> Option<Output> {
    let mount = r#"mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" || exit 99"#;
    let script = format!("{mount}\n{script}");
    let output = finish(env.program("unshare").args(["-m", "sh", "-c", &script]));
    if output.code == 99 || output.stdout.is_empty() {
        eprintln!("skipped: no mounts can be made here: {}", output.stderr());
        return None;
    }
    Some(output)
}

#[test]
fn read_only_volume_is_reported() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    let script = r#"
        "$RUNLOG" run -- touch /dev/null; echo "run $?"
        "$RUNLOG" emit --run it x; echo "emit $?"
        "$RUNLOG" status --json it >/dev/null; echo "status $?"
    "#;
    let Some(output) = read_only(&env, script) else {
        return;
    };
    assert_snapshot!(snapshot(&env, &output), @"
    exit 0
    -- stdout
    run 125
    emit 7
    status 0
    -- stderr
    error: cannot open `[ROOT]/.omne/var/.ulid-last`: Read-only file system (os error 30)
    hint: name a directory on a writable file system with -C DIR
    error: cannot open `[ROOT]/.omne/var/runs/it/lock`: Read-only file system (os error 30)
    hint: name a directory on a writable file system with -C DIR
    ");
    assert_eq!(env.runs(), ["it"]);
}

#[test]
fn read_only_directory_is_not_initialized() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" run -- touch ran; echo "run $?"
    "#;
    let Some(output) = read_only(&env, script) else {
        return;
    };
    assert_snapshot!(snapshot(&env, &output), @"
    exit 0
    -- stdout
    run 125
    -- stderr
    error: cannot create the directory `[ROOT]/.omne`: Read-only file system (os error 30)
    hint: name a directory on a writable file system with -C DIR
    ");
    assert!(!env.exists(".omne"));
}

#[test]
fn unwritable_directory_is_reported() {
    let env = TestEnv::new();
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    std::fs::set_permissions(env.root(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let output = env.run(&["run", "--", "true"]);
    std::fs::set_permissions(env.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(output.code, 125);
    assert_one_error(&output);
}

#[test]
fn volume_of_another_user_is_not_used_by_default() {
    let Some(env) = foreign() else { return };
    let output = env.sh(r#"cd sub && "$RUNLOG" status"#);
    assert_snapshot!(snapshot(&env, &output), @"
    exit 3
    -- stderr
    error: `[ROOT]/.omne` belongs to another user (uid 12345)
    hint: if you trust it, name its directory with -C DIR
    ");
    let output = env.sh(r#"cd sub && "$RUNLOG" run -- touch ran"#);
    assert_eq!(output.code, 125);
    assert_one_error(&output);
    assert!(!env.exists("sub/ran") && !env.exists("sub/.omne"));
    assert_eq!(env.runs(), ["it"]);
}

#[test]
fn volume_of_another_user_is_used_when_named() {
    let Some(env) = foreign() else { return };
    let output = env.sh(r#"cd sub && "$RUNLOG" -C .. status it && "$RUNLOG" -C .. run -- true"#);
    assert_eq!(output.code, 0, "{}", output.stderr());
}

#[test]
fn omne_symlink_is_not_followed() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("elsewhere")).unwrap();
    symlink(env.path("elsewhere"), env.path(".omne")).unwrap();
    let output = env.run(&["run", "--", "touch", "ran"]);
    assert_eq!(output.code, 125);
    assert_one_error(&output);
    assert!(!env.exists("ran") && !env.exists("elsewhere/var"));
}

#[test]
fn symlink_in_volume_is_io_error() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "x"]);
    std::fs::create_dir_all(env.path(".omne/lib")).unwrap();
    symlink("/tmp", env.path(".omne/lib/cfg")).unwrap();
    assert_snapshot!(snapshot(&env, &env.run(&["rotate", "it"])), @"
    exit 7
    -- stderr
    error: `[ROOT]/.omne/lib/cfg` is not a directory
    hint: replace it with a directory; symbolic links are not followed
    ");
    assert_eq!(env.run(&["gc"]).code, 7);
}

#[test]
fn root_leaves_volume_to_its_owner() {
    let Some(env) = foreign() else {
        return;
    };
    let chowned = env.sh("chown -R 12345:54321 .omne");
    assert_eq!(chowned.code, 0, "{}", chowned.stderr());
    env.ok(&[
        "-C", ".", "run", "-q", "--run", "it", "--job", "a", "--", "echo", "a",
    ]);
    env.ok(&[
        "-C", ".", "run", "-q", "--run", "new", "--lock", "--", "true",
    ]);
    env.ok(&["-C", ".", "emit", "--open", "--run", "old", "x"]);
    env.ok(&["-C", ".", "run", "-q", "--run", "old", "--close"]);
    env.ok(&["-C", ".", "gc", "old", "--max-age", "0"]);
    let owners = env.sh("cd .omne && find . -printf '%p %U:%G\\n' | grep -v ' 12345:54321' | sort");
    // A run of root's own says what its commands printed.
    let new = "./var/runs/new";
    let of_root: Vec<String> = owners.stdout().lines().map(str::to_owned).collect();
    assert!(of_root.contains(&format!("{new} 0:0")), "{of_root:?}");
    assert!(
        of_root.iter().all(|path| path.starts_with(new)),
        "{of_root:?}"
    );
    for made in ["retired.jsonl", "trash", "locks/new", "runs/it/jobs/a.out"] {
        assert!(env.exists(&format!(".omne/var/{made}")), "{made}");
    }
}
