//! The exit codes.

use std::process::ExitCode;

/// The exit code of a command.
///
/// `run` passes on the code of its job instead, and uses the codes of `timeout(1)` and of shells
/// if the job has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Success, including an empty result.
    Ok = 0,
    /// A negative answer.
    Negative = 1,
    /// Invalid arguments or settings.
    Usage = 2,
    /// No such volume, run or job.
    NotFound = 3,
    /// Still running, or the wait timed out.
    Running = 4,
    /// Damage in the log, or missing events.
    Damage = 5,
    /// A lock is held by another process.
    Locked = 6,
    /// I/O error.
    Io = 7,
    /// `run`: the command succeeded, but its output could not be delivered.
    Undelivered = 74,
    /// `run`: another run holds the lock.
    RunLocked = 75,
    /// `run`: the command timed out.
    Timeout = 124,
    /// `run`: the command was not started, because a guard was not met or runlog failed.
    Runlog = 125,
    /// `run`: the command cannot be executed.
    NotExecutable = 126,
    /// `run`: command not found.
    CommandNotFound = 127,
}

impl Code {
    /// All codes, in ascending order.
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::Negative,
        Self::Usage,
        Self::NotFound,
        Self::Running,
        Self::Damage,
        Self::Locked,
        Self::Io,
        Self::Undelivered,
        Self::RunLocked,
        Self::Timeout,
        Self::Runlog,
        Self::NotExecutable,
        Self::CommandNotFound,
    ];

    /// Returns what the code means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "success (including an empty result)",
            Self::Negative => "negative answer",
            Self::Usage => "invalid arguments or settings",
            Self::NotFound => "no such volume, run or job",
            Self::Running => "still running, or the wait timed out",
            Self::Damage => "damaged log, or missing events",
            Self::Locked => "a lock is held by another process",
            Self::Io => "I/O error",
            Self::Undelivered => "`run`: the command's output could not be delivered",
            Self::RunLocked => "`run`: another run holds the lock",
            Self::Timeout => "`run`: the command exceeded `--timeout`",
            Self::Runlog => "`run`: not started: a guard was not met, or runlog failed",
            Self::NotExecutable => "`run`: the command cannot be executed",
            Self::CommandNotFound => "`run`: command not found",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}
