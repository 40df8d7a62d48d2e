//! What a job gets as its stdout and stderr: pipes or pseudo-terminals, one for each or one
//! for both.

/// Whether stdout and stderr of a job share a pipe or pseudo-terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLayout {
    /// They do if runlog's own stdout and stderr are one.
    Auto,
    /// They do not.
    Apart,
    /// They do, and go to runlog's stdout.
    Merged,
}

/// Whether a job gets pseudo-terminals instead of pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalUse {
    /// It does where its output is passed on to a terminal.
    Auto,
    /// It does.
    Always,
    /// It does not.
    Never,
}

/// The streams of a job. They are planned before the first process is forked, so that every
/// supervisor knows which is which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamPlan {
    /// Stdout and stderr are one.
    pub(crate) merged: bool,
    /// What goes to runlog's stdout, and what to its stderr, comes from a pseudo-terminal.
    pub(crate) terminals: [bool; 2],
    /// Runlog reads the output also if it neither stores nor changes it.
    pub(crate) forced: bool,
}
