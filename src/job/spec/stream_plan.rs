//! The stdout and stderr of a job: pipes or pseudo-terminals, one for each stream or one for
//! both.

/// Whether stdout and stderr of a job share a pipe or pseudo-terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLayout {
    /// They do if runlog's own stdout and stderr are the same.
    Auto,
    /// They do not share one.
    Apart,
    /// They share one, and go to runlog's stdout.
    Merged,
}

/// Whether a job gets pseudo-terminals instead of pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalUse {
    /// It does if its output is passed on to a terminal.
    Auto,
    /// It does.
    Always,
    /// It does not.
    Never,
}

/// Whether and when the output of a job or its hooks is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputDelivery {
    /// As it arrives.
    #[default]
    AsItArrives,
    /// Once the job has failed, in the order in which it arrived. Output of hooks that run later is
    /// passed on as it arrives.
    AfterFailure,
    /// Never.
    Dropped,
}

/// The streams of a job. They are planned before the first process is forked, so that all
/// supervisors agree on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamPlan {
    /// Whether stdout and stderr are the same.
    pub(crate) merged: bool,
    /// Whether the streams that go to runlog's stdout and to its stderr come from
    /// pseudo-terminals.
    pub(crate) terminals: [bool; 2],
    /// Whether runlog reads the output even if it neither stores nor changes it.
    pub(crate) forced: bool,
}
