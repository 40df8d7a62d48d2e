//! A directory for each test, and `runlog` with a clean environment in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::checks;
use super::process::kill_all_in;
pub(crate) use super::process::{Background, Output, finish, pid_of};

/// How long a test waits: far longer than any machine needs, so only a failing test waits this
/// long.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for a condition. Panics with `what` if the condition never holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A directory that is removed with the test.
pub(crate) struct TestEnv {
    tmp: tempfile::TempDir,
    root: PathBuf,
}

impl TestEnv {
    /// Creates an empty directory, not yet a volume.
    pub(crate) fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        for above in root.ancestors() {
            let omne = above.join(".omne");
            assert!(!omne.exists(), "{} would be found", omne.display());
        }
        Self { tmp, root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of strace's trace, which is outside the root.
    pub(crate) fn trace_path(&self) -> PathBuf {
        self.tmp.path().join("trace")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Creates a file in the directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Creates an executable file.
    pub(crate) fn executable(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Returns a command in the directory, with its own session, without a terminal and stdin.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .env("RUNLOG", env!("CARGO_BIN_EXE_runlog"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: setsid is async-signal-safe and touches no memory.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
        }
        command
    }

    /// Returns `runlog` with these arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_runlog"));
        command.args(args);
        command
    }

    /// Runs `runlog` to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        finish(&mut self.command(args))
    }

    /// Runs `runlog` to its end with these bytes on stdin.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut job = self.spawn(args);
        job.write_and_close(stdin);
        job.wait()
    }

    /// Runs a script that finds the binary in `$RUNLOG`.
    pub(crate) fn sh(&self, script: &str) -> Output {
        finish(self.program("sh").args(["-c", script]))
    }

    /// Starts `runlog`. Its stdin stays open until the test waits for it.
    pub(crate) fn spawn(&self, args: &[&str]) -> Background {
        Background::new(self.command(args).stdin(Stdio::piped()))
    }

    /// Runs `runlog`. It must exit with 0.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert_eq!(output.code, 0, "{args:?}: {}", output.stderr());
        output
    }

    /// Returns the JSON lines that `runlog` prints. It must exit with 0.
    #[track_caller]
    pub(crate) fn json_lines(&self, args: &[&str]) -> Vec<Value> {
        let stdout = self.ok(args).stdout();
        let parse = |line| serde_json::from_str(line).unwrap();
        stdout.lines().map(parse).collect()
    }

    /// Returns the ids of all runs. Runs with the same name are in the order of their age.
    pub(crate) fn runs(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(".omne/var/runs")) else {
            return Vec::new();
        };
        let mut runs: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        runs.sort();
        runs
    }

    /// Returns the id of the only run.
    #[track_caller]
    pub(crate) fn only_run(&self) -> String {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.remove(0)
    }

    pub(crate) fn run_dir(&self, run: &str) -> PathBuf {
        self.path(".omne/var/runs").join(run)
    }

    /// Damages the line of event 3 of a run, so that its checksum does not match.
    pub(crate) fn damage_event_3(&self, run: &str) {
        let log = fs::read_to_string(self.log_path(run)).unwrap();
        let damaged = log.replacen("\"seq\":3", "\"seq\":4", 1);
        fs::write(self.log_path(run), damaged).unwrap();
    }

    pub(crate) fn log_path(&self, run: &str) -> PathBuf {
        self.run_dir(run).join("events.jsonl")
    }

    /// Returns the events of a run, after checking each of them.
    #[track_caller]
    pub(crate) fn events(&self, run: &str) -> Vec<Value> {
        checks::events(&fs::read(self.log_path(run)).unwrap_or_default())
    }

    /// Returns the events of a run that have this type.
    #[track_caller]
    pub(crate) fn events_of_type(&self, run: &str, event_type: &str) -> Vec<Value> {
        let mut events = self.events(run);
        events.retain(|e| e["type"] == event_type);
        events
    }

    /// Returns the only event with this type in the only run.
    #[track_caller]
    pub(crate) fn event(&self, event_type: &str) -> Value {
        let mut events = self.events_of_type(&self.only_run(), event_type);
        assert_eq!(events.len(), 1, "{event_type}: {events:?}");
        events.remove(0)
    }

    /// Returns the types of a run's events.
    #[track_caller]
    pub(crate) fn types(&self, run: &str) -> Vec<String> {
        let of = |e: &Value| e["type"].as_str().unwrap().to_owned();
        self.events(run).iter().map(of).collect()
    }

    /// Returns the captured output of a job.
    pub(crate) fn captured(&self, run: &str, job: &str) -> Vec<u8> {
        fs::read(self.run_dir(run).join(format!("jobs/{job}.out"))).unwrap()
    }

    /// Returns `status --json` of one run.
    #[track_caller]
    pub(crate) fn status(&self, run: &str) -> Value {
        let output = self.run(&["status", "--json", run]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", output.stderr()))
    }

    /// Waits until the only run has an event of this type.
    #[track_caller]
    pub(crate) fn wait_for(&self, event_type: &str) -> Value {
        wait_until(event_type, || {
            let runs = self.runs();
            runs.len() == 1 && !self.events_of_type(&runs[0], event_type).is_empty()
        });
        self.events_of_type(&self.only_run(), event_type).remove(0)
    }

    /// Waits until a file exists, which a job creates.
    #[track_caller]
    pub(crate) fn wait_for_file(&self, name: &str) {
        wait_until(name, || self.exists(name));
    }
}

impl Drop for TestEnv {
    /// Kills the jobs: one that waits for a file of the test would wait forever, even if the
    /// test failed.
    fn drop(&mut self) {
        kill_all_in(&self.root);
    }
}
