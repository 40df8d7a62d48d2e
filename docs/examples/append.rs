//! Creates a run, appends to it from several threads, and closes it.
//!
//! `append DIR` prints the id of the run. DIR becomes a volume if it is not one.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use runlog::log::payload::RunOpened;
use runlog::log::{
    AppendError, Batch, Close, Draft, Durability, EventType, RotationPolicy, RunLog,
};
use runlog::volume::Volume;
use serde_json::json;

const THREADS: usize = 4;
const NOTES: usize = 25;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        return fail("usage: append DIR", 2);
    };
    match import(Path::new(&dir)) {
        Ok(run) => match writeln!(io::stdout(), "{run}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => fail(&e.to_string(), 1),
        },
        Err(e) => fail(&e.to_string(), 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    // Nothing can be done if stderr is closed.
    drop(writeln!(io::stderr(), "append: {message}"));
    ExitCode::from(code)
}

fn import(dir: &Path) -> Result<String, Box<dyn Error + Send + Sync>> {
    let volume = Volume::create(dir)?;
    let log = RunLog::create(&volume, "import")?.rotating(Some(RotationPolicy {
        max_size: 64 << 20,
        keep: None,
        compress: true,
    }));
    // The first event of a run. Other processes can append after it.
    let opening = RunOpened {
        name: "import".to_owned(),
        ..RunOpened::default()
    };
    let opened = Draft::new(log.run_id(), None, &opening)?;
    log.append(&[opened], Durability::Power)?;

    // Threads share it; other processes would open it with `RunLog::open`.
    let log = &log;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || add_notes(log, thread)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;

    let budget = EventType::RunClosed.lock_budget();
    log.append_with(Durability::Power, budget, |_| Ok(Batch::only(Close::Now)))?;
    // Errors of rotation or compression, which failed no append.
    log.finish_upkeep()?;
    Ok(log.run_id().to_string())
}

fn add_notes(log: &RunLog, thread: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    for n in 0..NOTES {
        let data = json!({"thread": thread, "n": n});
        let note = Draft::note(log.run_id(), None, "row", &data)?;
        // Only the last note is synced, and all before it with it, which is cheap.
        let durability = if n + 1 < NOTES {
            Durability::Process
        } else {
            Durability::Power
        };
        match log.append(&[note], durability) {
            // It is in the log. A retry would duplicate it.
            Err(e @ AppendError::NotDurable(_)) => report(&e),
            appended => drop(appended?),
        }
    }
    Ok(())
}

fn report(e: &AppendError) {
    drop(writeln!(io::stderr(), "append: {e}"));
}
