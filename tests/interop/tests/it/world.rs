//! A volume in a temporary directory, and the programs that use it.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use omne_cli::event_log::EventLog;
use omne_cli::events::{
    ErrorKind, Event, NodeCompleted, NodeError, NodeFailed, NodeKind, NodeStarted, PipeAborted,
    PipeCompleted, PipeStarted,
};
use omne_cli::volume;
use runlog::volume::Volume;
use serde_json::Value;

/// Returns the program under test: `RUNLOG_BIN`, or one built from the directory above.
fn runlog_bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| std::env::var_os("RUNLOG_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--bin", "runlog"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--manifest-path", manifest])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "cannot build runlog");
    let messages = String::from_utf8(built.stdout).unwrap();
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "runlog")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program that it built")
}

/// Returns the program `omne` of the release that is a dependency here: `OMNE_BIN`, or one
/// installed into the build directory.
pub fn omne_bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| std::env::var_os("OMNE_BIN").map_or_else(install, PathBuf::from))
}

fn install() -> PathBuf {
    // `…/debug/omne-writer`: the directory of the tests' build, so that it is built only once.
    let debug = Path::new(env!("CARGO_BIN_EXE_omne-writer"))
        .parent()
        .unwrap();
    let target = debug.parent().unwrap();
    let root = target.join("omne-cli-0.2.0");
    let bin = root.join("bin/omne");
    if !bin.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let installed = Command::new(cargo)
            .args(["install", "--quiet", "--debug", "--no-track"])
            .args(["omne-cli", "--version", "=0.2.0", "--root"])
            .args([&*root, Path::new("--target-dir"), target])
            .status()
            .unwrap();
        assert!(installed.success(), "cannot install omne");
    }
    bin
}

/// Returns `runlog` on the volume at `root`, independent of this process's environment.
pub fn runlog(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(runlog_bin());
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.current_dir(root).arg("-C").arg(root).args(args);
    command
}

/// Returns a process that writes with omne's code.
pub fn omne_writer(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omne-writer"));
    command.arg(root).args(args);
    command
}

