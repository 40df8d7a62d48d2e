//! Prints the notes and the outcome of a run.
//!
//! `read DIR [RUN]`, where RUN is an id, a unique prefix of one, or `latest`.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use runlog::log::{EventType, Fold, Item, Reader, SelectError, select};
use runlog::volume::Volume;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields of a note that are used. Unknown ones are ignored.
#[derive(Deserialize)]
struct Note<'a> {
    name: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(dir) = args.next() else {
        return fail("usage: read DIR [RUN]", 2);
    };
    let name = args.next().map_or_else(
        || "latest".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    match show(Path::new(&dir), &name) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail("some of the log is damaged", 5),
        Err(e) => match e.downcast_ref() {
            Some(SelectError::NoSuchRun { .. } | SelectError::NoRuns { .. }) => {
                fail(&e.to_string(), 3)
            }
            _ => fail(&e.to_string(), 1),
        },
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    // Nothing can be done if stderr is closed.
    drop(writeln!(io::stderr(), "read: {message}"));
    ExitCode::from(code)
}

/// Returns whether the whole log could be read.
fn show(dir: &Path, name: &str) -> Result<bool, Box<dyn Error>> {
    let volume = Volume::open(dir)?;
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
                writeln!(out, "{} {} {} {data}", env.seq, env.ts(), note.name)?;
            }
            // The fold contains the rest.
            Item::Event(..) | Item::Foreign(..) | Item::Dropped(_) => {}
            Item::Damage(damage) => {
                fail(&damage.to_string(), 5);
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
