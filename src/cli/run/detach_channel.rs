//! The channel through which a detached supervisor reports to the caller of `run --detach`.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use crate::cli::context::print_stderr;
use crate::cli::exit::Code;
use crate::job::END_OF_REPORT;
use crate::sync::lock;
use crate::volume::RunId;

/// The write end of the channel; `None` after the final report was sent.
pub(crate) type Channel = Arc<Mutex<Option<File>>>;

/// Sends the final report to the caller of `--detach`: `ok`, or a code and a message.
pub(crate) fn report(channel: &Channel, text: &str) {
    let channel = lock(channel).take();
    if let Some(mut channel) = channel {
        // If the caller has exited, the report is not needed.
        let report = [text.as_bytes(), &[END_OF_REPORT]].concat();
        drop(channel.write_all(&report));
    }
}

/// Sends the ID of the run to the caller of `--detach`, before the job starts.
pub(crate) fn announce(channel: &Channel, run: &RunId) {
    if let Some(channel) = &mut *lock(channel) {
        drop(channel.write_all(format!("{run}\n").as_bytes()));
    }
}

/// Prints what the supervisor reported, and returns the exit code of `run --detach`.
///
/// `said` is the ID of the run on a line of its own, then `ok`, or a code and a message.
/// Each supervisor that died meanwhile may have left such a line.
pub(crate) fn relay(said: &str) -> ExitCode {
    let (mut run, mut word) = ("", said);
    while let Some((line, rest)) = word.split_once('\n')
        && line.parse::<RunId>().is_ok()
    {
        (run, word) = (line, rest);
    }
    if word == "ok" {
        return match writeln!(std::io::stdout(), "{run}") {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                print_stderr(format_args!(
                    "error: run {run} has started, but its ID cannot be written to stdout: {e}\n\
                     hint: write it to a file with --id-file FILE"
                ));
                Code::Undelivered.into()
            }
            // A caller that does not read stdout does not need it.
            _ => Code::Ok.into(),
        };
    }
    if let Some((code, text)) = word.split_once(' ') {
        print_stderr(text);
        return ExitCode::from(code.parse().unwrap_or(Code::Runlog as u8));
    }
    print_stderr("error: the supervisor died before it reported the start");
    if !run.is_empty() {
        print_stderr(format_args!(
            "hint: run `runlog status {run}` to check progress"
        ));
    }
    Code::Runlog.into()
}
