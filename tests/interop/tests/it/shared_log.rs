//! Writers of omne and runlog that append to one log at the same time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runlog::log::payload::Note;
use runlog::log::{Draft, Durability, ForeignPolicy, RunLog};

use crate::world::{self, Line, World};

/// The processes of omne, the threads of each, and the events of each thread.
const OMNE: (usize, usize, usize) = (2, 2, 300);
/// The number of lines that each `runlog emit` stores.
const LINES: usize = 700;
/// The number of events that each thread appends through the library.
const EVENTS: usize = 500;
/// How long each writer pauses after an event.
const PAUSE: Duration = Duration::from_millis(2);

#[test]
fn run_started_by_omne() {
    let world = World::new();
    let run = "release-01kp8a0000000000000000000a";
    world.omne(run, &[world::pipe_started(run)]);

    write_together(&world, run);

    assert_eq!(world.status(run)["state"], "unknown");
    world.omne(run, &[world::pipe_completed(run)]);
    let status = world.status(run);
    assert_eq!(
        (&status["state"], &status["name"]),
        (&"completed".into(), &"release".into())
    );
}

#[test]
fn run_started_by_runlog() {
    let world = World::new();
    let run = "build-7";
    world.runlog_ok(&["emit", "--open", "--run", run, "begin"]);

    write_together(&world, run);

    world.runlog_ok(&["run", "--run", run, "--close"]);
    assert_eq!(world.status(run)["state"], "completed");
    // The end of omne's pipe does not count in a run that runlog started.
    world.omne(run, &[world::pipe_aborted(run)]);
    assert_eq!(world.status(run)["state"], "completed");
}

/// omne holds the lock of the log while it writes a line in two parts.
#[test]
fn runlog_waits_for_omne_lock() {
    let world = World::new();
    let run = "build-7";
    world.runlog_ok(&["emit", "--open", "--run", run, "begin"]);
    let before = world.log(run);
    let held = File::open(world.events_path(run)).unwrap();
    held.lock().unwrap();
    let mut emit = world::runlog(world.root(), &["emit", "--run", run, "next"])
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(world.log(run) == before, "nothing is written beside omne");
    assert!(emit.try_wait().unwrap().is_none(), "it waits");
    assert_eq!(world.status(run)["events"], 2, "readers wait for nobody");
    held.unlock().unwrap();
    assert!(emit.wait().unwrap().success());
    assert_eq!(world::lines(&world.log(run)).len(), 3);
}

/// Runs all writers and one reader, and then checks the content of the file.
fn write_together(world: &World, run: &str) {
    let before = world.log(run);
    let started = Instant::now();
    let written = AtomicBool::new(false);
    let shared = open(world, run);

    let (omne, ours, looks) = thread::scope(|scope| {
        let omne: Vec<_> = (0..OMNE.0)
            .map(|n| scope.spawn(move || omne_process(world, run, n)))
            .collect();
        let mut ours = vec![
            scope.spawn(|| emit_one_by_one(world, run)),
            scope.spawn(|| emit_as_it_comes(world, run, "piped", &[])),
            scope.spawn(|| emit_as_it_comes(world, run, "unsynced", &["--no-sync"])),
            scope.spawn(|| append(&open(world, run), "own", Durability::Power)),
        ];
        for name in ["shared1", "shared2"] {
            let shared = &shared;
            ours.push(scope.spawn(move || append(shared, name, Durability::Process)));
        }
        let looker = scope.spawn(|| read_while_growing(world, run, &written));
        let omne: Vec<String> = omne.into_iter().flat_map(|t| t.join().unwrap()).collect();
        let ours: Vec<u8> = ours.into_iter().flat_map(|t| t.join().unwrap()).collect();
        written.store(true, Ordering::Relaxed);
        (omne, ours, looker.join().unwrap())
    });
    let took = started.elapsed();

    let log = world.log(run);
    let after = log
        .strip_prefix(&before[..])
        .expect("it is only appended to");
    check_omne(after, &omne);
    check_ours(after, &ours);
    check_numbers(&log);
    for look in &looks {
        assert!(
            log.starts_with(look),
            "what was read is the beginning of the log"
        );
    }
    let count = world::lines(&log).len();
    let status = world.status(run);
    assert_eq!(
        (&status["events"], &status["bytes"]),
        (&count.into(), &log.len().into())
    );
    assert!(world.tail_all(run) == log, "tail prints the stored bytes");
    assert_eq!(
        world.names(run),
        ["events.jsonl", "lock"],
        "nothing was repaired"
    );
    eprintln!(
        "{count} events, {} of them omne's, in {:.1} s; looked at {} times meanwhile",
        omne.len(),
        took.as_secs_f64(),
        looks.len(),
    );
}

/// Asserts that every event that omne wrote is in the log once, in order for each thread, and
/// nothing else from omne.
fn check_omne(log: &[u8], acknowledged: &[String]) {
    assert_eq!(acknowledged.len(), OMNE.0 * OMNE.1 * OMNE.2);
    let mut threads: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for line in world::lines(log) {
        if let Line::Omne(event) = line {
            let mut parts = world::omne_id(&event).splitn(3, '.').map(str::to_owned);
            let mut part = || parts.next().unwrap();
            let thread = (part(), part());
            threads
                .entry(thread)
                .or_default()
                .push(part().parse().unwrap());
        }
    }
    assert_eq!(threads.len(), OMNE.0 * OMNE.1);
    for (thread, numbers) in threads {
        assert!(
            numbers.iter().copied().eq(0..OMNE.2),
            "{thread:?}: {numbers:?}"
        );
    }
}

