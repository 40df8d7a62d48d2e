//! The arguments of `tail`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cli::context::print_stderr;
use crate::cli::pager::Paging;
use crate::cli::tail::until::{Until, parse_until};
use crate::cli::usage_error::UsageError;
use crate::cli::value_parsers::{
    EventTypeParser, parse_count, parse_duration, parse_moment, stream,
};
use crate::log::{Cursor, EventType, StreamId};
use crate::volume::wall_clock;

/// The lines to show first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineCount {
    /// All lines.
    All,
    /// The last N lines.
    Last(usize),
    /// The lines from the N-th on, as `tail -n +N` has it; 1 is the first.
    From(usize),
}

/// The number of events to show by default.
pub(super) const DEFAULT_LINES: usize = 10;

/// Show the last events of runs, or the output of the jobs of a run
///
/// RUN is an ID, a name (its newest run), a unique prefix of an ID, or `latest`; `~1` is the run
/// before, as in `build~1`. With -f, continue until the runs have ended
/// (completed, failed, lost or unknown); with -f --all, until interrupted.
///
/// A cursor is a position after a line that was printed. With --cursor-file, every event is printed
/// once, across restarts; after a crash some may be printed twice, but none is skipped. In a pipe
/// or a socket, a line counts once the reader has read it: what a reader had not read when it died
/// is printed again, and at its end runlog waits for the reader (until a signal). What the reader
/// does with a line is unknown. If events were removed before they were printed, even those of a
/// run that no `tail` command has seen, a gap is reported, and the exit code is 5.
///
/// With --grep, lines that match are printed as `run job time line`, in the order of the IDs of the
/// runs. An event is searched as it is stored; a line of output of more than 64 KiB is searched in
/// pieces. The stream and time of a line are those of its first byte. -f and -n cannot be combined
/// with --grep.
///
/// WHEN is a date, a time (local, unless it has an offset), `now`, `today`, `yesterday`, Unix
/// seconds, or how long ago: 15m. DURATION is a number of seconds, or has units ms, s, m, h, d, w:
/// 90, 1h30m.
///
/// Exit codes: 0 success; 1 the runs have ended, and the --until condition was not met, or --grep
/// found nothing; 2 invalid arguments; 3 no such volume, run or job, or it was removed; 4 timed out;
/// 5 damaged log (damage was skipped), or a gap; 6 the cursor file is in use; 7 I/O error.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// Runs to show [default: latest]
    #[arg(value_name = "RUN")]
    pub runs: Vec<String>,
    /// Show all runs of the volume; with -f, also new ones
    #[arg(long, conflicts_with = "runs")]
    pub all: bool,

    /// Show the last N events of each run, those from the N-th on (`+N`), or `all` [default: 10;
    /// all with --output and with a cursor]
    #[arg(short, long = "lines", value_name = "N",
 value_parser = parse_lines)]
    pub n: Option<LineCount>,
    /// Show only events of this type
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_parser = EventTypeParser,
        value_delimiter = ',',
        conflicts_with = "output"
    )]
    pub kind: Vec<String>,
    /// Show only events or output of this job
    #[arg(long, value_name = "JOB")]
    pub job: Option<String>,
    /// Show only events or output since WHEN
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = parse_moment)]
    pub since: Option<Timestamp>,
    /// Show only events or output until WHEN; with a cursor, a run is read up to its first event
    /// after that, and the rest is left to the next call. Or follow until the first event of a type
    /// (`type=TYPE`, in the whole log unless -n or --all is given, and even one that --type hides)
    /// or until a run is in a state (`state=STATE`; with --all, runs that had already ended do not
    /// count)
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = parse_until)]
    pub until: Option<Until>,
    /// Print events as stored, byte for byte; with --grep, an object per line that was found
    #[arg(long)]
    pub json: bool,
    /// Print the output of the jobs instead of events. On a terminal, only the colors of its escape
    /// sequences are kept, and stderr without colors is red; otherwise it is printed unchanged.
    /// With several runs, each line starts with its run and job
    #[arg(long, group = "of_output")]
    pub output: bool,
    /// Start each line of output with the time at which it was stored
    #[arg(short, long, requires = "of_output")]
    pub timestamps: bool,
    /// Show only output from this stream (stdout, stderr, or both where they shared one pipe)
    #[arg(long, value_name = "STREAM", value_parser = stream(), requires = "of_output")]
    pub stream: Option<StreamId>,
    /// Print new events or output as they arrive
    #[arg(short, long)]
    pub follow: bool,
    /// Stop following after DURATION; 0 means no limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// Do not show long output in a pager (`RUNLOG_PAGER`, `PAGER`, or less); with -f there is none
    #[arg(long)]
    pub no_pager: bool,

    /// Search all events (their stored lines) or, with --output, all output of the runs for a
    /// regular expression, and print the lines that match
    #[arg(
        long,
        value_name = "REGEX",
        allow_hyphen_values = true,
        help_heading = "Search"
    )]
    pub grep: Option<String>,
    /// Ignore upper and lower case
    #[arg(short, long, requires = "grep", help_heading = "Search")]
    pub ignore_case: bool,
    /// Also print N lines after each match
    #[arg(
        short = 'A',
        long,
        value_name = "N",
        value_parser = parse_count::<u16>,
        requires = "grep",
        help_heading = "Search"
    )]
    pub after_context: Option<u16>,
    /// Also print N lines before each match
    #[arg(
        short = 'B',
        long,
        value_name = "N",
        value_parser = parse_count::<u16>,
        requires = "grep",
        help_heading = "Search"
    )]
    pub before_context: Option<u16>,
    /// Also print N lines before and after each match (-C N, where N is a number)
    #[arg(long, value_name = "N",
 value_parser = parse_count::<u16>, requires = "grep", help_heading = "Search")]
    pub context: Option<u16>,

    /// Continue after the cursors in FILE, and update them; a run without a cursor starts with
    /// its first event (-n applies only if FILE is empty or missing)
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub cursor_file: Option<PathBuf>,
    /// Start after this cursor
    #[arg(
        long,
        value_name = "CURSOR",
        conflicts_with_all = ["cursor_file", "all", "output", "n"]
    )]
    pub after_cursor: Option<Cursor>,
    /// At the end, print the cursor of each run to stderr: `cursor=CURSOR`
    #[arg(long, conflicts_with = "output")]
    pub show_cursor: bool,
}

