//! WHEN: a date, a time, a word, Unix seconds, or how long ago.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::duration::parse_signed;
use crate::volume::wall_clock;

/// The fewest digits of an integer that is read as Unix seconds.
///
/// A shorter integer might be a year, a date, or seconds ago, so it is refused.
const MIN_UNIX_DIGITS: usize = 9;

/// Parses a moment: a date, a date and time (in the system's time zone unless it has an offset),
/// a time (`10:30`, the most recent one), `now`, `today`, `yesterday`, Unix seconds, or how long
/// ago (`15m`, `-15m`, `15 minutes ago`).
///
/// # Errors
///
/// Returns a message if `text` is none of these, or is out of the range of dates.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    moment_at(text, wall_clock(), &crate::cli::time_zone::system())
}

/// Parses a moment relative to `now` and `zone`.
fn moment_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "`{text}` is not a moment; write a date (2026-11-21), a date and time (2026-11-21 \
             21:49, or 2026-11-21T21:49:00Z), a time (21:49), how long ago (15m, 2h, 7d), today, \
             yesterday, or Unix seconds"
        )
    };
    let range = || format!("`{text}` is out of range; the year must be between 1 and 9999");
    let trimmed = text.trim();
    // date(1) writes Unix seconds this way.
    let trimmed = trimmed.strip_prefix('@').unwrap_or(trimmed);
    if trimmed.bytes().all(|b| b.is_ascii_digit()) {
        if trimmed.len() < MIN_UNIX_DIGITS {
            return Err(wrong());
        }
        let seconds = trimmed.parse().map_err(|_| range())?;
        return Timestamp::from_second(seconds).map_err(|_| range());
    }
    if let Some(moment) = named_day(trimmed, now, zone) {
        return Ok(moment);
    }
    if let Some(time) = parse_time(trimmed) {
        return last_time(time, now, zone).ok_or_else(range);
    }
    // jiff reads `1:30` as a span, and `+5m` would be later than now.
    let may_be_span = !trimmed.contains(':') && !trimmed.starts_with('+');
    if let Some(ago) = parse_signed(trimmed).filter(|_| may_be_span) {
        return now.checked_sub(ago.abs()).map_err(|_| range());
    }
    // runlog prints a space before the offset.
    let joined = match trimmed.rsplit_once(' ') {
        Some((time, offset)) if offset.starts_with(['+', '-']) => format!("{time}{offset}"),
        _ => trimmed.to_owned(),
    };
    if let Ok(moment) = joined.parse() {
        return Ok(moment);
    }
    // jiff drops an offset when it reads a time without one, and the moment would be off by
    // hours; so anything that may be an offset is refused.
    let (trimmed, zone) = match trimmed.strip_suffix(['Z', 'z']) {
        Some(utc) if utc.contains(':') => (utc, &TimeZone::UTC),
        _ => (trimmed, zone),
    };
    let is_local = trimmed
        .chars()
        .all(|c| c.is_ascii_digit() || "-: Tt.".contains(c))
        && trimmed.matches('-').count() == 2;
    if !is_local {
        return Err(wrong());
    }
    let local: DateTime = trimmed.parse().map_err(|_| wrong())?;
    // In some time zones, the last day of the last year is not over at the last moment there is.
    Ok(zone.to_timestamp(local).unwrap_or(Timestamp::MAX))
}

/// Returns the start of `today` or `yesterday`, or `now`; `None` if the text is not one of these
/// words.
fn named_day(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today = zone.to_datetime(now).date();
    let day = match text.to_ascii_lowercase().as_str() {
        "now" => return Some(now),
        "today" => today,
        "yesterday" => today.yesterday().ok()?,
        _ => return None,
    };
    zone.to_timestamp(day.to_datetime(Time::midnight())).ok()
}

/// Parses a time of day: `9:30`, `21:49`, `21:49:30`, `21:49:30.746`.
fn parse_time(text: &str) -> Option<Time> {
    let fits = |b: u8| b.is_ascii_digit() || matches!(b, b':' | b'.');
    let is_time = text.contains(':') && text.bytes().all(fits);
    let padded = match text.find(':') {
        Some(1) => format!("0{text}"),
        _ => text.to_owned(),
    };
    padded.parse().ok().filter(|_| is_time)
}