/// Asserts that every line that runlog acknowledged is in the log once, byte for byte, and
/// nothing else from runlog.
fn check_ours(log: &[u8], acknowledged: &[u8]) {
    let in_log = world::count_lines(log);
    let acknowledged = world::count_lines(acknowledged);
    for (line, count) in &acknowledged {
        let text = String::from_utf8_lossy(line);
        assert_eq!((*count, in_log.get(line)), (1, Some(&1)), "{text}");
    }
    let ours = in_log.keys().filter(|line| line.starts_with(b"{\"v\":"));
    assert_eq!(ours.count(), acknowledged.len());
    assert_eq!(acknowledged.len(), 3 * LINES + 3 * EVENTS);

    let mut notes: HashMap<String, Vec<u64>> = HashMap::new();
    for line in world::lines(log) {
        if let Line::Ours(event) = line {
            let name = event["name"].as_str().unwrap().to_owned();
            notes
                .entry(name)
                .or_default()
                .push(event["data"]["n"].as_u64().unwrap());
        }
    }
    for (name, numbers) in notes {
        assert!(
            numbers.iter().copied().eq(0..numbers.len() as u64),
            "{name}: {numbers:?}"
        );
    }
}

/// Asserts that the numbers of runlog's events have no gaps, and that their ids increase.
fn check_numbers(log: &[u8]) {
    let mut next = 0;
    let mut last_id = String::new();
    for line in world::lines(log) {
        if let Line::Ours(event) = line {
            assert_eq!(event["seq"], next);
            next += 1;
            let id = event["id"].as_str().unwrap();
            assert!(*id > *last_id, "{id} after {last_id}");
            id.clone_into(&mut last_id);
        }
    }
}

/// Runs a writer of omne, and returns the ids that it acknowledged.
fn omne_process(world: &World, run: &str, n: usize) -> Vec<String> {
    let (_, threads, events) = OMNE;
    let args = [
        run.to_owned(),
        format!("omne{n}"),
        threads.to_string(),
        events.to_string(),
        PAUSE.as_micros().to_string(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = world::omne_writer(world.root(), &args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let acknowledged = String::from_utf8(output.stdout).unwrap();
    acknowledged.lines().map(str::to_owned).collect()
}

fn emit(world: &World, run: &str, name: &str, more: &[&str]) -> (Child, ChildStdin, ChildStdout) {
    let args = ["emit", "--run", run, "--lines", "--ack", "--force", name];
    let mut child = world::runlog(world.root(), &[&args, more].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipes = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, pipes.0, pipes.1)
}

/// Emits each line after the previous one is acknowledged, and returns the acknowledged lines.
fn emit_one_by_one(world: &World, run: &str) -> Vec<u8> {
    let (mut child, mut stdin, stdout) = emit(world, run, "asked", &[]);
    let mut stdout = BufReader::new(stdout);
    let mut acknowledged = Vec::new();
    for n in 0..LINES {
        stdin
            .write_all(format!("{{\"n\":{n}}}\n").as_bytes())
            .unwrap();
        stdout.read_until(b'\n', &mut acknowledged).unwrap();
    }
    drop(stdin);
    stdout.read_to_end(&mut acknowledged).unwrap();
    assert!(child.wait().unwrap().success());
    acknowledged
}

/// Emits lines without waiting, and returns the acknowledged lines.
fn emit_as_it_comes(world: &World, run: &str, name: &str, more: &[&str]) -> Vec<u8> {
    let (mut child, mut stdin, mut stdout) = emit(world, run, name, more);
    let feeder = thread::spawn(move || {
        for n in 0..LINES {
            stdin
                .write_all(format!("{{\"n\":{n}}}\n").as_bytes())
                .unwrap();
            thread::sleep(PAUSE / 2);
        }
    });
    let mut acknowledged = Vec::new();
    stdout.read_to_end(&mut acknowledged).unwrap();
    feeder.join().unwrap();
    assert!(child.wait().unwrap().success());
    acknowledged
}

fn open(world: &World, run: &str) -> RunLog {
    let log = RunLog::open(&world.volume(), &run.parse().unwrap()).unwrap();
    log.foreign_policy(ForeignPolicy::Accept)
}

/// Appends single events and batches, and returns the acknowledged lines.
fn append(log: &RunLog, name: &str, durability: Durability) -> Vec<u8> {
    let note = |n: usize| {
        let data = serde_json::value::to_raw_value(&serde_json::json!({"n": n})).unwrap();
        let note = Note {
            name: name.into(),
            data: Some(&data),
        };
        Draft::new(log.run_id(), None, &note).unwrap()
    };
    let mut acknowledged = Vec::new();
    let mut n = 0;
    for size in [1, 1, 3].into_iter().cycle() {
        let drafts: Vec<_> = (n..EVENTS.min(n + size)).map(note).collect();
        if drafts.is_empty() {
            break;
        }
        n += drafts.len();
        acknowledged.extend(log.append(&drafts, durability).unwrap().bytes);
        thread::sleep(PAUSE);
    }
    acknowledged
}

/// Reads the run repeatedly while it grows, and asserts that no line in flight is reported as
/// damage. Returns the output of `tail`.
fn read_while_growing(world: &World, run: &str, written: &AtomicBool) -> Vec<Vec<u8>> {
    let mut looks = Vec::new();
    while !written.load(Ordering::Relaxed) {
        looks.push(world.tail_all(run));
        world.status(run);
        thread::sleep(Duration::from_millis(100));
    }
    looks
}
