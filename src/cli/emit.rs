//! `runlog emit`.

use std::io;
use std::io::{Read, Write as _};
use std::str::FromStr;

use anyhow::{Context as _, Result};
use serde_json::value::RawValue;

use super::context::{Global, opening, print_stderr};
use super::exit::{Code, UsageError};
use super::settings::rotation;
use super::value_parsers::pairs;
use crate::job::redact::masker::Redactor;
use crate::job::{JOB_VARIABLE, RUN_VARIABLE};
use crate::log::format::note_data;
use crate::log::format::note_data::Mask;
use crate::log::format::payload::Note;
use crate::log::{
    AppendError, Appended, Batch, Close, Draft, DraftError, Durability, Envelope, EventType,
    MAX_LINE_BYTES, RunLog, SelectError, allocate_ulid,
};
use crate::volume::{IdError, JobId, RunId, Volume, error_chain};

/// Room that the frame and the name of a note need in its line, in bytes.
const OVERHEAD: usize = 1 << 10;
/// Read from stdin at a time, in bytes: as many lines as have come go out together.
const CHUNK_BYTES: usize = 256 << 10;

/// Add a note to a run, from inside a job or from outside
///
/// Inside a job the run and the job are known from the environment. A note is durable
/// when the command ends with 0: it survives a loss of power.
///
/// Exit codes: 0 stored; 1 the run is closed, or a line was refused; 2 wrong arguments;
/// 3 no such volume or run; 6 the lock was not to be had; 7 not stored, or not durable.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// What the note is about
    #[arg(required_unless_present = "lines")]
    name: Option<String>,
    /// The note's data
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// The note's data as JSON; an object takes the pairs in too
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// One note for each line of stdin: JSON as it is, other text as {"text": …}
    #[arg(long, conflicts_with_all = ["data", "pairs"])]
    lines: bool,
    /// Print each stored event once it is durable
    #[arg(long)]
    ack: bool,
    /// The run [default: that of the job around, `RUNLOG_RUN_ID`]
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// The job that the note belongs to [default: the job around, `RUNLOG_JOB_ID`]
    #[arg(long, value_name = "ID")]
    job: Option<JobId>,
    /// Make the run if there is none; it stays open until `run --run ID --close`
    #[arg(long)]
    open: bool,
    /// Do not wait for the disk: the note survives the end of every process, but not
    /// a loss of power
    #[arg(long)]
    no_sync: bool,
    /// Also append to a run that another program began
    #[arg(long)]
    force: bool,
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let redactor = redactor()?;
    let mask_text = |text: &str| -> Option<String> {
        let masked = redactor.as_ref()?.mask_str(text);
        (*masked != *text).then(|| masked.into_owned())
    };
    let mask: Option<Mask<'_>> = redactor.is_some().then_some(&mask_text);
    // Data that cannot be stored is refused before anything is made.
    let data = args.data(mask)?;
    let name = args.name.as_deref().unwrap_or("line");
    let name = mask_text(name).unwrap_or_else(|| name.to_owned());

    let volume = if args.open {
        global.make_volume()?
    } else {
        global.volume()?
    };
    let log = args.open_log(&volume, &name)?;
    let log = log.allow_foreign(args.force);
    let log = log.rotating(rotation(&volume, None));
    let emitter = Emitter {
        log,
        name,
        job: args.job()?,
        durability: if args.no_sync {
            Durability::Process
        } else {
            Durability::Power
        },
        ack: args.ack,
        may_be_new: args.open,
    };
    let code = if args.lines {
        emitter.lines(mask)
    } else {
        let draft = emitter.draft(data.as_deref())?;
        emitter.store(&[draft]).map(|()| Code::Ok)
    };
    if let Err(e) = emitter.log.finish_upkeep() {
        print_stderr(format_args!(
            "warning: the log was not rotated: {}",
            error_chain(&e)
        ));
    }
    code
}

