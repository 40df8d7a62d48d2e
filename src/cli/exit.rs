//! Exit codes, and the one place that maps errors to them.

use std::io;
use std::process::ExitCode;

use anyhow::Error;

use super::context::print_stderr;
use crate::job::{StartError, UndoError};
use crate::log::format::payload::{ErrorKind, JobError};
use crate::log::{
    AppendError, CursorError, CursorFileError, Damage, DraftError, GcError, Refusal, RotateError,
    SelectError, StorageError,
};
use crate::render::escape_controls;
use crate::volume::VolumeError;

/// What a command's exit code says. `run` passes on the code of its job instead, with
/// the codes of `timeout(1)` and of shells where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Fine; an empty answer too.
    Ok = 0,
    /// A negative answer.
    Negative = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// No such volume or run.
    NotFound = 3,
    /// Still running, or the wait is over.
    Running = 4,
    /// Damage or a gap in the log.
    Damage = 5,
    /// A lock was not to be had.
    Locked = 6,
    /// The operating system refused.
    Io = 7,
    /// `run`: the job ran into its time-out.
    Timeout = 124,
    /// `run`: runlog failed before the job began.
    Runlog = 125,
    /// `run`: the command may not be executed.
    NotExecutable = 126,
    /// `run`: there is no such command.
    CommandNotFound = 127,
}

impl Code {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Negative,
        Self::Usage,
        Self::NotFound,
        Self::Running,
        Self::Damage,
        Self::Locked,
        Self::Io,
        Self::Timeout,
        Self::Runlog,
        Self::NotExecutable,
        Self::CommandNotFound,
    ];

    /// What it says, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "fine; an empty answer too",
            Self::Negative => "a negative answer",
            Self::Usage => "wrong arguments or settings",
            Self::NotFound => "no such volume or run",
            Self::Running => "still running, or the wait is over",
            Self::Damage => "damage in the log, or events that are gone",
            Self::Locked => "a lock was not to be had",
            Self::Io => "the operating system refused",
            Self::Timeout => "`run`: the command ran longer than `--timeout`",
            Self::Runlog => "`run`: runlog itself failed before the start",
            Self::NotExecutable => "`run`: the command may not be executed",
            Self::CommandNotFound => "`run`: there is no such command",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// What clap has to say: help goes to stdout, errors to stderr with code 2.
pub(crate) fn usage(e: &clap::Error) -> ExitCode {
    if e.use_stderr() {
        // What was typed stands in it.
        print_stderr(e.render().to_string().trim_end());
        Code::Usage.into()
    } else {
        drop(e.print());
        Code::Ok.into()
    }
}

/// The exit code of a command other than `run`.
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

/// A reader that has seen enough (`| head`) is no error.
fn is_broken_pipe(e: &Error) -> bool {
    e.downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Wrong arguments that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    pub message: String,
    pub hint: &'static str,
}

/// Damage that is not to be passed over.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DamageFound(pub Damage);

/// The exit code of an error, and what people are told: what is wrong, and on a line
/// of its own what to do.
pub(crate) fn explain(e: &Error) -> (Code, String) {
    let (code, hint) = code_and_hint(e);
    let mut text = format!("error: {}", escape_controls(&format!("{e:#}")));
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    (code, text)
}

/// The same for a job that was submitted and could not start.
pub(crate) fn not_started(error: &JobError) -> (Code, String) {
    let (code, hint) = match error.kind {
        ErrorKind::NotFound => (
            Code::CommandNotFound,
            Some("check the spelling of the command, and PATH"),
        ),
        ErrorKind::NotExecutable => (
            Code::NotExecutable,
            Some("make it executable, or give it to the program that runs it"),
        ),
        ErrorKind::ResourceLimit => (Code::Runlog, Some("make room, or require less")),
        ErrorKind::Validation => (Code::Runlog, Some("name another folder with --cwd")),
        _ => (Code::Runlog, None),
    };
    let mut text = format!("error: {}", escape_controls(&error.message));
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    (code, text)
}