/// Parses the value of `-n`: `10` or, as in tail(1), `-10`; `+3` or `all`.
fn parse_lines(text: &str) -> Result<LineCount, String> {
    let number = |n: &str| {
        let wrong = || format!("`{text}` is not a number; write 10, +3 (from the third on) or all");
        n.parse().map_err(|_| wrong())
    };
    match (text, text.strip_prefix('+')) {
        ("all", _) => Ok(LineCount::All),
        (_, Some(n)) => number(n).map(LineCount::From),
        (n, None) => number(n.strip_prefix('-').unwrap_or(n)).map(LineCount::Last),
    }
}

impl Args {
    /// Returns whether to print output line by line: with run, job, or time in front, or
    /// selected by time.
    pub(super) fn prints_output_lines(&self) -> bool {
        let several = self.all || self.runs.len() > 1;
        self.output && (several || self.timestamps || self.since.is_some() || self.until.is_some())
    }

    /// Returns whether to show long output in a pager: not if it continues or is for programs.
    pub(super) fn paging(&self) -> Paging {
        let is_off = self.no_pager || self.follows() || self.json || self.cursor_file.is_some();
        if is_off { Paging::Off } else { Paging::FromEnd }
    }

    /// Returns the end of the time range to show.
    pub(super) fn until_time(&self) -> Option<Timestamp> {
        match self.until {
            Some(Until::Time(ts)) => Some(ts),
            _ => None,
        }
    }

