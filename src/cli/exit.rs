//! The one place that maps errors to exit codes.

use std::io;
use std::process::ExitCode;

use anyhow::Error;

use super::command_line::UsageFailure;
use super::context::print_stderr;
pub use super::exit_code::Code;
use super::run::{LockHeld, MissingVariable};
use super::usage_error::UsageError;
use crate::job::{
    BUSY_PROGRAM, MISSING_INTERPRETER, REQUIRED_PROBE, RerunError, StartError, UncertainLog,
    UndoError,
};
use crate::log::format::payload::{ErrorKind, JobError};
use crate::log::{
    AppendError, CursorError, CursorFileError, Damage, DraftError, GcError, Refusal, RotateError,
    SelectError, StorageError,
};
use crate::render::escape_controls;
use crate::volume::{SEVERAL_LINKS, VolumeError};

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
        drop(error.print());
        Code::Ok.into()
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

/// Returns whether the reader closed stdout (`| head`), which is not an error.
pub(crate) fn is_broken_pipe(e: &Error) -> bool {
    e.downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Damage that ends a command with `--strict`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DamageFound(pub Damage);

/// Returns the exit code of an error and its message: what is wrong and, on a line of its
/// own, a hint.
pub(crate) fn explain(e: &Error) -> (Code, String) {
    let (code, hint) = code_and_hint(e);
    (code, message(&format!("{e:#}"), hint))
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
            Some("install the interpreter, or correct the first line of the script"),
        ),
        ErrorKind::NotExecutable if error.message.contains(BUSY_PROGRAM) => (
            Code::NotExecutable,
            Some("wait until the file is closed, then retry"),
        ),
        ErrorKind::NotFound => (
            Code::CommandNotFound,
            Some(not_found.unwrap_or("check the spelling of the command and PATH")),
        ),
        ErrorKind::NotExecutable => (
            Code::NotExecutable,
            Some("make the file executable, or run it with its interpreter"),
        ),
        ErrorKind::ResourceLimit => (Code::Runlog, Some("free resources, or require less")),
        ErrorKind::Validation if error.message.starts_with(REQUIRED_PROBE) => (
            Code::Runlog,
            Some("start what the probe looks for, or run without --require"),
        ),
        ErrorKind::Validation => (Code::Runlog, Some("use another directory with --cwd")),
        _ => (Code::Runlog, None),
    };
    (code, message(&error.message, hint))
}

fn code_and_hint(e: &Error) -> (Code, Option<&'static str>) {
    if let Some(usage) = e.downcast_ref::<UsageError>() {
        return (Code::Usage, Some(usage.hint));
    }
    if e.is::<LockHeld>() {
        return (
            Code::RunLocked,
            Some("wait for the lock with --if-locked wait, or end the run with `runlog stop RUN`"),
        );
    }
    if e.downcast_ref::<DamageFound>().is_some() {
        return (
            Code::Damage,
            Some("run without --strict to skip damage, or `runlog replay --verify RUN` to list it"),
        );
    }
    if let Some(e) = e.downcast_ref::<StartError>() {
        return classify_start(e);
    }
    if e.is::<UncertainLog>() {
        return UNCERTAIN;
    }
    if let Some(e) = e.downcast_ref::<UndoError>() {
        return classify_undo(e);
    }
    if let Some(e) = e.downcast_ref::<RerunError>() {
        return classify_rerun(e);
    }
    if e.is::<MissingVariable>() {
        return (
            Code::Runlog,
            Some("set it in the environment, or give it with --env NAME=VALUE"),
        );
    }
    if let Some(e) = e.downcast_ref::<SelectError>() {
        return classify_select(e);
    }
    if let Some(e) = e.downcast_ref::<AppendError>() {
        return classify_append(e);
    }
    if let Some(e) = e.downcast_ref::<DraftError>() {
        return classify_draft(e);
    }
    if let Some(e) = e.downcast_ref::<RotateError>() {
        return match e {
            RotateError::Storage(e) => classify_storage(e),
            RotateError::Append(e) => classify_append(e),
            RotateError::NotDurable(_) => (Code::Io, Some(CHECK_DISK)),
        };
    }
    if let Some(e) = e.downcast_ref::<GcError>() {
        return match e {
            GcError::Storage(e) => classify_storage(e),
            GcError::Running { .. } => (Code::Locked, Some("wait for it to finish, then retry")),
            GcError::NotDurable(_) => (Code::Io, Some(CHECK_DISK)),
            GcError::Serialize(_) => (Code::Io, None),
        };
    }
    if let Some(e) = e.downcast_ref::<StorageError>() {
        return classify_storage(e);
    }
    if let Some(e) = e.downcast_ref::<CursorFileError>() {
        return match e {
            CursorFileError::Storage(e) => classify_storage(e),
            CursorFileError::NoName { .. } => (Code::Usage, Some("give the path of a file")),
            CursorFileError::Malformed { source, .. } => {
                let hint = match source {
                    CursorError::Newer { .. } => "use the newer runlog, or another file",
                    CursorError::Malformed { .. } => {
                        "use another file, or remove this one to start with the first event"
                    }
                };
                (Code::Usage, Some(hint))
            }
        };
    }
    if let Some(e) = e.downcast_ref::<VolumeError>() {
        return classify_volume(e);
    }
    (Code::Io, None)
}

