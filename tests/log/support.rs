//! A run that processes share, and this test program as a child.

use std::path::Path;
use std::process::Command;

use runlog::log::payload::{EventPayload, JobFailed};
use runlog::log::{Draft, EventType, Item, Reader, RunLog};
use runlog::volume::Volume;
use serde::Serialize;

/// The variable with the volume of a child.
const DIR: &str = "RUNLOG_TEST_DIR";

/// Returns the directory that the parent passed, if there is a parent.
pub(crate) fn given_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(DIR).map(Into::into)
}

/// Returns a command that runs one ignored test of this program in `dir`, behind `wrapper`.
pub(crate) fn child(wrapper: &[&str], test: &str, dir: &Path) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(exe),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(exe);
            command
        }
    };
    command.args([
        "--exact",
        test,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
        "-q",
    ]);
    command.env(DIR, dir);
    command
}

/// Runs one ignored test of this program under `wrapper`, and asserts that it passes.
pub(crate) fn run_ignored_test(wrapper: &[&str], test: &str, dir: &Path) {
    let out = child(wrapper, test, dir).output().unwrap();
    let told = [out.stdout, out.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(out.status.success() && told.contains("1 passed"), "{told}");
}

pub(crate) fn log(dir: &Path) -> RunLog {
    let volume = Volume::create(dir).unwrap();
    RunLog::open_or_create(&volume, &"r".parse().unwrap(), None).unwrap()
}

/// A note with the fields of a JSON object.
#[derive(Serialize)]
#[serde(transparent)]
struct Note<'a>(&'a serde_json::Value);

impl EventPayload for Note<'_> {
    const TYPE: EventType = EventType::Note;
}

pub(crate) fn note(log: &RunLog, data: &serde_json::Value) -> Draft {
    Draft::new(log.run_id(), None, &Note(data)).unwrap()
}

/// Returns a `job_failed` without its job.
pub(crate) fn failed(log: &RunLog, data: &serde_json::Value) -> Draft {
    Draft::new(log.run_id(), None, &JobFailed(data)).unwrap()
}

/// Returns every event. Asserts that the events are intact, that sequence numbers start at 0
/// without gaps, and that ids increase.
pub(crate) fn read_sound(log: &RunLog) -> Vec<serde_json::Value> {
    let mut reader = Reader::open(log.dir()).unwrap();
    let mut events = Vec::new();
    let mut last_id = String::new();
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Event(env, line) => {
                assert_eq!(env.seq, events.len() as u64);
                assert!(*env.id() > *last_id, "{} after {last_id}", env.id());
                env.id().clone_into(&mut last_id);
                events.push(serde_json::from_slice(line).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    events
}