fn code_and_hint(e: &Error) -> (Code, Option<&'static str>) {
    if let Some(usage) = e.downcast_ref::<UsageError>() {
        return (Code::Usage, Some(usage.hint));
    }
    if e.downcast_ref::<DamageFound>().is_some() {
        return (
            Code::Damage,
            Some(
                "without --strict it is passed over; `runlog replay --verify RUN` names all of it",
            ),
        );
    }
    if let Some(e) = e.downcast_ref::<StartError>() {
        return classify_start(e);
    }
    if let Some(e) = e.downcast_ref::<UndoError>() {
        return classify_undo(e);
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
            CursorFileError::NoName { .. } => (Code::Usage, Some("name a file")),
            CursorFileError::Malformed { source, .. } => {
                let hint = match source {
                    CursorError::Newer { .. } => "use the newer runlog, or name another file",
                    CursorError::Malformed { .. } => {
                        "name another file, or remove this one to begin with the first event"
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

fn classify_undo(e: &UndoError) -> (Code, Option<&'static str>) {
    match e {
        UndoError::Storage(e) => classify_storage(e),
        UndoError::Append(e) => classify_append(e),
        UndoError::Select(e) => classify_select(e),
        UndoError::Start(e) => classify_start(e),
        UndoError::Running { .. } => (
            Code::Running,
            Some("stop it, or wait for its end: `runlog status --wait RUN`"),
        ),
        UndoError::NoEnd { .. } => (
            Code::Negative,
            Some("bring it to its end first: `runlog replay --recover RUN`"),
        ),
        UndoError::Untrusted { .. } => (
            Code::Negative,
            Some(
                "look at the commands (`runlog replay --json RUN`); if the log is yours alone, \
                  `chmod -R go-w .omne` and try again",
            ),
        ),
    }
}

fn classify_select(e: &SelectError) -> (Code, Option<&'static str>) {
    match e {
        SelectError::Storage(e) => classify_storage(e),
        SelectError::NoSuchRun { .. } => (
            Code::NotFound,
            Some("`runlog status` lists the runs, with --retired those that gc removed"),
        ),
        SelectError::NotRemoved { .. } => (
            Code::NotFound,
            Some("`runlog status --retired` lists those that it removed"),
        ),
        SelectError::NoRuns { .. } => (Code::NotFound, Some("`runlog run -- COMMAND` makes one")),
        SelectError::Ambiguous { .. } => (
            Code::Usage,
            Some("give more characters of the id, or all of them"),
        ),
        SelectError::Malformed(_) => (Code::Usage, Some("`runlog status` lists the runs")),
    }
}

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
            Some("a closed run takes nothing more; start another one"),
        ),
        Refusal::Unfinished { .. } => (
            Code::Running,
            Some(
                "`runlog status RUN` tells whether they still run; `runlog replay --recover RUN` ends lost ones",
            ),
        ),
        Refusal::JobTaken { .. } => (
            Code::Usage,
            Some("choose another --job, or leave it out to have one made"),
        ),
        Refusal::TooManyJobs { .. } => (Code::Negative, Some("start another run")),
        Refusal::Foreign { .. } => (
            Code::Usage,
            Some("--force appends all the same; then only runlog can read the run"),
        ),
        Refusal::SequenceExhausted { .. } => (
            Code::Damage,
            Some("the log is damaged there; start another run"),
        ),
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
            Some("a folder is needed there; links are not followed"),
        ),
        StorageError::Volume(e) => classify_volume(e),
        StorageError::LockTimeout { .. } => (
            Code::Locked,
            Some("find the process with `fuser -v` on that file"),
        ),
        StorageError::NotAFile { .. } => (Code::Usage, Some("name a file that runtimo wrote")),
        StorageError::RunRemoved { .. } => (
            Code::NotFound,
            Some("`runlog status --retired` tells whether gc removed it"),
        ),
        StorageError::NewerFormat { .. } => {
            (Code::Damage, Some("use a newer runlog to write to it"))
        }
        StorageError::NoSpace { .. } => (
            Code::Io,
            Some("make room on the disk (or raise the quota) and try again"),
        ),
    }
}

/// Whether an error says that the run was removed, which is fine for one of all runs.
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
            Some("`runlog run` makes one; or name one with -C DIR"),
        ),
        VolumeError::NotADirectory { .. } => {
            (Code::NotFound, Some("name another folder with -C DIR"))
        }
        VolumeError::OtherOwner { .. } => (
            Code::NotFound,
            Some("if you trust it, name its folder with -C DIR"),
        ),
        VolumeError::Settings { .. } => (
            Code::Usage,
            Some("mend the settings of the volume, or move their file away"),
        ),
        VolumeError::UnsafeFile { .. } | VolumeError::NotEntered { .. } => {
            (Code::Io, Some("move it out of the way"))
        }
        VolumeError::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => (Code::NotFound, Some("check the path")),
            io::ErrorKind::PermissionDenied => {
                (Code::Io, Some("check the owner and the mode of that path"))
            }
            io::ErrorKind::ReadOnlyFilesystem => (
                Code::Io,
                Some("name a folder on a writable file system with -C DIR"),
            ),
            io::ErrorKind::StorageFull => (Code::Io, Some("make room on the disk and try again")),
            _ => (Code::Io, None),
        },
    }
}