fn classify_start(e: &StartError) -> (Code, Option<&'static str>) {
    match e {
        StartError::Append(e) => classify_append(e),
        StartError::Storage(e) => classify_storage(e),
        StartError::System { .. } => (Code::Io, None),
    }
}

/// How to handle a log whose damage may hide events.
const UNCERTAIN: (Code, Option<&'static str>) = (
    Code::Damage,
    Some("check the log with `runlog replay --verify RUN`; --force acts on what can still be read"),
);

fn classify_undo(e: &UndoError) -> (Code, Option<&'static str>) {
    match e {
        UndoError::Storage(e) => classify_storage(e),
        UndoError::Append(e) => classify_append(e),
        UndoError::Select(e) => classify_select(e),
        UndoError::Start(e) => classify_start(e),
        UndoError::Uncertain(_) => UNCERTAIN,
        UndoError::Running { .. } => (
            Code::Running,
            Some("wait for the run to end (`runlog status --wait RUN`), or stop it, then retry"),
        ),
        UndoError::NoEnd { .. } => (
            Code::Negative,
            Some("end the run with `runlog replay --recover RUN`, then retry"),
        ),
        UndoError::Untrusted { .. } => (Code::Negative, Some(CHECK_COMMANDS)),
    }
}

/// The hint if other users may have written a log.
const CHECK_COMMANDS: &str = "check the recorded commands (`runlog replay --json RUN`); if only \
                              you wrote the log, run `chmod -R go-w .omne` and retry";

fn classify_rerun(e: &RerunError) -> (Code, Option<&'static str>) {
    let hint = match e {
        RerunError::Storage(e) => return classify_storage(e),
        RerunError::Untrusted { .. } => CHECK_COMMANDS,
        RerunError::NoSuchJob { .. } | RerunError::SeveralJobs { .. } => {
            let hint = "choose a job with --job ID, or run the failed ones again with --failed";
            return (Code::Usage, Some(hint));
        }
        RerunError::NoFailedJob { .. } => "run a job again with --job ID",
        RerunError::NoJob { .. } | RerunError::NotRecorded { .. } => {
            "give the command: `runlog run COMMAND`"
        }
        RerunError::Masked { .. } => "give the command with its secrets: `runlog run COMMAND`",
        RerunError::Running { .. } => {
            "wait for the run to end (`runlog status --wait RUN`), or stop it; --force runs the job \
             again beside it"
        }
    };
    (Code::Runlog, Some(hint))
}

fn classify_select(e: &SelectError) -> (Code, Option<&'static str>) {
    match e {
        SelectError::Storage(e) => classify_storage(e),
        // A user of another tool types `tail --output json` to get JSON.
        SelectError::NoSuchRun { run } if run == "json" => {
            (Code::NotFound, Some("print JSON Lines with --json"))
        }
        SelectError::NoSuchRun { .. } => (
            Code::NotFound,
            Some("list the runs with `runlog status`, or removed ones with --retired"),
        ),
        SelectError::NotRemoved { .. } => (
            Code::NotFound,
            Some("list the removed runs with `runlog status --retired`"),
        ),
        SelectError::NoRuns { .. } => (
            Code::NotFound,
            Some("start one with `runlog run -- COMMAND`"),
        ),
        SelectError::Ambiguous { .. } => (Code::Usage, Some("use more characters of the ID")),
        SelectError::NotAnId { .. } => (Code::NotFound, Some("give the ID of the run")),
        SelectError::BadOffset { .. } => (
            Code::Usage,
            Some("write NAME~1 for the run before the newest one of that name"),
        ),
        SelectError::Malformed(_) => (Code::Usage, Some("list the runs with `runlog status`")),
    }
}