/// An id from the environment of a job; empty counts as unset.
fn context<T: FromStr<Err = IdError>>(variable: &str) -> Result<Option<T>, UsageError> {
    let Some(text) = std::env::var_os(variable).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.to_string_lossy()
        .parse()
        .map(Some)
        .map_err(|e| UsageError {
            message: format!("{variable}: {e}"),
            hint: "`runlog run` sets it for its job; unset it to name the run with --run",
        })
}

/// What `run --redact` asked for, in a job's environment.
fn redactor() -> Result<Option<Redactor>> {
    let Some(specs) = std::env::var_os("RUNLOG_REDACT").filter(|v| !v.is_empty()) else {
        return Ok(None);
    };
    let specs: Vec<String> = specs.to_string_lossy().lines().map(str::to_owned).collect();
    let redactor =
        Redactor::new(&specs, &|name| std::env::var_os(name)).map_err(|e| UsageError {
            message: format!("RUNLOG_REDACT: {e}"),
            hint: "unset RUNLOG_REDACT, or give it what `run --redact` takes, one on a line",
        })?;
    Ok(redactor)
}

impl Args {
    fn data(&self, mask: Option<Mask<'_>>) -> Result<Option<Box<RawValue>>> {
        let limit = MAX_LINE_BYTES - OVERHEAD;
        let pairs = pairs("KEY=VALUE", &self.pairs)?;
        let stored = |e| DraftError::from(e);
        let made = match (&self.data, pairs.is_empty()) {
            (None, true) => return Ok(None),
            (None, false) => note_data::object_from_pairs(&pairs).map_err(stored)?,
            (Some(text), true) => {
                return Ok(Some(note_data::compact(text, limit, mask).map_err(stored)?));
            }
            (Some(text), false) => note_data::with_pairs(
                &note_data::compact(text, limit, None).map_err(stored)?,
                &pairs,
            )
            .map_err(stored)?,
        };
        Ok(Some(
            note_data::compact(made.get(), limit, mask).map_err(stored)?,
        ))
    }

    /// The run that is named, or the run around.
    fn run(&self) -> Result<Option<RunId>, UsageError> {
        match &self.run {
            Some(run) => Ok(Some(run.clone())),
            None => context(RUN_VARIABLE),
        }
    }

    /// The job around counts only in the run around.
    fn job(&self) -> Result<Option<JobId>, UsageError> {
        match &self.job {
            Some(job) => Ok(Some(job.clone())),
            None if self.run()? == context(RUN_VARIABLE)? => context(JOB_VARIABLE),
            None => Ok(None),
        }
    }

    fn open_log(&self, volume: &Volume, name: &str) -> Result<RunLog> {
        if !self.open {
            let run = self.run()?.ok_or_else(|| UsageError {
                message: "no run is given".to_owned(),
                hint: "name one with --run ID, make one with --open, or call it inside a job",
            })?;
            return Ok(RunLog::open(volume, &run)?);
        }
        let Some(run) = &self.run()? else {
            let log = RunLog::create(volume, name)?;
            print_stderr(format_args!("run_id={}", log.run_id()));
            return Ok(log);
        };
        match RunLog::open(volume, run) {
            Err(SelectError::NoSuchRun { .. }) => Ok(RunLog::open_or_create(
                volume,
                run,
                Some(allocate_ulid(volume)?),
            )?),
            opened => Ok(opened?),
        }
    }
}

struct Emitter {
    log: RunLog,
    name: String,
    job: Option<JobId>,
    durability: Durability,
    ack: bool,
    may_be_new: bool,
}

impl Emitter {
    fn draft(&self, data: Option<&RawValue>) -> Result<Draft, DraftError> {
        let note = Note {
            name: &self.name,
            data,
        };
        Draft::new(EventType::Note, self.log.run_id(), self.job.as_ref(), &note)
    }

