//! A folder of its own for each test, and `runlog` in it with an environment that
//! holds nothing from outside.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::checks;

/// Far beyond what any machine needs: reached only by a test that fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for a condition; panics with `what` if it never comes.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A folder, which is gone with the test.
pub(crate) struct TestEnv {
    _tmp: tempfile::TempDir,
    root: PathBuf,
}

impl TestEnv {
    /// An empty folder, not yet a volume.
    pub(crate) fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().canonicalize().unwrap();
        for above in root.ancestors() {
            let omne = above.join(".omne");
            assert!(!omne.exists(), "{} would be found", omne.display());
        }
        Self { _tmp: tmp, root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a file in the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Makes a file that may be executed.
    pub(crate) fn executable(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// A program in the folder, in a session without a terminal, without stdin.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
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

    /// `runlog` with these arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_runlog"));
        command.args(args);
        command
    }

    /// Runs `runlog` to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        finish(&mut self.command(args))
    }

    /// Runs `runlog` to its end with this on stdin.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut job = Background::new(self.command(args).stdin(Stdio::piped()));
        let mut pipe = job.child.stdin.take().unwrap();
        thread::scope(|scope| {
            // Who does not read all of it has a reason.
            scope.spawn(move || drop(pipe.write_all(stdin)));
            job.end()
        })
    }

    /// Runs a script that finds the binary in `$RUNLOG`.
    pub(crate) fn sh(&self, script: &str) -> Output {
        finish(self.program("sh").args(["-c", script]))
    }

    /// Starts `runlog`; its stdin stays open until the end is asked for.
    pub(crate) fn spawn(&self, args: &[&str]) -> Background {
        Background::new(self.command(args).stdin(Stdio::piped()))
    }

    /// Runs `runlog`, which has to end with 0.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert_eq!(output.code, 0, "{args:?}: {}", output.stderr());
        output
    }

    /// The ids of all runs, oldest first where names are equal.
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

    /// The id of the one run there is.
    #[track_caller]
    pub(crate) fn only_run(&self) -> String {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.remove(0)
    }

    pub(crate) fn run_dir(&self, run: &str) -> PathBuf {
        self.path(".omne/var/runs").join(run)
    }

    pub(crate) fn log_path(&self, run: &str) -> PathBuf {
        self.run_dir(run).join("events.jsonl")
    }

    /// The events of a run so far, each of them checked.
    #[track_caller]
    pub(crate) fn events(&self, run: &str) -> Vec<Value> {
        checks::events(&fs::read(self.log_path(run)).unwrap_or_default())
    }

    /// The events of a run that are of this type.
    #[track_caller]
    pub(crate) fn events_of(&self, run: &str, event_type: &str) -> Vec<Value> {
        let mut events = self.events(run);
        events.retain(|e| e["type"] == event_type);
        events
    }

    /// The one event of this type in the one run there is.
    #[track_caller]
    pub(crate) fn event(&self, event_type: &str) -> Value {
        let mut events = self.events_of(&self.only_run(), event_type);
        assert_eq!(events.len(), 1, "{event_type}: {events:?}");
        events.remove(0)
    }

    /// The types of a run's events.
    #[track_caller]
    pub(crate) fn types(&self, run: &str) -> Vec<String> {
        let of = |e: &Value| e["type"].as_str().unwrap().to_owned();
        self.events(run).iter().map(of).collect()
    }

    /// What was captured of a job.
    pub(crate) fn captured(&self, run: &str, job: &str) -> Vec<u8> {
        fs::read(self.run_dir(run).join(format!("jobs/{job}.out"))).unwrap()
    }

    /// `status --json` of one run.
    #[track_caller]
    pub(crate) fn status(&self, run: &str) -> Value {
        let output = self.run(&["status", "--json", run]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", output.stderr()))
    }

    /// Waits until the one run there is has an event of this type.
    #[track_caller]
    pub(crate) fn wait_for(&self, event_type: &str) -> Value {
        wait_until(event_type, || {
            let runs = self.runs();
            runs.len() == 1 && !self.events_of(&runs[0], event_type).is_empty()
        });
        self.events_of(&self.only_run(), event_type).remove(0)
    }

    /// Waits until a file is there (made by a job).
    #[track_caller]
    pub(crate) fn wait_for_file(&self, name: &str) {
        wait_until(name, || self.exists(name));
    }
}

/// How a process ended and what it said.
pub(crate) struct Output {
    /// The exit code, or 1000 + N for signal N.
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    fn new(status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        let code = status
            .code()
            .unwrap_or_else(|| 1000 + status.signal().unwrap());
        Self {
            code,
            stdout,
            stderr,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// What `run_id=…` on stderr says.
    #[track_caller]
    pub(crate) fn run_id(&self) -> String {
        let stderr = self.stderr();
        let id = stderr.lines().find_map(|l| l.strip_prefix("run_id="));
        id.unwrap_or_else(|| panic!("no run id: {stderr}"))
            .to_owned()
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Output {
    Background::new(command).end()
}

/// A process that goes on beside the test and ends with it.
pub(crate) struct Background {
    child: Child,
}

impl Background {
    pub(crate) fn new(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        Self { child }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(i64::from(self.child.id())), signal).unwrap();
    }

    /// Writes to its stdin.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Writes line after line to its stdin for as long as it lives.
    pub(crate) fn feed(&mut self, line: impl Fn(u64) -> String + Send + 'static) {
        let mut stdin = self.child.stdin.take().unwrap();
        thread::spawn(move || {
            let mut numbers = 0..;
            while stdin
                .write_all(line(numbers.next().unwrap()).as_bytes())
                .is_ok()
            {}
        });
    }

    /// Reads so many bytes of its stdout.
    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads one line of its stdout, without the `\n`.
    pub(crate) fn read_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            match self.read(1).as_slice() {
                b"\n" => return line,
                byte => line.extend_from_slice(byte),
            }
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Closes its stdin and waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Waits for its end, within the patience of a test.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let stdout = self.child.stdout.take().map(reader);
        let stderr = self.child.stderr.take().map(reader);
        wait_until("the end of a process", || self.has_ended());
        let status = self.child.try_wait().unwrap().unwrap();
        let bytes = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
            reader.map(|r| r.join().unwrap()).unwrap_or_default()
        };
        Output::new(status, bytes(stdout), bytes(stderr))
    }

    /// Kills it as the out-of-memory killer does.
    pub(crate) fn kill(mut self) -> Output {
        self.child.kill().unwrap();
        // The job may hold our pipes: nothing is read.
        drop((self.child.stdout.take(), self.child.stderr.take()));
        self.end()
    }

    /// Kills it and gives what was still to be read of its stdout.
    pub(crate) fn kill_and_read(mut self) -> Vec<u8> {
        self.child.kill().unwrap();
        self.wait().stdout
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.has_ended() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn reader(mut pipe: impl std::io::Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// The process of a pid as the log has it.
pub(crate) fn pid_of(pid: i64) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}
