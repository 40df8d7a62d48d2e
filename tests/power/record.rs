//! A recording of the real program: its changes to the disk, its syncs and its acknowledgements,
//! in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::Path;

use crate::disk::{Disk, Random, Tree, Unsynced};
use crate::trace::{Call, Family};

/// The events of each run, by sequence number.
pub(crate) type Events = BTreeMap<String, BTreeMap<u64, Vec<u8>>>;

/// The promises up to a moment.
#[derive(Clone, Default, Hash)]
pub(crate) struct Promised {
    /// The events that are durable.
    pub(crate) events: BTreeMap<String, BTreeSet<u64>>,
    /// The runs that exist.
    pub(crate) runs: BTreeSet<String>,
    /// The runs that are removed for good.
    pub(crate) gone: BTreeSet<String>,
    /// The number of rollbacks that were started.
    pub(crate) rollbacks: usize,
}

/// The steps of the program.
pub(crate) struct Recording {
    pub(crate) disk: Disk,
    /// The promises before the first step, after it, and so on.
    pub(crate) promised: Vec<Promised>,
    /// All events that have ever existed.
    pub(crate) events: Events,
}

/// A process of the recording.
#[derive(Default)]
struct Process {
    /// The arguments, if it is runlog.
    args: Option<Vec<String>>,
    /// Whether it is another program.
    is_other: bool,
    /// The runs whose files it has changed.
    touched: BTreeSet<String>,
}

struct Recorder<'a> {
    root: &'a str,
    recording: Recording,
    family: Family,
    processes: HashMap<u32, Process>,
    promised: Promised,
    present: Events,
    /// The number of calls that have returned.
    calls: usize,
    /// The number of calls that had returned when an event was first seen, by run and sequence
    /// number.
    since: HashMap<(String, u64), usize>,
}

/// The calls that change a disk, sync it, or show what a process does.
pub(crate) const CALLS: &str = "openat,open,creat,mkdirat,mkdir,write,pwrite64,writev,pwritev,\
    pwritev2,ftruncate,fallocate,splice,sendfile,copy_file_range,rename,renameat,renameat2,unlink,\
    unlinkat,rmdir,linkat,fsync,fdatasync,execve,clone,clone3,vfork,fork";

/// Interprets the calls. `before` is the initial volume, `root` is its current path, and only
/// the rollback command has `mark` in its arguments.
pub(crate) fn recording(before: Disk, root: &Path, calls: &[Call], mark: &str) -> Recording {
    let mut recorder = Recorder {
        root: root.to_str().unwrap(),
        recording: Recording {
            disk: before,
            promised: Vec::new(),
            events: Events::new(),
        },
        family: Family::new(calls),
        processes: HashMap::new(),
        promised: Promised::default(),
        present: Events::new(),
        calls: 0,
        since: HashMap::new(),
    };
    recorder.update_events();
    // The initial content is durable.
    let all: Vec<_> = recorder.present.keys().cloned().collect();
    recorder.promise(&all, usize::MAX);
    recorder.recording.promised.push(recorder.promised.clone());
    let mut steps_at = Vec::new();
    for call in calls {
        steps_at.push(recorder.recording.disk.steps());
        let synced = steps_at.get(call.begun).copied();
        recorder.call(call, synced.unwrap_or_default(), mark);
        recorder.calls += 1;
        let steps = recorder.recording.disk.steps();
        let promised = recorder.promised.clone();
        recorder.recording.promised.resize(steps + 1, promised);
    }
    recorder.recording
}

