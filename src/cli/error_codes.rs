//! The exit code and the hint of each error.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use anyhow::Error;
use rustix::io::Errno;

use super::exit_code::Code;
use super::limit_hint::limit_hint;
use super::run::{LockHeld, MissingRecord};
use super::usage_error::UsageError;
use crate::job::{RerunError, StartError, UncertainLog, UndoError, UntrustedLog};
use crate::log::{
    AppendError, CursorError, CursorFileError, Damage, DraftError, GcError, LOCK_ACTION, Refusal,
    RotateError, SelectError, StorageError, command_line,
};
use crate::volume::{RunId, SEVERAL_LINKS, VolumeError, layout};

/// Damage that ends a command with `--strict`.
#[derive(Debug, thiserror::Error)]
#[error("{damage}")]
pub(crate) struct DamageFound {
    pub damage: Damage,
    /// The words that name the damaged log on the command line of `runlog replay`.
    pub log_words: String,
}

/// Returns the exit code of an error, and what to do about it.
pub(super) fn code_and_hint(e: &Error) -> (Code, Option<Cow<'static, str>>) {
    if let Some(held) = e.downcast_ref::<LockHeld>() {
        return (Code::RunLocked, Some(held.hint().into()));
    }
    let (code, hint) = classify(e);
    let hint = specific_hint(e).map(Cow::Owned).or_else(|| {
        Some(match (hint?, run_of(e)) {
            (hint, Some(run)) => hint.replace(" RUN`", &format!(" {run}`")).into(),
            (hint, None) => hint.into(),
        })
    });
    (code, hint)
}

/// Returns the hint of an error whose details are part of what to type.
fn specific_hint(e: &Error) -> Option<String> {
    if let Some(DamageFound { log_words, .. }) = e.downcast_ref() {
        return Some(format!(
            "run without --strict to skip damage, or `runlog replay --verify {log_words}` to list it"
        ));
    }
    match (e.downcast_ref(), e.downcast_ref()) {
        (Some(UndoError::Untrusted(untrusted)), _)
        | (_, Some(RerunError::Untrusted(untrusted))) => Some(check_commands(untrusted)),
        _ => None,
    }
}

/// Returns the run that an error concerns, which replaces `RUN` in its hint.
fn run_of(e: &Error) -> Option<&RunId> {
    if let Some(UncertainLog { run }) = e.downcast_ref() {
        return Some(run);
    }
    if let Some(e) = e.downcast_ref() {
        return match e {
            UndoError::Uncertain(UncertainLog { run })
            | UndoError::Running { run, .. }
            | UndoError::NoEnd { run, .. }
            | UndoError::Append(AppendError::Refused(Refusal::Unfinished { run, .. })) => Some(run),
            _ => None,
        };
    }
    match (e.downcast_ref(), e.downcast_ref()) {
        (Some(RerunError::Running { run, .. }), _)
        | (_, Some(AppendError::Refused(Refusal::Unfinished { run, .. }))) => Some(run),
        _ => None,
    }
}

/// Returns the hint if other users may have written a log.
fn check_commands(untrusted: &UntrustedLog) -> String {
    let omne = untrusted.omne.display().to_string();
    let chmod = ["chmod", "-R", "go-w", &omne].map(str::to_owned);
    format!(
        "check the recorded commands (`runlog replay --json {}`); if only you wrote the log, run \
         `{}` and retry",
        untrusted.run,
        command_line(&chmod)
    )
}

fn classify(e: &Error) -> (Code, Option<&'static str>) {
    if let Some(usage) = e.downcast_ref::<UsageError>() {
        return (Code::Usage, Some(usage.hint));
    }
    if e.downcast_ref::<DamageFound>().is_some() {
        return (Code::Damage, None);
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
    if let Some(e) = e.downcast_ref::<MissingRecord>() {
        let hint = match e {
            MissingRecord::Variable { .. } => {
                "set it in the environment, or give it with --env NAME=VALUE"
            }
            MissingRecord::Patterns { .. } => "give them again with --redact",
        };
        return (Code::Runlog, Some(hint));
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
            CursorFileError::Storage(e) => match classify_storage(e) {
                // A missing directory of the file is neither a volume nor a run.
                (Code::NotFound, hint) => (Code::Io, hint),
                classified => classified,
            },
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
    // An error of stdout has no context.
    let system = e.downcast_ref().filter(|_| e.chain().nth(1).is_some());
    (Code::Io, system.and_then(limit_hint))
}

fn classify_start(e: &StartError) -> (Code, Option<&'static str>) {
    match e {
        StartError::Append(e) => classify_append(e),
        StartError::Storage(e) => classify_storage(e),
        StartError::System { source, .. } => (Code::Io, limit_hint(source)),
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
            Some(
                "once its processes have ended, end the run with `runlog replay --recover RUN`, \
                 then retry",
            ),
        ),
        UndoError::Untrusted(_) => (Code::Negative, None),
    }
}

fn classify_rerun(e: &RerunError) -> (Code, Option<&'static str>) {
    let hint = match e {
        RerunError::Storage(e) => return classify_storage(e),
        RerunError::Untrusted(_) => return (Code::Runlog, None),
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
        StorageError::NoSpace { source, .. } => {
            (Code::Io, limit_hint(source).or(Some(NO_SPACE_HINT)))
        }
    }
}

/// Returns whether a path leads into the `.omne` of a volume.
fn is_in_omne(path: &Path) -> bool {
    path.ancestors()
        .skip(1)
        .any(|dir| dir.ends_with(layout::OMNE))
}

/// What to do without space: creating a file fails in the same way if only inodes are missing.
const NO_SPACE_HINT: &str = "free disk space or inodes (`df -i`), or raise the quota; then retry";

fn classify_volume(e: &VolumeError) -> (Code, Option<&'static str>) {
    match e {
        VolumeError::NotFound { .. } | VolumeError::NotAVolume { .. } => (
            Code::NotFound,
            Some("create one with `runlog run COMMAND`, or name one with -C DIR"),
        ),
        VolumeError::InsideVolume { .. } => (
            Code::NotFound,
            Some("name the directory that contains the .omne with -C DIR"),
        ),
        // The volume exists, but something in it is wrong.
        VolumeError::NotADirectory { path } if is_in_omne(path) => (
            Code::Io,
            Some("replace it with a directory; symbolic links are not followed"),
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
        VolumeError::Io { action, .. } if *action == LOCK_ACTION => (
            Code::Io,
            Some(
                "this file system has no working flock(2); put the volume on a local one with -C \
                 DIR",
            ),
        ),
        VolumeError::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => (Code::NotFound, Some("check the path")),
            io::ErrorKind::PermissionDenied => {
                (Code::Io, Some("check the owner and mode of that path"))
            }
            io::ErrorKind::ReadOnlyFilesystem => (
                Code::Io,
                Some("name a directory on a writable file system with -C DIR"),
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (Code::Io, Some(NO_SPACE_HINT))
            }
            _ if Errno::from_io_error(source) == Some(Errno::IO) => {
                (Code::Io, Some("check the disk (`dmesg`)"))
            }
            _ => (Code::Io, limit_hint(source)),
        },
    }
}
