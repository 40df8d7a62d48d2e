//! The library as other programs use it: from a separate crate that depends on runlog by path,
//! without the program. Its binaries are the examples of `docs/examples/` and the code of
//! `docs/library.md`.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

/// The directory of the built crate. It is kept between test runs.
static EXAMPLE_CRATE: LazyLock<PathBuf> = LazyLock::new(build);

fn build() -> PathBuf {
    let root = env!("CARGO_MANIFEST_DIR");
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stranger");
    let bin = here.join("src/bin");
    fs::create_dir_all(&bin).unwrap();
    let manifest = format!(
        r#"[package]
name = "stranger"
version = "0.0.0"
edition = "2024"

[dependencies]
runlog = {{ path = {root:?}, default-features = false }}
serde = {{ version = "1", features = ["derive"] }}
serde_json = {{ version = "1", features = ["raw_value"] }}

[lints.rust]
warnings = "deny"

[workspace]
"#
    );
    let root = Path::new(root);
    fs::write(here.join("Cargo.toml"), manifest).unwrap();
    // Use the same versions, which are already downloaded.
    fs::copy(root.join("Cargo.lock"), here.join("Cargo.lock")).unwrap();
    for example in ["append.rs", "read.rs"] {
        let source = root.join("docs/examples").join(example);
        fs::copy(source, bin.join(example)).unwrap();
    }
    fs::write(bin.join("page.rs"), page_program(root)).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--offline", "--quiet", "--target-dir", "target"])
        .current_dir(&here)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    here
}

/// Returns the code of the page as a program. Two processes call it, and either may be the
/// first.
fn page_program(root: &Path) -> String {
    let page = fs::read_to_string(root.join("docs/library.md")).unwrap();
    let (_, code) = page.split_once("```rust\n").unwrap();
    let (code, after) = code.split_once("```\n").unwrap();
    assert!(!after.contains("```rust"), "only one is tried");
    let (major, minor) = (
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
    );
    let dependency = format!("runlog = {{ version = \"{major}.{minor}\",");
    assert!(page.contains(&dependency), "{dependency}");
    let main = r#"
fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(directory), Some(name)) = (args.next(), args.next()) else {
        return Err("two arguments".into());
    };
    add(&Volume::create(directory.as_ref())?, &name)
}
"#;
    format!("{code}{main}")
}

fn run(program: &str, args: &[&str]) -> Output {
    let program = EXAMPLE_CRATE.join("target/debug").join(program);
    Command::new(program).args(args).output().unwrap()
}

#[track_caller]
fn ok(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `runlog` on the volume. It must exit with 0.
#[track_caller]
fn runlog(volume: &str, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runlog"));
    ok(command.args(["-C", volume]).args(args).output().unwrap())
}

#[test]
fn library_appends_are_read_by_runlog() {
    let tmp = tempfile::tempdir().unwrap();
    let volume = tmp.path().to_str().unwrap();
    let run = ok(run("append", &[volume]));
    let run = run.trim_end();
    runlog(volume, &["replay", run, "--verify"]);
    let status: Value =
        serde_json::from_str(&runlog(volume, &["status", "latest", "--json"])).unwrap();
    assert_eq!(status["run_id"], run);
    assert_eq!(
        (&status["state"], &status["events"]),
        (&"completed".into(), &102.into())
    );
}

#[test]
fn runlog_events_are_read_by_library() {
    let tmp = tempfile::tempdir().unwrap();
    let volume = tmp.path().to_str().unwrap();
    let job = [
        "run",
        "-q",
        "--run",
        "it",
        "--",
        env!("CARGO_BIN_EXE_runlog"),
        "emit",
        "deployed",
        "n=7",
    ];
    runlog(volume, &job);
    runlog(volume, &["rotate", "it"]);
    runlog(
        volume,
        &[
            "run", "-q", "--run", "it", "--job", "two", "--close", "--", "true",
        ],
    );
    let told = ok(run("read", &[volume, "i"]));
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].ends_with(r#" deployed {"n":"7"}"#), "{told}");
    assert!(
        lines[1].starts_with("it: 12 events, 2 jobs, 0 failed, closed 2"),
        "{told}"
    );
}

#[test]
fn errors_are_returned_not_panics() {
    let tmp = tempfile::tempdir().unwrap();
    let volume = tmp.path().to_str().unwrap();
    let missing = tmp.path().join("missing");
    let missing = missing.to_str().unwrap();
    let cases = [
        ("append", &[][..], 2, "usage"),
        ("append", &[missing], 1, "cannot open"),
        ("read", &[volume], 1, "is not a volume"),
    ];
    for (program, args, code, message) in cases {
        assert_failed_with(&run(program, args), code, message);
    }
    ok(run("append", &[volume]));
    assert_failed_with(&run("read", &[volume, "other"]), 3, "no run `other`");
    assert_failed_with(&run("read", &[volume, "../x"]), 1, "invalid id");
    let run_dir = fs::read_dir(tmp.path().join(".omne/var/runs"))
        .unwrap()
        .next();
    let log = run_dir.unwrap().unwrap().path().join("events.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("\"row\"", "\"raw\"", 1)).unwrap();
    assert_failed_with(&run("read", &[volume]), 5, "its checksum does not match");
}

#[track_caller]
fn assert_failed_with(output: &Output, code: i32, message: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(
        stderr.contains(message) && !stderr.contains("panicked"),
        "{stderr}"
    );
}

#[test]
fn first_writer_opens_run() {
    let tmp = tempfile::tempdir().unwrap();
    let volume = tmp.path().to_str().unwrap();
    LazyLock::force(&EXAMPLE_CRATE);
    std::thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || ok(run("page", &[volume, &format!("from-{n}")])));
        }
    });
    runlog(volume, &["replay", "shared", "--verify"]);
    let events = runlog(volume, &["tail", "shared", "-n", "all", "--json"]);
    assert_eq!(events.lines().count(), 9);
    assert!(events.starts_with(r#"{"v":1,"seq":0,"#) && events.matches("run_opened").count() == 1);
}
