//! Limits of the format and of the append protocol.

use std::time::Duration;

/// The maximum length of an ordinary event's line, in bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// The maximum length of a line that a reader holds in memory, in bytes. A checkpoint, which
/// holds the state of up to 10,000 jobs, may be this long.
pub(crate) const MAX_READ_LINE_BYTES: usize = 16 << 20;
/// How long most events wait for the lock of their run.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last event of a job or a run waits for the lock. It cannot be written later.
pub(crate) const TERMINAL_LOCK_TIMEOUT: Duration = Duration::from_mins(1);
