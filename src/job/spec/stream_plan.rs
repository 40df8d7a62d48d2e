//! Which pipes a job gets: one for each of its streams, or one for both.

/// Whether stdout and stderr of a job share a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLayout {
    /// They do if runlog's own stdout and stderr are one.
    Auto,
    /// They do not.
    Apart,
    /// They do, and go to runlog's stdout.
    Merged,
}

/// The pipes of a job. They are planned before the first process is forked, so that every
/// supervisor knows which pipe is which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamPlan {
    /// Stdout and stderr share a pipe.
    pub(crate) merged: bool,
    /// Runlog reads the output also if it neither stores nor changes it.
    pub(crate) forced: bool,
}