/// The hint after a failed sync.
const CHECK_DISK: &str = "do not retry; check the disk";

fn classify_append(e: &AppendError) -> (Code, Option<&'static str>) {
    match e {
        AppendError::Refused(refusal) => classify_refusal(refusal),
        AppendError::NotWritten(e) => classify_storage(e),
        AppendError::Partial { .. } => (Code::Io, None),
        AppendError::NotDurable(_) => (
            Code::Io,
            Some(
                "the event is in the log but may not survive a power loss; do not retry, and check \
                 the disk",
            ),
        ),
    }
}

fn classify_refusal(refusal: &Refusal) -> (Code, Option<&'static str>) {
    match refusal {
        Refusal::Closed { .. } => (
            Code::Negative,
            Some("start another run; a closed run accepts no more jobs or notes"),
        ),
        Refusal::Unfinished { .. } => (
            Code::Running,
            Some(
                "check the jobs with `runlog status RUN`; end lost ones with `runlog replay --recover RUN`",
            ),
        ),
        Refusal::JobTaken { .. } => (
            Code::Usage,
            Some("use another --job, or omit it to have an ID generated"),
        ),
        Refusal::TooManyJobs { .. } => (Code::Negative, Some("start another run")),
        Refusal::Foreign { .. } => (
            Code::Usage,
            Some("append with --force; the other program can then no longer read the run"),
        ),
        Refusal::SequenceExhausted { .. } => {
            (Code::Damage, Some("start another run; the log is damaged"))
        }
        Refusal::Draft(e) => classify_draft(e),
    }
}

fn classify_draft(e: &DraftError) -> (Code, Option<&'static str>) {
    match e {
        DraftError::TooLong { .. } | DraftError::Data(_) => (Code::Usage, None),
        DraftError::Reserved { .. } | DraftError::Serialize(_) => (Code::Io, None),
    }
}

fn classify_storage(e: &StorageError) -> (Code, Option<&'static str>) {
    match e {
        StorageError::Volume(VolumeError::NotADirectory { .. }) => (
            Code::Io,
            Some("replace it with a directory; symbolic links are not followed"),
        ),
        StorageError::Volume(e) => classify_volume(e),
        StorageError::LockTimeout { .. } => (
            Code::Locked,
            Some("find the process with `fuser -v` on that file"),
        ),
        StorageError::NotAFile { .. } => (
            Code::Usage,
            Some("give the path of a file that runtimo wrote"),
        ),
        StorageError::RunRemoved { .. } => (
            Code::NotFound,
            Some("check with `runlog status --retired` whether gc removed it"),
        ),
        StorageError::NewerFormat { .. } => (
            Code::Damage,
            Some("use a newer runlog to write to this run"),
        ),
        StorageError::NoSpace { .. } => (
            Code::Io,
            Some("free disk space (or raise the quota), then retry"),
        ),
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

fn classify_volume(e: &VolumeError) -> (Code, Option<&'static str>) {
    match e {
        VolumeError::NotFound { .. } | VolumeError::NotAVolume { .. } => (
            Code::NotFound,
            Some("create one with `runlog run`, or name one with -C DIR"),
        ),
        VolumeError::NotADirectory { .. } => {
            (Code::NotFound, Some("name another directory with -C DIR"))
        }
        VolumeError::OtherOwner { .. } => (
            Code::NotFound,
            Some("if you trust it, name its directory with -C DIR"),
        ),
        VolumeError::Settings { .. } => {
            (Code::Usage, Some("fix the settings, or move the file away"))
        }
        VolumeError::UnsafeFile { what, .. } if *what == SEVERAL_LINKS => (
            Code::Io,
            Some("remove its other link, such as one made by `cp -al`; copy backups with `cp -a`"),
        ),
        VolumeError::UnsafeFile { .. } | VolumeError::NotEntered { .. } => {
            (Code::Io, Some("move it away"))
        }
        VolumeError::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => (Code::NotFound, Some("check the path")),
            io::ErrorKind::PermissionDenied => {
                (Code::Io, Some("check the owner and mode of that path"))
            }
            io::ErrorKind::ReadOnlyFilesystem => (
                Code::Io,
                Some("name a directory on a writable file system with -C DIR"),
            ),
            io::ErrorKind::StorageFull => (Code::Io, Some("free disk space, then retry")),
            _ => (Code::Io, None),
        },
    }
}