/// A separate volume.
pub struct World {
    tmp: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        Volume::create(tmp.path()).unwrap();
        Self { tmp }
    }

    pub fn root(&self) -> &Path {
        self.tmp.path()
    }

    pub fn volume(&self) -> Volume {
        Volume::open(self.root()).unwrap()
    }

    pub fn events_path(&self, run: &str) -> PathBuf {
        volume::events_log_path(self.root(), run)
    }

    /// Returns the bytes of the run's log.
    pub fn log(&self, run: &str) -> Vec<u8> {
        std::fs::read(self.events_path(run)).unwrap()
    }

    /// Appends bytes to the run's log, like a writer that dies at that point.
    pub fn put(&self, run: &str, bytes: &[u8]) {
        let path = self.events_path(run);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Appends events with omne's own code.
    pub fn omne(&self, run: &str, events: &[Event]) {
        let log = EventLog::for_run(self.root(), run).unwrap();
        for event in events {
            log.append(event).unwrap();
        }
    }

    pub fn runlog(&self, args: &[&str]) -> Output {
        let mut command = runlog(self.root(), args);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Returns the output of a runlog that exits with 0 and prints nothing to stderr.
    #[track_caller]
    pub fn runlog_ok(&self, args: &[&str]) -> Vec<u8> {
        let output = self.runlog(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
        output.stdout
    }

    /// Returns `status RUN --json` of a run without damage.
    #[track_caller]
    pub fn status(&self, run: &str) -> Value {
        let line = self.runlog_ok(&["status", run, "--json"]);
        let status: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(status["run_id"], run);
        assert_eq!(status["damaged"], 0);
        status
    }

    /// Returns every event as runlog prints it, of a run without damage.
    #[track_caller]
    pub fn tail_all(&self, run: &str) -> Vec<u8> {
        self.runlog_ok(&["tail", run, "-n", "all", "--json"])
    }

    /// Returns the names in the run's directory.
    pub fn names(&self, run: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(volume::run_dir(self.root(), run))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Returns the jobs in the status, each with its stage.
pub fn stages(status: &Value) -> Vec<(&str, &str)> {
    let jobs = status["jobs"].as_array().unwrap().iter();
    jobs.map(|job| {
        let text = |key: &str| job[key].as_str().unwrap();
        (text("job_id"), text("stage"))
    })
    .collect()
}

/// A line of a log, classified and checked without the code under test.
pub enum Line {
    Ours(Value),
    Omne(Event),
}

/// Returns every line of a log. Each must be whole and valid.
#[track_caller]
pub fn lines(log: &[u8]) -> Vec<Line> {
    let whole = log.strip_suffix(b"\n").expect("the last line is whole");
    whole.split(|&b| b == b'\n').map(line_of).collect()
}

fn line_of(line: &[u8]) -> Line {
    let text = String::from_utf8_lossy(line);
    if !line.starts_with(b"{\"v\":") {
        let event = serde_json::from_slice(line);
        return Line::Omne(event.unwrap_or_else(|e| panic!("{e}: {text}")));
    }
    let (covered, trailer) = line.split_at(line.len() - 18);
    let crc = format!(",\"crc\":\"{:08x}\"}}", crc32c::crc32c(covered));
    assert_eq!(trailer, crc.as_bytes(), "{text}");
    Line::Ours(serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {text}")))
}

/// Returns how many times each line occurs.
pub fn count_lines(log: &[u8]) -> HashMap<&[u8], usize> {
    let mut counts = HashMap::new();
    for line in log.split_inclusive(|&b| b == b'\n') {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Returns the id of an event of omne.
pub fn omne_id(event: &Event) -> &str {
    match event {
        Event::PipeStarted(e) => &e.id,
        Event::PipeCompleted(e) => &e.id,
        Event::PipeAborted(e) => &e.id,
        Event::NodeStarted(e) => &e.id,
        Event::NodeCompleted(e) => &e.id,
        Event::NodeFailed(e) => &e.id,
        Event::GatePassed(e) => &e.id,
        Event::IterationStarted(e) => &e.id,
    }
}

const BEGIN: &str = "2026-04-15T12:00:00Z";
const END: &str = "2026-04-15T12:00:07Z";

pub fn pipe_started(run: &str) -> Event {
    Event::PipeStarted(PipeStarted {
        id: "01kp8a0000000000000000000a".to_owned(),
        ts: BEGIN.to_owned(),
        run_id: run.to_owned(),
        pipe: "release".to_owned(),
        inputs: Vec::new(),
        distro_version: "1.2.3".to_owned(),
    })
}

pub fn pipe_completed(run: &str) -> Event {
    Event::PipeCompleted(PipeCompleted {
        id: "01kp8a0000000000000000000y".to_owned(),
        ts: END.to_owned(),
        run_id: run.to_owned(),
    })
}

pub fn pipe_aborted(run: &str) -> Event {
    Event::PipeAborted(PipeAborted {
        id: "01kp8a0000000000000000000z".to_owned(),
        ts: END.to_owned(),
        run_id: run.to_owned(),
        reason: "a node failed".to_owned(),
    })
}

pub fn node_started(run: &str, node: &str) -> Event {
    Event::NodeStarted(NodeStarted {
        id: format!("start-{node}"),
        ts: BEGIN.to_owned(),
        run_id: run.to_owned(),
        node_id: node.to_owned(),
        kind: NodeKind::Bash,
        name: None,
        model: None,
    })
}

pub fn node_completed(run: &str, node: &str) -> Event {
    Event::NodeCompleted(NodeCompleted {
        id: format!("end-{node}"),
        ts: END.to_owned(),
        run_id: run.to_owned(),
        node_id: node.to_owned(),
        output_path: volume::node_capture_wire_path(run, node),
    })
}

pub fn node_failed(run: &str, node: &str) -> Event {
    Event::NodeFailed(NodeFailed {
        id: format!("end-{node}"),
        ts: END.to_owned(),
        run_id: run.to_owned(),
        node_id: node.to_owned(),
        error: NodeError {
            kind: ErrorKind::Timeout,
        },
        message: Some("took too long".to_owned()),
    })
}
