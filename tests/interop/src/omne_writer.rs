//! A process that appends to a run with omne-cli's own code, as `omne` itself does.
//!
//! `omne-writer ROOT RUN WRITER THREADS EVENTS PAUSE_US`: each thread appends EVENTS events
//! through one shared log, and pauses for PAUSE_US microseconds after each. The id of an event
//! is `WRITER.THREAD.NUMBER`. It is printed after `EventLog::append` has returned.

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use omne_cli::event_log::EventLog;
use omne_cli::events::{
    Event, GateMethod, GatePassed, IterationStarted, NodeCompleted, NodeKind, NodeStarted,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [root, run, writer, threads, events, pause] = &args[..] else {
        return Err("usage: omne-writer ROOT RUN WRITER THREADS EVENTS PAUSE_US".into());
    };
    let (threads, events): (usize, usize) = (threads.parse()?, events.parse()?);
    let pause = Duration::from_micros(pause.parse()?);
    let log = EventLog::for_run(Path::new(root), run)?;
    let log = &log;
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || -> Result<(), String> {
                    for number in 0..events {
                        let id = format!("{writer}.{thread}.{number}");
                        log.append(&event(&id, run, number))
                            .map_err(|e| format!("{id}: {e}"))?;
                        // One write per line, so that a kill tears none.
                        let ack = format!("{id}\n");
                        std::io::stdout()
                            .write_all(ack.as_bytes())
                            .map_err(|e| e.to_string())?;
                        thread::sleep(pause);
                    }
                    Ok(())
                })
            })
            .collect();
        for handle in handles {
            handle.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

/// Returns an event. Kinds and lengths vary with the number.
fn event(id: &str, run: &str, number: usize) -> Event {
    let (id, run_id) = (id.to_owned(), run.to_owned());
    let ts = "2026-04-15T12:00:00Z".to_owned();
    let node_id = format!("node-{}", number / 4 % 50);
    match number % 4 {
        0 => Event::NodeStarted(NodeStarted {
            id,
            ts,
            run_id,
            node_id,
            kind: NodeKind::Bash,
            name: Some("zwölf \"Boxkämpfer\"\n".to_owned()),
            model: None,
        }),
        1 => Event::IterationStarted(IterationStarted {
            id,
            ts,
            run_id,
            node_id,
            iteration: 1,
            byte_offset: number as u64,
        }),
        2 => Event::GatePassed(GatePassed {
            id,
            ts,
            run_id,
            node_id,
            gate: "lint".to_owned(),
            method: GateMethod::Hook,
            stdout: Some("all fine\n".repeat(number % 100)),
        }),
        _ => Event::NodeCompleted(NodeCompleted {
            id,
            ts,
            run_id,
            node_id,
            output_path: ".omne/var/runs/r/nodes/n.out".to_owned(),
        }),
    }
}
