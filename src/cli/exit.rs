//! Ends a command: prints its error with a hint, and returns the exit code.

use std::io;
use std::process::ExitCode;

use anyhow::Error;

use super::command_line::UsageFailure;
use super::context::print_stderr;
use super::error_codes::code_and_hint;
pub use super::exit_code::Code;
use super::limit_hint::start_limit_hint;
use crate::job::{
    BUSY_PROGRAM, DIRECTORY, FOREIGN_PROGRAM, MISSING_INTERPRETER, MISSING_LOADER, NOT_EXECUTABLE,
    REQUIRED_PROBE, TOO_LONG, UNUSABLE_INTERPRETER, UndoError,
};
use crate::log::format::payload::{ErrorKind, JobError};
use crate::log::{AppendError, RotateError, SelectError, StorageError};
use crate::render::escape_controls;

/// Prints a message of clap: help to stdout, errors to stderr with code 2.
pub(crate) fn usage(failure: &UsageFailure) -> ExitCode {
    let UsageFailure { error, hint } = failure;
    if error.use_stderr() {
        // The message repeats what the user typed, so control characters are escaped.
        print_stderr(error.render().to_string().trim_end());
        if let Some(hint) = hint {
            print_stderr(format_args!("hint: {hint}"));
        }
        Code::Usage.into()
    } else {
        exit_code(error.print().map(|()| Code::Ok).map_err(Error::from))
    }
}

/// Reports the result of a command other than `run`, and returns its exit code.
pub(crate) fn exit_code(result: Result<Code, Error>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(e) if is_broken_pipe(&e) => Code::Ok.into(),
        Err(e) => {
            let (code, text) = explain(&e);
            print_stderr(text);
            code.into()
        }
    }
}

/// Returns the exit code of a command whose answer was printed. It is `code` even if the reader
/// has closed stdout, because a script may ask only for the exit code.
///
/// # Errors
/// Returns any other error of stdout.
pub(crate) fn answered(written: Result<(), Error>, code: Code) -> Result<Code, Error> {
    match written {
        Err(e) if !is_broken_pipe(&e) => Err(e),
        _ => Ok(code),
    }
}

/// Returns whether the reader closed stdout (`| head`), which is not an error. If stdout is a
/// socket that holds unread data, the kernel reports a reset.
pub(crate) fn is_broken_pipe(e: &Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    e.downcast_ref::<io::Error>()
        .is_some_and(|e| matches!(e.kind(), BrokenPipe | ConnectionReset))
}

/// Returns the exit code of an error and its message: what is wrong and, on a line of its
/// own, a hint.
pub(crate) fn explain(e: &Error) -> (Code, String) {
    let (code, hint) = code_and_hint(e);
    // Every other error of the system has its path as context.
    let is_of_stdout = e.is::<io::Error>() && e.chain().nth(1).is_none();
    let text = if is_of_stdout {
        format!("cannot write to stdout: {e}")
    } else {
        format!("{e:#}")
    };
    (code, message(&text, hint.as_deref()))
}

/// Returns the exit code and the message of an error about one of several runs.
pub(crate) fn explain_for_run(run: &str, e: Error) -> (Code, String) {
    explain(&e.context(format!("run {run}")))
}

/// Returns an error message, with the hint on a line of its own.
fn message(error: &str, hint: Option<&str>) -> String {
    let error = escape_controls(error);
    match hint {
        Some(hint) => format!("error: {error}\nhint: {hint}"),
        None => format!("error: {error}"),
    }
}

/// Returns the exit code and message for a job that was submitted but did not start.
///
/// `not_found` is a hint that fits better if the command was not found.
pub(crate) fn not_started(error: &JobError, not_found: Option<&str>) -> (Code, String) {
    let (code, hint) = match error.kind {
        ErrorKind::NotFound if error.message.contains(MISSING_INTERPRETER) => (
            Code::CommandNotFound,
            Some(if error.message.contains("\\r`") {
                "the script has line ends of Windows; remove them, such as with dos2unix"
            } else {
                "install the interpreter, or correct the first line of the script"
            }),
        ),
        ErrorKind::NotFound if error.message.contains(MISSING_LOADER) => (
            Code::CommandNotFound,
            Some("install the loader, or a build of the program for this system"),
        ),
        ErrorKind::NotFound => (
            Code::CommandNotFound,
            Some(not_found.unwrap_or("check the spelling of the command and PATH")),
        ),
        ErrorKind::NotExecutable => (
            Code::NotExecutable,
            Some(not_executable_hint(&error.message)),
        ),
        ErrorKind::ResourceLimit => (
            Code::Runlog,
            start_limit_hint(&error.message).or(Some("free resources, or require less")),
        ),
        ErrorKind::Validation if error.message.starts_with(REQUIRED_PROBE) => (
            Code::Runlog,
            Some("start what the probe looks for, or run without --require"),
        ),
        ErrorKind::Validation => (Code::Runlog, Some("use another directory with --cwd")),
        _ => (Code::Runlog, start_limit_hint(&error.message)),
    };
    (code, message(&error.message, hint))
}

fn not_executable_hint(message: &str) -> &'static str {
    if message.ends_with(NOT_EXECUTABLE) {
        "make the file executable, or run it with its interpreter"
    } else if message.ends_with(DIRECTORY) {
        "name a program in it"
    } else if message.contains(BUSY_PROGRAM) {
        "wait until the file is closed, then retry"
    } else if message.contains(FOREIGN_PROGRAM) {
        "the file was built for another machine, or is damaged"
    } else if message.contains(UNUSABLE_INTERPRETER) {
        "make the interpreter executable, or correct the first line of the script"
    } else if message.contains(TOO_LONG) {
        "pass fewer arguments, such as with xargs, or pass them in a file"
    } else {
        "check the path of the command, and the permissions of its directories"
    }
}

/// Returns whether the run was removed, which is not an error for a command that handles all
/// runs.
pub(crate) fn is_run_removed(e: &Error) -> bool {
    if let Some(e) = e.downcast_ref::<UndoError>() {
        return match e {
            UndoError::Select(e) => is_missing(e),
            UndoError::Storage(e) | UndoError::Append(AppendError::NotWritten(e)) => is_removed(e),
            _ => false,
        };
    }
    if let Some(e) = e.downcast_ref::<RotateError>() {
        return match e {
            RotateError::Storage(e) | RotateError::Append(AppendError::NotWritten(e)) => {
                is_removed(e)
            }
            _ => false,
        };
    }
    e.downcast_ref::<SelectError>().is_some_and(is_missing)
        || e.downcast_ref::<StorageError>().is_some_and(is_removed)
}

fn is_missing(e: &SelectError) -> bool {
    match e {
        SelectError::NoSuchRun { .. } => true,
        SelectError::Storage(e) => is_removed(e),
        _ => false,
    }
}

fn is_removed(e: &StorageError) -> bool {
    matches!(e, StorageError::RunRemoved { .. })
}
