//! Generation of ULIDs, the ids of events and of temporary files.

use std::time::SystemTime;

use rustix::rand::GetRandomFlags;
use ulid::Ulid;

/// Returns the milliseconds since the Unix epoch, the unit of time in a ULID.
pub(crate) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since_epoch.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Returns a new ULID for the current time.
pub fn fresh_ulid() -> Ulid {
    ulid_from_ms(now_ms())
}

/// Returns a new ULID for a time in milliseconds since the Unix epoch.
pub(crate) fn ulid_from_ms(millisecond: u64) -> Ulid {
    let mut random = [0; 16];
    if rustix::rand::getrandom(&mut random, GetRandomFlags::empty()).is_err() {
        // The clock and the previous id give the order. Randomness only keeps the ids of
        // different hosts apart.
        random = u128::from(std::process::id()).to_le_bytes();
    }
    Ulid::from_parts(millisecond, u128::from_le_bytes(random))
}