/// Returns the last moment up to `now` that had this time of day.
fn last_time(time: Time, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today = zone.to_datetime(now).date();
    let at = |day: Date| zone.to_timestamp(day.to_datetime(time)).ok();
    let moment = at(today)?;
    if moment <= now {
        return Some(moment);
    }
    at(today.yesterday().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read() {
        let now: Timestamp = "2026-11-21T21:49:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let at = |text: &str| moment_at(text, now, &zone);
        for (text, moment) in [
            ("2026-11-21T21:49:00Z", "2026-11-21T21:49:00Z"),
            ("2026-11-21T21:49:00.123456Z", "2026-11-21T21:49:00.123456Z"),
            ("2026-11-21T21:49:00-05:00", "2026-11-22T02:49:00Z"),
            ("2026-11-21 21:49+01:00", "2026-11-21T20:49:00Z"),
            ("2026-11-21", "2026-11-20T22:00:00Z"),
            ("2026-11-21 21:49", "2026-11-21T19:49:00Z"),
            (" 2026-11-21 21:49:30 ", "2026-11-21T19:49:30Z"),
            ("2026-11-21T21:49:30.5", "2026-11-21T19:49:30.5Z"),
            ("15m", "2026-11-21T21:34:00Z"),
            ("2h", "2026-11-21T19:49:00Z"),
            ("1d12h", "2026-11-20T09:49:00Z"),
            ("-15m", "2026-11-21T21:34:00Z"),
            ("1 hour ago", "2026-11-21T20:49:00Z"),
            ("now", "2026-11-21T21:49:00Z"),
            ("today", "2026-11-20T22:00:00Z"),
            ("Yesterday", "2026-11-19T22:00:00Z"),
            ("23:30", "2026-11-21T21:30:00Z"),
            ("9:05", "2026-11-21T07:05:00Z"),
            ("23:49:01", "2026-11-20T21:49:01Z"),
            ("23:49:00.000", "2026-11-21T21:49:00Z"),
            ("23:49:00.001", "2026-11-20T21:49:00.001Z"),
            ("2026-11-21 21:49:30 +00:00", "2026-11-21T21:49:30Z"),
            ("2026-11-21 21:49:30 -05:00", "2026-11-22T02:49:30Z"),
            ("1 day ago", "2026-11-20T21:49:00Z"),
            ("0s", "2026-11-21T21:49:00Z"),
            ("100000000", "1973-03-03T09:46:40Z"),
            ("1795297740", "2026-11-21T21:49:00Z"),
            ("9999-12-31 12:00", "9999-12-30T22:00:00.999999999Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
        ] {
            assert_eq!(at(text), Ok(moment.parse().unwrap()), "{text}");
        }
        assert!(parse_moment("1h").unwrap() < Timestamp::now());
        assert!(parse_moment("2026-11-21 21:49").is_ok());
    }

    #[test]
    fn malformed_moments_are_rejected() {
        let at = |text: &str| moment_at(text, Timestamp::now(), &TimeZone::UTC);
        for text in [
            "",
            " ",
            "2026",
            "20261121",
            "90",
            "0",
            "0.5",
            "-1795297740",
            "1795297740000",
            "99999999999999999999999",
            "2026-13-01",
            "2026-02-30",
            "2026-11-21 25:00",
            "2026-11-21+02:00",
            "2026-11-21T21:49+99:00",
            "21:49x",
            "25:00:00.5",
            "1:2:3",
            "-1:30:00",
            "1h 0:30:00",
            "+5m",
            "2026-11-21 +02:00",
            "25:00",
            "tomorrow",
            "2026-11",
            "-002026-11-21",
            "2026-11-21T21:49:00Z; rm",
            "1795297740.5",
            "2026-11-21 9pm",
            "200y",
            "é",
            "2026-11-21 -02:00",
        ] {
            assert!(at(text).is_err(), "{text}: {:?}", at(text));
        }
        insta::assert_snapshot!(at("2026").unwrap_err(), @"`2026` is not a moment; write a date (2026-11-21), a date and time (2026-11-21 21:49, or 2026-11-21T21:49:00Z), a time (21:49), how long ago (15m, 2h, 7d), today, \
             yesterday, or Unix seconds");
        insta::assert_snapshot!(at("1795297740000").unwrap_err(), @"`1795297740000` is out of range; the year must be between 1 and 9999");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "[-+0-9.eKMGiBsmhdw:TZ =_é]{0,40}") {
            drop(moment_at(&text, Timestamp::now(), &TimeZone::UTC));
        }
    }
}
