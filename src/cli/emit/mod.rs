//! `runlog emit`.

mod args;
mod input_lines;

use std::io;
use std::io::Write as _;

use anyhow::{Context as _, Error, Result};
use serde_json::value::RawValue;

pub(crate) use self::args::Args;
use self::args::MAX_DATA_BYTES;
use self::input_lines::InputLines;
use super::context::{Global, opening, print_stderr};
use super::exit::Code;
use super::redaction::note_redaction;
use super::settings::rotation;
use super::stdout_report::StdoutReport;
use crate::log::format::note_data;
use crate::log::format::note_data::Mask;
use crate::log::format::payload::Note;
use crate::log::{
    AppendError, Appended, Batch, Close, Draft, DraftError, Durability, Envelope, EventType,
    MAX_LINE_BYTES, RunLog,
};
use crate::volume::{JobId, error_chain};

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let redaction = note_redaction(global.volume().ok().as_ref())?;
    let mask_text = |text: &str| -> Option<String> {
        let masked = redaction.all()?.mask_str(text);
        (*masked != *text).then(|| masked.into_owned())
    };
    let mask: Option<Mask<'_>> = redaction.all().is_some().then_some(&mask_text);
    // Reject data that cannot be stored before creating anything.
    let data = args.data(mask)?;
    let name = redaction.mask(args.name()?).into_owned();

    let volume = match global.enclosing_volume()? {
        Some(volume) => volume,
        None if args.open => global.make_volume()?,
        None => global.volume()?,
    };
    let log = args.open_log(&volume, &name)?;
    let log = log.foreign_policy(args.foreign_policy());
    let log = log.rotating(rotation(&volume, None));
    let run_name = args.run_name(&name)?;
    let emitter = Emitter {
        log,
        name,
        run_name: redaction.mask(&run_name).into_owned(),
        job: args.job()?,
        durability: args.durability(),
        ack: args.ack,
        may_be_new: args.open,
    };
    let mut acks = StdoutReport::new();
    let code = if args.lines {
        emitter.lines(mask, &mut acks)
    } else {
        let draft = emitter.draft(data.as_deref())?;
        let stored = emitter.store(&[draft], &mut acks);
        stored.map(|()| Code::Ok).map_err(Error::from)
    };
    if let Err(e) = emitter.log.finish_upkeep() {
        print_stderr(format_args!(
            "warning: the log was not rotated: {}",
            error_chain(&e)
        ));
    }
    acks.finish(code?)
        .context("the notes are stored, but not all were printed")
}

struct Emitter {
    log: RunLog,
    /// The name of the notes.
    name: String,
    /// The name of the run, if it is new.
    run_name: String,
    job: Option<JobId>,
    durability: Durability,
    ack: bool,
    may_be_new: bool,
}

impl Emitter {
    fn draft(&self, data: Option<&RawValue>) -> Result<Draft, DraftError> {
        let note = Note {
            name: (&self.name).into(),
            data,
        };
        Draft::new(self.log.run_id(), self.job.as_ref(), &note)
    }

    /// Appends notes in one write, and prints them with `--ack`.
    fn store(&self, notes: &[Draft], acks: &mut StdoutReport) -> Result<(), AppendError> {
        let appended = if self.may_be_new {
            self.store_opening(notes)?
        } else {
            self.log.append(notes, self.durability)?
        };
        if let Some(lost) = &appended.lost {
            print_stderr(format_args!("warning: {lost}"));
        }
        if self.ack {
            // The same write may have opened or repaired the log; print only the notes.
            let lines = appended.bytes.split_inclusive(|b| *b == b'\n');
            let mut notes = lines.filter(|line| is_note(line));
            acks.print(|out| notes.try_for_each(|line| out.write_all(line)));
        }
        Ok(())
    }

    /// Appends notes to a run that may have no event yet; in that case, the first event opens
    /// it.
    fn store_opening(&self, notes: &[Draft]) -> Result<Appended, AppendError> {
        let budget = EventType::Note.lock_budget();
        self.log.append_with(self.durability, budget, |view| {
            let mut drafts = Vec::with_capacity(notes.len() + 1);
            if view.is_new {
                let mut opening = opening(self.run_name.clone());
                opening.keep_open = true;
                let run = self.log.run_id();
                drafts.push(Draft::new(run, None, &opening)?);
            }
            drafts.extend_from_slice(notes);
            Ok(Batch {
                drafts,
                close: Close::No,
            })
        })
    }

    /// Adds a note for each line of stdin; the lines of one read are stored together.
    fn lines(&self, mask: Option<Mask<'_>>, acks: &mut StdoutReport) -> Result<Code> {
        let mut stdin = io::stdin().lock();
        let mut input = InputLines::default();
        let mut code = Code::Ok;
        loop {
            let more = input.read(&mut stdin).context("cannot read stdin")?;
            let (mut notes, mut line_nos) = (Vec::new(), Vec::new());
            for (line_no, line) in input.complete_lines() {
                let note = line
                    .ok_or(DraftError::TooLong {
                        bytes: MAX_LINE_BYTES + 1,
                        limit: MAX_DATA_BYTES,
                    })
                    .and_then(|line| Ok(note_data::from_line(&line, MAX_DATA_BYTES, mask)?))
                    .and_then(|data| self.draft(Some(&data)));
                match note {
                    Ok(note) => {
                        notes.push(note);
                        line_nos.push(line_no);
                    }
                    Err(e) => {
                        print_stderr(format_args!("error: line {line_no}: {}", error_chain(&e)));
                        code = Code::Negative;
                    }
                }
            }
            if !notes.is_empty() {
                self.store(&notes, acks)
                    .map_err(|e| with_stored_lines(e, &line_nos))?;
            }
            if !more {
                return Ok(code);
            }
        }
    }
}

/// Adds to the error of a batch which lines of stdin are stored, given those of the batch.
fn with_stored_lines(e: AppendError, line_nos: &[u64]) -> Error {
    let stored = match &e {
        AppendError::Refused(_) | AppendError::NotWritten(_) => 0,
        // The batch may have begun with other events, such as a repair.
        AppendError::Partial { written, total, .. } => {
            (line_nos.len() + written).saturating_sub(*total)
        }
        AppendError::NotDurable(_) => line_nos.len(),
    };
    match (line_nos.get(stored), line_nos.last()) {
        (Some(1), _) | (None, None) => e.into(),
        (Some(line), _) => Error::from(e).context(format!(
            "the lines before line {line} are stored, the others are not"
        )),
        (None, Some(last)) => Error::from(e).context(format!("lines up to line {last}")),
    }
}

fn is_note(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Envelope::parse(line).is_ok_and(|env| env.kind == EventType::Note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_short_write_are_counted_without_other_events() {
        let partial = |written| AppendError::Partial {
            path: "events.jsonl".into(),
            written,
            total: 5,
            source: io::ErrorKind::StorageFull.into(),
        };
        for (written, first) in [(1, 4), (2, 6), (4, 9)] {
            let error = with_stored_lines(partial(written), &[4, 6, 7, 9]);
            let expected = format!("the lines before line {first} are stored, the others are not");
            assert_eq!(error.to_string(), expected);
        }
    }
}
