//! Prints the notes of a run, and what became of it.
//!
//! `read FOLDER [RUN]`, where RUN is an id, the beginning of one, or `latest`.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use runlog::log::{EventType, Fold, Item, Reader, SelectError, select};
use runlog::volume::Volume;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields of a note that are looked at; what is not known is left alone.
#[derive(Deserialize)]
struct Note<'a> {
    name: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(folder) = args.next() else {
        return told("usage: read FOLDER [RUN]", 2);
    };
    let name = args.next().map_or_else(
        || "latest".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    match show(Path::new(&folder), &name) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => told("some of the log is damaged", 5),
        Err(e) => match e.downcast_ref() {
            Some(SelectError::NoSuchRun { .. } | SelectError::NoRuns { .. }) => {
                told(&e.to_string(), 3)
            }
            _ => told(&e.to_string(), 1),
        },
    }
}

fn told(message: &str, code: u8) -> ExitCode {
    // There is nobody to tell that stderr is gone.
    drop(writeln!(io::stderr(), "read: {message}"));
    ExitCode::from(code)
}

/// Says whether all of it could be read.
fn show(folder: &Path, name: &str) -> Result<bool, Box<dyn Error>> {
    let volume = Volume::open(folder)?;
    let (run, dir) = select(&volume, name)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut fold = Fold::default();
    let mut sound = true;
    let mut reader = Reader::open(&dir)?;
    while let Some(item) = reader.next_item()? {
        fold.apply(&item);
        match item {
            Item::Event(env, line) if env.kind == EventType::Note => {
                let note: Note<'_> = serde_json::from_slice(line)?;
                let data = note.data.map_or("", RawValue::get);
                writeln!(out, "{} {} {} {data}", env.seq, env.ts, note.name)?;
            }
            // The fold has what the others say.
            Item::Event(..) | Item::Foreign(..) => {}
            Item::Damage(damage) => {
                told(&damage.to_string(), 5);
                sound = false;
            }
        }
    }
    let state = fold.state;
    let closed = state
        .closed_ts
        .map_or_else(|| "not yet".to_owned(), |ts| ts.to_string());
    writeln!(
        out,
        "{run}: {} events, {} jobs, {} failed, closed {closed}",
        reader.next_seq(),
        state.jobs_total,
        state.jobs_failed
    )?;
    out.flush()?;
    Ok(sound)
}
