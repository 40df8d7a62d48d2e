//! The values that options take, as parsers for clap.
//!
//! Each error says what would be right, for clap prints it behind the name of
//! the option.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use parse_size::Config;

use super::exit::UsageError;
use crate::job::StreamId;

/// Integers from here on are not exact in every JSON reader.
const SIZE_END: u64 = 1 << 53;

/// 100 years of 365.25 days.
const MAX_DURATION: Duration = Duration::from_hours(100 * 8_766);

/// So many digits always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// A bare integer of so many digits is a moment in Unix seconds.
const MIN_UNIX_DIGITS: usize = 9;

/// Parses a number of bytes: `4096`, `512M`, `1.5GiB`; K, M, G, T are 1024-based.
///
/// # Errors
///
/// When `text` is not such a number, or is 2^53 or more.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "`{text}` is not a size; write bytes or a number with K, M, G, T (1024-based), such as 512M"
        )
    };
    let trimmed = text.trim();
    let number = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = trimmed.get(number.len()..).unwrap_or_default();
    // parse-size also takes `1_0`, `1 0`, `1e3` and a unit of just `i`, and adds
    // beyond 64 bits; only what is plain gets that far.
    let (whole, fraction) = split_decimal(number.trim_end()).ok_or_else(wrong)?;
    if whole.is_empty() || !is_size_unit(unit) {
        return Err(wrong());
    }
    let large = || format!("`{text}` is too large; a size must stay below 8P (2^53 bytes)");
    let whole = whole.trim_start_matches('0');
    if whole.len() > MAX_DIGITS {
        return Err(large());
    }
    // More digits than that are less than a byte, whatever the unit.
    let fraction: String = fraction.chars().take(MAX_DIGITS - whole.len()).collect();
    Config::new()
        .with_binary()
        .parse_size(format!("0{whole}.{fraction}{unit}"))
        .ok()
        .filter(|&bytes| bytes < SIZE_END)
        .ok_or_else(large)
}

/// Parses a length of time: `90` (seconds), `0.5`, `250ms`, `1h30m`, `7d`, `2w`.
///
/// # Errors
///
/// When `text` is not a length of time, or is more than 100 years.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration; write seconds or numbers with ms, s, m, h, d, w, such as \
             90, 1.5s or 1h30m"
        )
    };
    let large = || format!("`{text}` is too long; a duration is at most 100 years");
    let trimmed = text.trim();
    if let Some((whole, fraction)) = split_decimal(trimmed) {
        return sum_of([(whole, fraction, 1_000_000_000)]).ok_or_else(large);
    }
    let mut parts = Vec::new();
    let mut rest = trimmed;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at_checked(number_end).ok_or_else(wrong)?;
        let unit_end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end).ok_or_else(wrong)?;
        let (whole, fraction) = split_decimal(number).ok_or_else(wrong)?;
        let nanos = unit_nanos(unit).ok_or_else(wrong)?;
        // `1m1h` is more often a slip than meant so.
        if nanos >= last_unit {
            return Err(wrong());
        }
        last_unit = nanos;
        parts.push((whole, fraction, nanos));
        rest = tail.trim_start();
    }
    if parts.is_empty() {
        return Err(wrong());
    }
    sum_of(parts).ok_or_else(large)
}

/// Parses a moment: a date, a date and time (in the system's time zone unless it
/// has an offset), Unix seconds, or how long ago (`15m`).
///
/// # Errors
///
/// When `text` is none of these, or out of the range of dates.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    moment_at(text, Timestamp::now(), &crate::cli::time_zone::system())
}