    /// Appends notes in one write, and prints them where that was asked for.
    fn store(&self, notes: &[Draft]) -> Result<()> {
        let appended = if self.may_be_new {
            self.store_opening(notes)?
        } else {
            self.log.append(notes, self.durability)?
        };
        if self.ack {
            // What opened or mended the log in the same write is not what was asked for.
            let lines = appended.bytes.split_inclusive(|b| *b == b'\n');
            let mut out = io::BufWriter::new(io::stdout().lock());
            let mut notes = lines.filter(|line| is_note(line));
            notes
                .try_for_each(|line| out.write_all(line))
                .and_then(|()| out.flush())
                .context("the notes are stored, but stdout cannot be written")?;
        }
        Ok(())
    }

    /// The same for a run that may have to be opened.
    fn store_opening(&self, notes: &[Draft]) -> Result<Appended, AppendError> {
        let budget = EventType::Note.lock_budget();
        self.log.append_with(self.durability, budget, |view| {
            let mut drafts = Vec::with_capacity(notes.len() + 1);
            if view.is_new {
                let opening = opening(self.name.clone(), true);
                let run = self.log.run_id();
                drafts.push(Draft::new(EventType::RunOpened, run, None, &opening)?);
            }
            drafts.extend_from_slice(notes);
            Ok(Batch {
                drafts,
                close: Close::No,
            })
        })
    }

    /// Reads stdin to its end: what has come by then goes out together.
    fn lines(&self, mask: Option<Mask<'_>>) -> Result<Code> {
        let mut stdin = io::stdin().lock();
        let mut input = InputLines::default();
        let mut code = Code::Ok;
        loop {
            let more = input.read(&mut stdin).context("cannot read stdin")?;
            let mut notes = Vec::new();
            for (line_no, line) in input.accept() {
                let limit = MAX_LINE_BYTES - OVERHEAD;
                let note = line
                    .ok_or(DraftError::TooLong {
                        bytes: MAX_LINE_BYTES + 1,
                        limit,
                    })
                    .and_then(|line| Ok(note_data::from_line(&line, limit, mask)?))
                    .and_then(|data| self.draft(Some(&data)));
                match note {
                    Ok(note) => notes.push(note),
                    Err(e) => {
                        print_stderr(format_args!("error: line {line_no}: {}", error_chain(&e)));
                        code = Code::Negative;
                    }
                }
            }
            if !notes.is_empty() {
                self.store(&notes)?;
            }
            if !more {
                return Ok(code);
            }
        }
    }
}

fn is_note(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Envelope::parse(line).is_ok_and(|env| env.kind == EventType::Note.as_str())
}

/// Lines of stdin, as many as have come; one that is too long is not held.
#[derive(Default)]
struct InputLines {
    held: Vec<u8>,
    chunk: Vec<u8>,
    line_no: u64,
    too_long: bool,
    ended: bool,
}

impl InputLines {
    /// Reads once; `false` at the end.
    fn read(&mut self, stdin: &mut impl Read) -> io::Result<bool> {
        self.chunk.resize(CHUNK_BYTES, 0);
        let n = loop {
            match stdin.read(&mut self.chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                n => break n?,
            }
        };
        self.ended = n == 0;
        self.held
            .extend_from_slice(self.chunk.get(..n).unwrap_or_default());
        Ok(!self.ended)
    }

    /// The whole lines that are held, without their `\n`, with their numbers; `None` for
    /// one that is too long.
    fn accept(&mut self) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = Vec::new();
        let mut rest = self.held.as_slice();
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at);
            rest = after.get(1..).unwrap_or_default();
            self.line_no += 1;
            let fits = !std::mem::take(&mut self.too_long) && line.len() <= MAX_LINE_BYTES;
            lines.push((self.line_no, fits.then(|| line.to_vec())));
        }
        let mut rest = rest.to_vec();
        if rest.len() > MAX_LINE_BYTES {
            self.too_long = true;
            rest.clear();
        }
        if self.ended && (self.too_long || !rest.is_empty()) {
            self.line_no += 1;
            let rest = std::mem::take(&mut rest);
            lines.push((self.line_no, (!self.too_long).then_some(rest)));
        }
        self.held = rest;
        lines
    }
}
