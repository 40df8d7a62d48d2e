//! The system's time zone, found without reading the names of all zones that there are.

use std::sync::LazyLock;
use std::{env, fs};

use jiff::tz::TimeZone;

/// What the system's time zone is where `TZ` does not name another, `localtime(5)`.
const LOCAL: &str = "/etc/localtime";

static ZONE: LazyLock<TimeZone> = LazyLock::new(find);

/// The time zone that times are shown in, and that those without an offset are in.
pub(crate) fn system() -> TimeZone {
    ZONE.clone()
}

/// jiff wants to know the name of the zone behind the file, and lists all zones for it,
/// which takes longer than all else that `tail` does. We have no use for the name.
fn find() -> TimeZone {
    if env::var_os("TZ").is_some() {
        return TimeZone::system();
    }
    if fs::metadata(LOCAL).is_ok_and(|found| !found.is_file()) {
        // To read a FIFO would take for ever.
        return TimeZone::UTC;
    }
    let data = fs::read(LOCAL).ok();
    let zone = data.and_then(|data| TimeZone::tzif(LOCAL, &data).ok());
    zone.unwrap_or_else(TimeZone::system)
}
