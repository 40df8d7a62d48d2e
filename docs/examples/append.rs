//! Makes a run, appends to it from several threads, and closes it.
//!
//! `append FOLDER` prints the id of the run. FOLDER becomes a volume if it is none.

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
    let Some(folder) = std::env::args_os().nth(1) else {
        return told("usage: append FOLDER", 2);
    };
    match import(Path::new(&folder)) {
        Ok(run) => match writeln!(io::stdout(), "{run}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => told(&e.to_string(), 1),
        },
        Err(e) => told(&e.to_string(), 1),
    }
}

fn told(message: &str, code: u8) -> ExitCode {
    // There is nobody to tell that stderr is gone.
    drop(writeln!(io::stderr(), "append: {message}"));
    ExitCode::from(code)
}

fn import(folder: &Path) -> Result<String, Box<dyn Error + Send + Sync>> {
    let volume = Volume::create(folder)?;
    let log = RunLog::create(&volume, "import")?.rotating(Some(RotationPolicy {
        max_size: 64 << 20,
        keep: None,
        compress: true,
    }));
    // The first event of a run. Others may append to it from now on.
    let opening = RunOpened {
        name: "import".to_owned(),
        ..RunOpened::default()
    };
    let opened = Draft::new(EventType::RunOpened, log.run_id(), None, &opening)?;
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
    // Trouble with rotation or compression, which failed no append.
    log.finish_upkeep()?;
    Ok(log.run_id().to_string())
}

fn add_notes(log: &RunLog, thread: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    for n in 0..NOTES {
        let data = json!({"thread": thread, "n": n});
        let note = Draft::note(log.run_id(), None, "row", &data)?;
        // Not on disk yet, which is cheap; the last one is, and all before it with it.
        let durability = if n + 1 < NOTES {
            Durability::Process
        } else {
            Durability::Power
        };
        match log.append(&[note], durability) {
            // It stands in the log: appended again, it would be there twice.
            Err(e @ AppendError::NotDurable(_)) => told_of(&e),
            appended => drop(appended?),
        }
    }
    Ok(())
}

fn told_of(e: &AppendError) {
    drop(writeln!(io::stderr(), "append: {e}"));
}
