//! Finds the system's time zone without listing all time zones.

use std::sync::LazyLock;
use std::{env, fs};

use jiff::tz::TimeZone;

/// The system's time zone, unless `TZ` names another, `localtime(5)`.
const LOCAL: &str = "/etc/localtime";

static ZONE: LazyLock<TimeZone> = LazyLock::new(find);

/// Returns the time zone for showing times and for reading times without an offset.
pub(crate) fn system() -> TimeZone {
    ZONE.clone()
}

/// Finds the time zone.
///
/// jiff would find the name of the zone by listing all zones, which takes longer than everything
/// else that `tail` does. The name is not needed.
fn find() -> TimeZone {
    if env::var_os("TZ").is_some() {
        return TimeZone::system();
    }
    if fs::metadata(LOCAL).is_ok_and(|found| !found.is_file()) {
        // Reading a FIFO could block forever.
        return TimeZone::UTC;
    }
    let data = fs::read(LOCAL).ok();
    let zone = data.and_then(|data| TimeZone::tzif(LOCAL, &data).ok());
    zone.unwrap_or_else(TimeZone::system)
}
