//! `runlog tail`.

mod ack;
mod cursor_store;
mod filter;
mod follow;
mod line_writer;
mod output;
mod poll;
mod run_status;
mod select;
mod stdout_sink;
mod stop_reason;
mod until;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::context::Global;
use super::exit::{Code, UsageError};
use super::value_parsers::{parse_duration, parse_moment, parse_stream};
use crate::cli::tail::follow::Tailer;
use crate::cli::tail::until::{Until, parse_until};
use crate::job::StreamId;
use crate::log::Cursor;

/// Lines that are shown where nothing else is asked for.
const DEFAULT_LINES: usize = 10;

/// Show the last events of runs, or what the jobs of a run printed
///
/// RUN is an id, the beginning of one, or `latest`. With -f it goes on until the runs
/// have ended: completed, failed, lost or unknown; with --all until it is told to end.
///
/// A cursor is a place behind a line that was written out. With --cursor-file every event
/// is written out once, however often runlog is started anew; after a crash some may come
/// twice, never none. Into a pipe or a socket a line counts once it was read there: what a
/// reader had not read when it died comes again, and the end waits for the reader (a signal
/// ends the wait). What a reader does with what it read is not known. Where events that were
/// not written out are gone, a gap is told, and the exit code is 5.
///
/// Exit codes: 0 fine; 1 the runs have ended, and what --until waits for never came;
/// 2 wrong arguments; 3 no such volume or run, or it was removed; 4 the time-out is over;
/// 5 damage in the log, which was passed over, or a gap; 6 the cursor file is in use;
/// 7 I/O.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// The runs [default: latest]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// All runs of the volume; with -f also those that come
    #[arg(long, conflicts_with_all = ["runs", "output"])]
    all: bool,

    /// How many of the last ones of each run: a number, or `all` [default: 10; all with
    /// --output and with a cursor]
    #[arg(short, long = "lines", value_name = "N", value_parser = parse_lines)]
    n: Option<usize>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "output")]
    kind: Vec<String>,
    /// Only what concerns this job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Only events since then: a time, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = parse_moment, conflicts_with = "output")]
    since: Option<Timestamp>,
    /// Only events until then: a time, or how long ago. Or end after the first event of a
    /// type (`type=TYPE`, also one that --type does not show), or as soon as a run is in a
    /// state (`state=STATE`; with --all not one that had ended before); these imply -f
    #[arg(long, value_name = "WHEN", value_parser = parse_until, conflicts_with = "output")]
    until: Option<Until>,
    /// The events as they are stored, byte for byte
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// What the jobs printed, instead of events. At a terminal it is without control
    /// sequences, and what came from stderr is red; elsewhere it is as it was printed
    #[arg(long)]
    output: bool,
    /// Only what they printed there
    #[arg(long, value_name = "STREAM", value_parser = parse_stream, requires = "output")]
    stream: Option<StreamId>,
    /// Go on as the runs go on
    #[arg(short, long)]
    follow: bool,
    /// Follow no longer than this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Begin behind the cursors in this file, and keep them there; begin with the first
    /// event where there is none (-n counts only where the file is empty or missing)
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    cursor_file: Option<PathBuf>,
    /// Begin behind this cursor
    #[arg(
        long,
        value_name = "CURSOR",
        conflicts_with_all = ["cursor_file", "all", "output", "n"]
    )]
    after_cursor: Option<Cursor>,
    /// At the end tell the cursor of each run on stderr: `cursor=CURSOR`
    #[arg(long, conflicts_with = "output")]
    show_cursor: bool,
}

fn parse_lines(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        n => n
            .parse()
            .map_err(|_| format!("`{text}` is not a number; write one, or `all`")),
    }
}

impl Args {
    /// Whether it goes on behind what is there.
    fn follows(&self) -> bool {
        self.follow || self.until.as_ref().is_some_and(Until::is_awaited)
    }

    /// What clap cannot see.
    fn check(&self) -> Result<(), UsageError> {
        let wrong = |message: &str, hint| {
            Err(UsageError {
                message: message.to_owned(),
                hint,
            })
        };
        if self.timeout.is_some() && !self.follows() {
            return wrong(
                "--timeout is for what is followed",
                "add -f, or --until state=STATE or type=TYPE",
            );
        }
        if self.output && self.runs.len() > 1 {
            return wrong("--output takes one run", "ask for one run after the other");
        }
        if self.after_cursor.is_some() && self.runs.len() > 1 {
            return wrong(
                "--after-cursor is a place in one run",
                "keep the cursors of several runs with --cursor-file",
            );
        }
        Ok(())
    }
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    args.check()?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    if args.output {
        let name = args.runs.first().map_or("latest", String::as_str);
        let (_, dir) = global.run(name)?;
        return output::output(args, global, &dir, deadline);
    }
    Tailer::new(args, global, deadline)?.run()
}
