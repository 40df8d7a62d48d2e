//! What a detached supervisor tells the caller of `run --detach`.

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use super::context::print_stderr;
use super::exit::Code;
use crate::volume::RunId;

/// Where a detached supervisor reports: `ok`, or a code and a message.
pub(crate) type Channel = Arc<Mutex<Option<File>>>;

/// Says the last word to the caller of `--detach`.
pub(crate) fn report(channel: &Channel, text: &str) {
    let channel = channel
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(mut channel) = channel {
        // A caller that is gone does not want to know.
        drop(channel.write_all(text.as_bytes()));
    }
}

/// Tells the caller of `--detach` which run it is, before the job starts.
pub(crate) fn announce(channel: &Channel, run: &RunId) {
    if let Some(channel) = &mut *channel.lock().unwrap_or_else(PoisonError::into_inner) {
        drop(channel.write_all(format!("{run}\n").as_bytes()));
    }
}

/// What the supervisor said, to the caller of `--detach`: the id of the run on a line of
/// its own, and `ok`, or a code and a message.
pub(crate) fn relay(said: &str) -> ExitCode {
    let (run, word) = match said.split_once('\n') {
        Some((run, word)) if run.parse::<RunId>().is_ok() => (run, word),
        _ => ("", said),
    };
    if word == "ok" {
        // A caller that does not read has the id in --id-file, or does not want it.
        drop(writeln!(std::io::stdout(), "{run}"));
        return Code::Ok.into();
    }
    if let Some((code, text)) = word.split_once(' ') {
        print_stderr(text);
        return ExitCode::from(code.parse().unwrap_or(Code::Runlog as u8));
    }
    print_stderr("error: the supervisor died before it told of the start");
    if !run.is_empty() {
        print_stderr(format_args!(
            "hint: `runlog status {run}` tells how far it came"
        ));
    }
    Code::Runlog.into()
}
