//! Writes the runs in `fixtures/parents/` with omne-cli's own code.
//!
//! `make-omne DIR`: DIR must not exist.

mod damage;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use damage::{Done, GARBAGE, put, torn};
use omne_cli::event_log::EventLog;
use omne_cli::events::{
    ErrorKind, Event, GateMethod, GatePassed, Input, IterationStarted, NodeCompleted, NodeError,
    NodeFailed, NodeKind, NodeStarted, PipeAborted, PipeCompleted, PipeStarted,
};

fn main() -> Done {
    let dir = std::env::args_os().nth(1).ok_or("usage: make-omne DIR")?;
    let dir = PathBuf::from(dir);
    fs::create_dir(&dir)?;
    omne(&dir)
}

fn omne(dir: &Path) -> Done {
    let completed = Pipe::new(dir, "completed")?;
    completed.begin()?;
    completed.node("build", true)?;
    completed.node("test", true)?;
    completed.write(Event::PipeCompleted(PipeCompleted {
        id: completed.id(90),
        ts: ts(20),
        run_id: completed.run.clone(),
    }))?;
    completed.save()?;

    let aborted = Pipe::new(dir, "aborted")?;
    aborted.begin()?;
    aborted.node("build", true)?;
    aborted.node("test", false)?;
    aborted.write(Event::PipeAborted(PipeAborted {
        id: aborted.id(90),
        ts: ts(20),
        run_id: aborted.run.clone(),
        reason: "node `test` failed".to_owned(),
    }))?;
    aborted.save()?;

    let running = Pipe::new(dir, "running")?;
    running.begin()?;
    running.node("build", true)?;
    running.started("test")?;
    running.save()?;

    // The writer died in the middle of the last line.
    let torn_tail = Pipe::new(dir, "torn-tail")?;
    torn_tail.begin()?;
    torn_tail.node("build", true)?;
    torn_tail.put(torn(&serde_json::to_string(&torn_tail.start_of("test"))?))?;
    torn_tail.save()?;

    // The writer died in the middle of a line, and another omne appended to it.
    let glued = Pipe::new(dir, "glued-line")?;
    glued.begin()?;
    glued.node("build", true)?;
    glued.put(torn(&serde_json::to_string(&glued.start_of("test"))?))?;
    glued.started("test")?;
    glued.node("deploy", true)?;
    glued.save()?;

    let garbage = Pipe::new(dir, "garbage-line")?;
    garbage.begin()?;
    garbage.put(GARBAGE)?;
    garbage.node("build", true)?;
    garbage.save()
}

fn ts(second: u64) -> String {
    format!("2026-04-15T12:00:{second:02}Z")
}

/// A run that omne's own code writes, in a separate volume.
struct Pipe {
    volume: PathBuf,
    target: PathBuf,
    run: String,
    log: EventLog,
}

impl Pipe {
    fn new(dir: &Path, name: &str) -> Result<Self, Box<dyn Error>> {
        let volume = dir.join(format!("{name}.tmp"));
        fs::create_dir_all(&volume)?;
        let run = format!("{name}-01kp8a0000000000000000000a");
        let log = EventLog::for_run(&volume, &run)?;
        let target = dir.join(format!("{name}.jsonl"));
        Ok(Self {
            volume,
            target,
            run,
            log,
        })
    }

    fn id(&self, number: u32) -> String {
        format!("01kp8a00000000000000000{number:03}")
    }

    fn write(&self, event: Event) -> Done {
        Ok(self.log.append(&event)?)
    }

    fn put(&self, bytes: &[u8]) -> Done {
        put(self.log.path(), bytes)
    }

    fn begin(&self) -> Done {
        self.write(Event::PipeStarted(PipeStarted {
            id: self.id(0),
            ts: ts(0),
            run_id: self.run.clone(),
            pipe: "release".to_owned(),
            inputs: vec![Input {
                key: "task".to_owned(),
                value: "zwölf \"Boxkämpfer\"".to_owned(),
            }],
            distro_version: "1.2.3".to_owned(),
        }))
    }

    fn start_of(&self, node: &str) -> Event {
        Event::NodeStarted(NodeStarted {
            id: self.id(10),
            ts: ts(1),
            run_id: self.run.clone(),
            node_id: node.to_owned(),
            kind: NodeKind::Bash,
            name: Some(format!("the {node} step")),
            model: None,
        })
    }

    fn started(&self, node: &str) -> Done {
        self.write(self.start_of(node))
    }

    fn node(&self, node: &str, succeeds: bool) -> Done {
        self.started(node)?;
        self.write(Event::IterationStarted(IterationStarted {
            id: self.id(11),
            ts: ts(2),
            run_id: self.run.clone(),
            node_id: node.to_owned(),
            iteration: 1,
            byte_offset: 0,
        }))?;
        if !succeeds {
            return self.write(Event::NodeFailed(NodeFailed {
                id: self.id(13),
                ts: ts(9),
                run_id: self.run.clone(),
                node_id: node.to_owned(),
                error: NodeError {
                    kind: ErrorKind::Timeout,
                },
                message: Some("took longer than 5 s".to_owned()),
            }));
        }
        self.write(Event::GatePassed(GatePassed {
            id: self.id(12),
            ts: ts(8),
            run_id: self.run.clone(),
            node_id: node.to_owned(),
            gate: "lint".to_owned(),
            method: GateMethod::Hook,
            stdout: Some("all fine\n".to_owned()),
        }))?;
        self.write(Event::NodeCompleted(NodeCompleted {
            id: self.id(13),
            ts: ts(9),
            run_id: self.run.clone(),
            node_id: node.to_owned(),
            output_path: omne_cli::volume::node_capture_wire_path(&self.run, node),
        }))
    }

    fn save(self) -> Done {
        fs::rename(self.log.path(), &self.target)?;
        Ok(fs::remove_dir_all(&self.volume)?)
    }
}
