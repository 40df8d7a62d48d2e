//! Times, durations, sizes and counts for people.

use std::sync::OnceLock;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Returns a time in the local time zone, to the second.
pub(crate) fn local_time(ts: Timestamp) -> String {
    in_zone(ts, "%Y-%m-%d %H:%M:%S")
}

/// Returns a time in the local time zone, to the second, with its offset from UTC.
pub(crate) fn time_with_zone(ts: Timestamp) -> String {
    in_zone(ts, "%Y-%m-%d %H:%M:%S %:z")
}

/// Returns a time in the local time zone, to the millisecond.
pub(crate) fn precise_time(ts: Timestamp) -> String {
    in_zone(ts, "%Y-%m-%d %H:%M:%S%.3f")
}

/// The function that returns the time zone for shown times.
static ZONE: OnceLock<fn() -> TimeZone> = OnceLock::new();

/// Sets the function that returns the time zone for shown times.
///
/// It is called for each shown time. Without it, times are in the zone that jiff detects.
pub fn set_time_zone(zone: fn() -> TimeZone) {
    ZONE.get_or_init(|| zone);
}

fn in_zone(ts: Timestamp, format: &str) -> String {
    let zone = || ZONE.get().map_or_else(TimeZone::system, |zone| zone());
    ts.to_zoned_datetime(zone()).strftime(format).to_string()
}

/// Returns a duration in at most two units: `87ms`, `1.23s`, `2m 03s`, `5h 07m`, `3d 04h`.
///
/// It is rounded half up to the last shown digit, as everywhere in runlog.
pub(crate) fn duration(ms: u64) -> String {
    let rounded = |unit: u64| ms.saturating_add(unit / 2) / unit;
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (centis, s, min, h) = (
        rounded(10),
        rounded(1000),
        rounded(60_000),
        rounded(3_600_000),
    );
    if centis < 6_000 {
        format!("{}.{:02}s", centis / 100, centis % 100)
    } else if s < 3_600 {
        format!("{}m {:02}s", s / 60, s % 60)
    } else if min < 24 * 60 {
        format!("{}h {:02}m", min / 60, min % 60)
    } else {
        format!("{}d {:02}h", h / 24, h % 24)
    }
}

/// Returns the time since a start, with milliseconds below one hour: `+0.007s`, `+1m 03.250s`,
/// `+5h 07m 03s`, `+3d 04h 07m`; `-…` if the clock was set back.
pub(crate) fn elapsed(since: SignedDuration) -> String {
    let sign = if since.is_negative() { '-' } else { '+' };
    let since = since.unsigned_abs();
    let (s, ms) = (since.as_secs(), since.subsec_millis());
    match s {
        0..60 => format!("{sign}{s}.{ms:03}s"),
        60..3600 => format!("{sign}{}m {:02}.{ms:03}s", s / 60, s % 60),
        3600..86400 => format!("{sign}{}h {:02}m {:02}s", s / 3600, s / 60 % 60, s % 60),
        _ => format!(
            "{sign}{}d {:02}h {:02}m",
            s / 86400,
            s / 3600 % 24,
            s / 60 % 60
        ),
    }
}

/// Returns a number with its noun: `1 job`, `2 jobs`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{s}")
}

/// Returns a size in binary units with about three digits: `512 B`, `3.4 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut name = "B";
    for unit in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    let digits = usize::from(name != "B" && value < 100.0);
    format!("{value:.digits$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(87), "87ms");
        assert_eq!(duration(1_234), "1.23s");
        assert_eq!(duration(123_000), "2m 03s");
        assert_eq!(duration(18_420_000), "5h 07m");
        assert_eq!(duration(273_600_000), "3d 04h");
    }

    #[test]
    fn durations_are_rounded_half_up() {
        assert_eq!(duration(10_355), "10.36s");
        assert_eq!(duration(10_354), "10.35s");
        assert_eq!(duration(59_994), "59.99s");
        assert_eq!(duration(59_995), "1m 00s");
        assert_eq!(duration(3_599_499), "59m 59s");
        assert_eq!(duration(3_599_500), "1h 00m");
        assert_eq!(duration(86_370_000), "1d 00h");
        assert_eq!(duration(u64::MAX), "213503982334d 14h");
    }

    #[test]
    fn elapsed_times_keep_milliseconds() {
        let since = |ms| elapsed(SignedDuration::from_millis(ms));
        assert_eq!(since(7), "+0.007s");
        assert_eq!(since(-1_500), "-1.500s");
        assert_eq!(since(63_250), "+1m 03.250s");
        assert_eq!(since(18_423_000), "+5h 07m 03s");
        assert_eq!(since(274_020_000), "+3d 04h 07m");
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(3_565_158), "3.4 MiB");
        assert_eq!(size(u64::MAX), "16384 PiB");
    }
}
