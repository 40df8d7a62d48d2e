//! The monotonic clock, which all processes of this boot share.

use rustix::time::{ClockId, clock_gettime};

/// Returns the time in nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec as u64)
}