impl Recorder<'_> {
    fn call(&mut self, call: &Call, begun: usize, mark: &str) {
        let leader = self.family.leader(call.tid);
        let before = self.recording.disk.steps();
        match (call.name.as_str(), call.result) {
            (_, None) => return,
            ("execve", _) => self.executed(call, leader, mark),
            ("exit", Some(code)) if call.tid == leader => self.exited(leader, code),
            ("exit", _) => {}
            _ if call.child().is_some() => {}
            (name, Some(result)) => {
                let leader = self.program(leader).unwrap_or(leader);
                self.changed(name, call, leader, result, begun);
            }
        }
        if self.recording.disk.steps() == before {
            // Add a step, so that a new promise does not apply to earlier steps.
            self.recording.disk.other();
        }
    }

    fn executed(&mut self, call: &Call, leader: u32, mark: &str) {
        let args = call.strings().into_iter();
        let mut args: Vec<_> = args
            .map(|arg| String::from_utf8_lossy(&arg).into_owned())
            .collect();
        let program = args.remove(0);
        let parent = self.family.parent(leader);
        let is_child_of_runlog = parent.is_some_and(|parent| self.program(parent).is_some());
        let process = self.processes.entry(leader).or_default();
        if program.ends_with("/runlog") {
            process.args = Some(args);
        } else if is_child_of_runlog && !std::mem::replace(&mut process.is_other, true) {
            if args.iter().any(|arg| arg.contains(mark)) {
                self.promised.rollbacks += 1;
            }
            // Everything that is written about a job before it starts. Its start may be written
            // before the call that started it returns.
            let runs: Vec<_> = self.open_runs();
            self.promise(&runs, call.begun);
        }
    }

    /// Returns the runs that a live runlog writes to.
    fn open_runs(&self) -> Vec<String> {
        let living = self.processes.values().filter(|p| p.args.is_some());
        living.flat_map(|p| p.touched.clone()).collect()
    }

    fn exited(&mut self, leader: u32, code: u64) {
        let Some(process) = self.processes.remove(&leader) else {
            return;
        };
        let Some(args) = process.args else { return };
        if args.iter().any(|arg| arg == "--no-sync") {
            return;
        }
        let is = |name: &str| args.get(1).is_some_and(|arg| arg == name);
        if code == 0 || is("run") {
            let touched: Vec<_> = process.touched.into_iter().collect();
            self.promise(&touched, usize::MAX);
        }
        if code == 0 && is("gc") {
            let there = |run: &String| self.present.contains_key(run);
            let gone: Vec<_> = self
                .promised
                .runs
                .iter()
                .filter(|r| !there(r))
                .cloned()
                .collect();
            self.promised.gone.extend(gone);
        }
    }

    fn changed(&mut self, name: &str, call: &Call, leader: u32, result: u64, begun: usize) {
        let paths = call.paths();
        let at = |at: usize| self.below(paths.get(at)?.as_ref()?);
        let named = |dir: Option<String>, name: usize| {
            let name = String::from_utf8(call.strings()[name].clone()).unwrap();
            dir.map(|dir| format!("{dir}/{name}"))
        };
        let data = || call.strings().remove(0);
        match name {
            "openat" => self.opened(call, named(at(0), 0)),
            "mkdirat" => self.made(named(at(0), 0), false),
            "unlinkat" => self.renamed(named(at(0), 0), None),
            "renameat" | "renameat2" => {
                self.renamed(named(at(0), 0), Some(named(at(1), 1)).flatten());
            }
            "write" if at(0).is_none() => self.acknowledge(leader, &data()),
            "write" => self.wrote(at(0), leader, None, data(), result),
            "pwrite64" => {
                let place = call.number(3) as usize;
                self.wrote(at(0), leader, Some(place), data(), result);
            }
            "splice" if at(1).is_some() => {
                // Spliced data is not in the trace and does not matter.
                let place = call.args.rsplit('[').next().unwrap();
                let place = place.split(']').next().unwrap().parse().ok();
                self.wrote(at(1), leader, place, vec![b'x'; result as usize], result);
            }
            "ftruncate" => {
                if let Some(file) = at(0).and_then(|path| self.recording.disk.find(&path)) {
                    self.recording.disk.resize(file, call.number(1) as usize);
                    self.update_events();
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(node) = at(0).and_then(|path| self.recording.disk.find(&path)) {
                    self.recording.disk.sync(node, begun);
                }
            }
            "fallocate" | "splice" => {}
            // runlog makes no such call, and other programs make one only outside of the volume.
            _ => assert!(
                (0..2).all(|n| at(n).is_none()) || !self.is_runlog(leader),
                "{name}({}) is not understood",
                call.args
            ),
        }
    }

    /// Returns the process that executed runlog: this one, or the one that forked it.
    fn program(&self, mut leader: u32) -> Option<u32> {
        loop {
            match self.processes.get(&leader) {
                Some(process) if process.args.is_some() => return Some(leader),
                Some(process) if process.is_other => return None,
                _ => leader = self.family.parent(leader)?,
            }
        }
    }

    fn is_runlog(&self, leader: u32) -> bool {
        self.processes
            .get(&leader)
            .is_some_and(|p| p.args.is_some())
    }

    /// Returns the path below the root of the volume.
    fn below(&self, path: &str) -> Option<String> {
        let path = path.strip_prefix(self.root)?;
        (path.is_empty() || path.starts_with('/')).then(|| path.to_owned())
    }

    fn opened(&mut self, call: &Call, named: Option<String>) {
        let named = named.or_else(|| self.below(&call.opened()?));
        let Some(path) = named else { return };
        if call.args.contains("O_CREAT") && self.recording.disk.find(&path).is_none() {
            self.made(Some(path), true);
        }
    }

    fn made(&mut self, path: Option<String>, is_file: bool) {
        let Some(path) = path else { return };
        let (directory, name) = path.rsplit_once('/').unwrap();
        if let Some(directory) = self.recording.disk.find(directory) {
            self.recording.disk.make(directory, name, is_file);
        }
    }

    fn renamed(&mut self, from: Option<String>, to: Option<String>) {
        let Some(from) = from else { return };
        let (directory, name) = from.rsplit_once('/').unwrap();
        let disk = &mut self.recording.disk;
        let Some(directory) = disk.find(directory) else {
            return;
        };
        match to {
            None => disk.remove(directory, name),
            Some(to) => {
                let (to_directory, to_name) = to.rsplit_once('/').unwrap();
                let to_directory = disk.find(to_directory).unwrap();
                disk.rename((directory, name), (to_directory, to_name));
            }
        }
        self.update_events();
    }

    fn wrote(
        &mut self,
        path: Option<String>,
        leader: u32,
        place: Option<usize>,
        mut bytes: Vec<u8>,
        written: u64,
    ) {
        let Some(path) = path else { return };
        let Some(file) = self.recording.disk.find(&path) else {
            return;
        };
        bytes.truncate(written as usize);
        let end = self.recording.disk.len(file);
        self.recording.disk.write(file, place.unwrap_or(end), bytes);
        if let Some(run) = run_of(&path) {
            let process = self.processes.entry(leader).or_default();
            process.touched.insert(run);
        }
        self.update_events();
    }

    /// Records events that `emit --ack` acknowledged, when bytes leave the volume.
    fn acknowledge(&mut self, leader: u32, bytes: &[u8]) {
        let acks = |p: &Process| {
            p.args
                .as_ref()
                .is_some_and(|a| a.iter().any(|a| a == "--ack"))
        };
        if !self.processes.get(&leader).is_some_and(acks) {
            return;
        }
        for line in bytes.split(|b| *b == b'\n') {
            if let Some((run, seq)) = event(line) {
                self.promised.events.entry(run).or_default().insert(seq);
            }
        }
    }

    /// Marks all events of these runs that existed after `by` calls as durable.
    fn promise(&mut self, runs: &[String], by: usize) {
        for run in runs {
            let Some(events) = self.present.get(run) else {
                continue;
            };
            let promised = self.promised.events.entry(run.clone()).or_default();
            let since = |seq: u64| self.since.get(&(run.clone(), seq));
            let in_time = |seq: &&u64| since(**seq).is_some_and(|since| *since < by);
            promised.extend(events.keys().filter(in_time));
        }
    }

    /// Updates the events. Removed ones are no longer promised.
    fn update_events(&mut self) {
        let disk = &self.recording.disk;
        let all = Unsynced::All;
        let tree = disk.image(disk.steps(), all, all, &mut Random(1));
        let present = events_in(&tree);
        for (run, events) in &present {
            if let Some(promised) = self.promised.events.get_mut(run) {
                promised.retain(|seq| events.contains_key(seq));
            }
            let known = self.recording.events.entry(run.clone()).or_default();
            for seq in events.keys() {
                let event = (run.clone(), *seq);
                self.since.entry(event).or_insert(self.calls);
            }
            known.extend(events.iter().map(|(seq, line)| (*seq, line.clone())));
            self.promised.runs.insert(run.clone());
        }
        self.present = present;
    }
}