    /// Returns how long it is until the time of --until: zero once that has passed.
    pub(super) fn left_until(&self) -> Option<Duration> {
        let left = self.until_time()?.duration_since(wall_clock());
        Some(left.max(SignedDuration::ZERO).unsigned_abs())
    }

    /// Returns whether the time of --until has passed.
    pub(super) fn is_over(&self) -> bool {
        self.left_until() == Some(Duration::ZERO)
    }

    /// Returns whether to wait for new events.
    pub(super) fn follows(&self) -> bool {
        self.follow || self.until.as_ref().is_some_and(Until::is_awaited)
    }

    /// Warns about types of events that this version does not know.
    pub(super) fn warn_unknown_types(&self) {
        let waited_for = match &self.until {
            Some(Until::Type(kind)) => Some(kind),
            _ => None,
        };
        // The types of omne have a dot in their names.
        let is_known = |kind: &str| {
            kind.contains('.') || EventType::ALL.iter().any(|known| known.as_str() == kind)
        };
        for kind in self
            .kind
            .iter()
            .chain(waited_for)
            .filter(|kind| !is_known(kind))
        {
            print_stderr(format_args!(
                "warning: `{kind}` is not a type of event that runlog writes"
            ));
        }
    }

    /// Returns whether people asked for some events only.
    pub(super) fn selects_events(&self) -> bool {
        let is_limited = self.since.is_some() || matches!(self.until, Some(Until::Time(_)));
        let has_cursor = self.cursor_file.is_some() || self.after_cursor.is_some();
        !self.json && !has_cursor && (!self.kind.is_empty() || self.job.is_some() || is_limited)
    }

    /// Checks combinations that clap cannot check.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        let wrong = |message: &str, hint| {
            Err(UsageError {
                message: message.to_owned(),
                hint,
            })
        };
        if self.grep.is_some() {
            return self.check_search();
        }
        if self.output && self.json {
            return wrong(
                "--output cannot be used with --json",
                "search the output of runs with --grep REGEX, or leave one of the two out",
            );
        }
        if self.timeout.is_some() && !self.follows() {
            return wrong(
                "--timeout needs -f",
                "add -f, or --until state=STATE or type=TYPE",
            );
        }
        if self.output && self.until.as_ref().is_some_and(Until::is_awaited) {
            return wrong(
                "--output cannot wait for a state or an event",
                "give --until a time, or wait with `runlog status --wait RUN`",
            );
        }
        if self.after_cursor.is_some() && self.runs.len() > 1 {
            return wrong(
                "--after-cursor takes one run",
                "use --cursor-file for several runs",
            );
        }
        Ok(())
    }

    /// Checks that a search is not combined with incompatible options.
    fn check_search(&self) -> Result<(), UsageError> {
        let awaits = self.until.as_ref().is_some_and(Until::is_awaited);
        let refused = [
            (
                "-f",
                self.follow || self.timeout.is_some(),
                "search what comes with `runlog tail -f --output RUN | grep --line-buffered REGEX`",
            ),
            (
                "--until state=STATE or type=TYPE",
                awaits,
                "give --until a time; wait with `runlog status --wait RUN`",
            ),
            (
                "--timestamps",
                self.timestamps,
                "add --json: each line that is found has its time",
            ),
            (
                "-n",
                self.n.is_some(),
                "search what is new with --since WHEN, or pipe the result to `tail -n N`",
            ),
            (
                "a cursor",
                self.cursor_file.is_some() || self.after_cursor.is_some() || self.show_cursor,
                "search what is new with --since WHEN",
            ),
        ];
        match refused.into_iter().find(|(_, given, _)| *given) {
            None => Ok(()),
            Some((flag, _, hint)) => Err(UsageError {
                message: format!("--grep cannot be used with {flag}"),
                hint,
            }),
        }
    }
}