/// Parses `KEY=VALUE`; the value may be empty and may hold `=`.
///
/// # Errors
///
/// When there is no `=`, or the key is not a letter or `_` followed by letters,
/// digits, `_`, `.` and `-`.
pub(crate) fn parse_key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`; write KEY=VALUE, such as stage=build"))?;
    let first_fits = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !first_fits || !key.chars().all(fits) {
        // Without the value: it may be a secret.
        return Err(format!(
            "`{key}` is not a key; write KEY=VALUE with a KEY of letters, digits, `_`, `.` and `-` \
             that begins with a letter or `_`, such as stage=build"
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses a load average, a number of at least 0.
///
/// # Errors
///
/// When `text` is not a finite number, or is negative.
pub(crate) fn parse_load(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|load: &f64| load.is_finite() && load.is_sign_positive())
        .ok_or_else(|| {
            format!("`{text}` is not a load; write a number of 0 or more, such as 4 or 1.5")
        })
}

/// Parses the name of a stream.
///
/// # Errors
///
/// When `text` is neither.
pub(crate) fn parse_stream(text: &str) -> Result<StreamId, String> {
    StreamId::parse(text).ok_or_else(|| "a stream is stdout or stderr".to_owned())
}

/// [`parse_moment`] at a given time and place.
fn moment_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "`{text}` is not a moment; write a date (2026-11-21), a date and time (2026-11-21 \
             21:49, or 2026-11-21T21:49:00Z), how long ago (15m, 2h, 7d), or Unix seconds"
        )
    };
    let range = || format!("`{text}` is out of range; a moment lies between the years 1 and 9999");
    let trimmed = text.trim();
    if is_digits(trimmed) {
        // A shorter number might be a year, a date, or seconds ago: not guessed.
        if trimmed.len() < MIN_UNIX_DIGITS {
            return Err(wrong());
        }
        let seconds = trimmed.parse().map_err(|_| range())?;
        return Timestamp::from_second(seconds).map_err(|_| range());
    }
    // A decimal without a unit is as unclear as a short integer.
    if split_decimal(trimmed).is_none()
        && let Ok(ago) = parse_duration(trimmed)
    {
        let ago = SignedDuration::try_from(ago).map_err(|_| range())?;
        return now.checked_sub(ago).map_err(|_| range());
    }
    if let Ok(moment) = trimmed.parse() {
        return Ok(moment);
    }
    // jiff drops an offset where it reads a time without one; we would be hours
    // off, so whatever may be an offset is refused.
    let is_local = trimmed
        .chars()
        .all(|c| c.is_ascii_digit() || "-: Tt.".contains(c))
        && trimmed.matches('-').count() == 2;
    if !is_local {
        return Err(wrong());
    }
    let local: DateTime = trimmed.parse().map_err(|_| wrong())?;
    zone.to_timestamp(local).map_err(|_| range())
}

/// The two sides of a decimal number's point; one of them may be empty.
fn split_decimal(number: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits = whole.bytes().chain(fraction.bytes()).peekable();
    (digits.peek().is_some() && digits.all(|b| b.is_ascii_digit())).then_some((whole, fraction))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Nothing, `B`, or a prefix with or without `B` or `iB`.
fn is_size_unit(unit: &str) -> bool {
    let unit = unit.to_ascii_lowercase();
    let prefix = unit.strip_suffix('b').unwrap_or(&unit);
    let prefix = match prefix.strip_suffix('i') {
        Some("") => return false,
        Some(prefix) => prefix,
        None => prefix,
    };
    matches!(prefix, "" | "k" | "m" | "g" | "t" | "p")
}

fn unit_nanos(unit: &str) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;
    Some(match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 604_800 * SECOND,
        _ => return None,
    })
}

/// Adds up numbers (the sides of the point) of units (in nanoseconds), exactly
/// but for fractions of a nanosecond; `None` if it is more than [`MAX_DURATION`].
fn sum_of<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str, u64)>) -> Option<Duration> {
    let mut sum = 0_u128;
    for (whole, fraction, nanos) in parts {
        let nanos = u128::from(nanos);
        let fraction = fraction.get(..MAX_DIGITS).unwrap_or(fraction);
        let scale = 10_u128.pow(fraction.len() as u32);
        sum = sum.checked_add(number(whole)?.checked_mul(nanos)?)?;
        sum = sum.checked_add(number(fraction)? * nanos / scale)?;
    }
    // Nanoseconds of 100 years fit into 64 bits.
    let sum = Duration::from_nanos(u64::try_from(sum).ok()?);
    (sum <= MAX_DURATION).then_some(sum)
}

/// The value of digits; none are 0. `None` if it does not fit.
fn number(digits: &str) -> Option<u128> {
    if digits.is_empty() {
        return Some(0);
    }
    digits.parse().ok()
}

/// Several `KEY=VALUE`, given for `what`. Not parsed by clap, which would show a value
/// that is malformed: it may be a secret.
pub(crate) fn pairs(what: &str, texts: &[String]) -> Result<Vec<(String, String)>, UsageError> {
    let parse = |text: &String| {
        parse_key_value(text).map_err(|message| UsageError {
            message: format!("{what}: {message}"),
            hint: "KEY is a name of letters, digits, `_`, `.` and `-`; VALUE is anything",
        })
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
#[path = "value_parsers_tests.rs"]
mod tests;