/// Returns the run that a file belongs to.
fn run_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/.omne/var/runs/")?;
    Some(rest.split('/').next()?.to_owned())
}

/// Returns the events in the segments of all runs.
fn events_in(tree: &Tree) -> Events {
    let mut found = Events::new();
    for (path, bytes) in tree {
        let (Some(run), Some(bytes)) = (run_of(path), bytes) else {
            continue;
        };
        let name = path.rsplit('/').next().unwrap();
        let mut unpacked = Vec::new();
        let bytes = match Path::new(name).extension().and_then(|e| e.to_str()) {
            Some("jsonl") => bytes,
            Some("gz") => {
                let mut gz = flate2::read::MultiGzDecoder::new(bytes.as_slice());
                gz.read_to_end(&mut unpacked).unwrap();
                &unpacked
            }
            _ => continue,
        };
        let events = found.entry(run).or_default();
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            if let Some((_, seq)) = event(line).filter(|_| line.ends_with(b"\n")) {
                events.insert(seq, line.trim_ascii_end().to_vec());
            }
        }
    }
    found.retain(|_, events| !events.is_empty());
    found
}

/// Returns the run and sequence number of an event.
pub(crate) fn event(line: &[u8]) -> Option<(String, u64)> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    Some((event["run_id"].as_str()?.to_owned(), event["seq"].as_u64()?))
}
