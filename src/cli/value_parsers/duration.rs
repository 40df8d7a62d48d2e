//! DURATION: `90` (seconds), `1.5s`, `1h30m`, `2 weeks`.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// The longest duration: 100 years of 365.25 days.
const MAX_DURATION: Duration = Duration::from_hours(100 * 8_766);

/// Parses a duration: a number of seconds, or numbers with units.
///
/// # Errors
///
/// Returns a message if `text` is not a duration, is negative or exceeds 100 years.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let parse = |text: &str| {
        let duration = parse_seconds(text).or_else(|| parse_signed(text))?;
        Duration::try_from(duration).ok()
    };
    // jiff refuses more digits.
    let is_too_long = || {
        let unit = text.trim().trim_start_matches(|c: char| c.is_ascii_digit());
        unit != text.trim() && parse(&format!("1{unit}")).is_some()
    };
    match parse(text) {
        Some(duration) if duration <= MAX_DURATION => Ok(duration),
        None if !is_too_long() => Err(format!(
            "`{text}` is not a duration; write seconds or numbers with ms, s, m, h, d, w, such as \
             90, 1.5s or 1h30m"
        )),
        _ => Err(format!(
            "`{text}` is too long; a duration is at most 100 years"
        )),
    }
}

/// Returns the end of a time limit that starts now; as in `timeout(1)`, 0 means no limit.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    let timeout = timeout.filter(|timeout| !timeout.is_zero())?;
    Instant::now().checked_add(timeout)
}

/// Parses a number without a unit as seconds.
fn parse_seconds(text: &str) -> Option<SignedDuration> {
    let number = text.trim();
    let is_number = number.contains(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    // jiff requires a digit before the point, and ignores an extra leading zero.
    parse_signed(&format!("0{number}s")).filter(|_| is_number)
}

/// Parses jiff's "friendly" format, with weeks and days of 24 hours; `ago` makes it negative.
pub(super) fn parse_signed(text: &str) -> Option<SignedDuration> {
    let span: Span = text.trim().parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duration_units_are_read() {
        let ms = Duration::from_millis;
        for (text, duration) in [
            ("0", ms(0)),
            ("0.5", ms(500)),
            (".5", ms(500)),
            ("90", ms(90_000)),
            (" 90 ", ms(90_000)),
            ("1.5s", ms(1_500)),
            ("250ms", ms(250)),
            ("2m", ms(120_000)),
            ("2min", ms(120_000)),
            ("1h30m", ms(5_400_000)),
            ("1h 30m", ms(5_400_000)),
            ("1 hour, 30 minutes", ms(5_400_000)),
            ("1.5h", ms(5_400_000)),
            ("7d", ms(604_800_000)),
            ("2w", ms(1_209_600_000)),
            ("1w1d1h1m1s1ms", ms(694_861_001)),
            ("0.1", ms(100)),
            ("1,5s", ms(1_500)),
            ("0.000000001", Duration::from_nanos(1)),
            ("36525d", MAX_DURATION),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn malformed_durations_are_rejected() {
        for text in [
            "",
            " ",
            "-1",
            "-1h",
            "+1",
            "NaN",
            "inf",
            "infinity",
            "1e3",
            "h",
            "1hh",
            "1h30",
            "1x",
            "1.2.3s",
            ".",
            ".s",
            "1m1h",
            "1h1h",
            "36526d",
            "3155760001",
            "99999999999999999999999999999999999999999",
            "340282366920938463463374607431768211455w",
            "1M",
            "1h ago",
            "1y",
            "1mo",
            "1 2",
            "٣s",
            "1s\0",
            "5 5s",
            "é",
            "1é",
            "1h-30m",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        insta::assert_snapshot!(parse_duration("soon").unwrap_err(), @"`soon` is not a duration; write seconds or numbers with ms, s, m, h, d, w, such as 90, 1.5s or 1h30m");
        for long in [
            "101000w",
            "99999999999999999999999",
            "99999999999999999999999.5h",
        ] {
            let error = parse_duration(long).unwrap_err();
            assert_eq!(
                error,
                format!("`{long}` is too long; a duration is at most 100 years")
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "[-+0-9.eKMGiBsmhdw:TZ =_é]{0,40}") {
            drop(parse_duration(&text));
        }

        #[test]
        fn whole_seconds_are_exact(seconds in 0..3_155_760_000_u64) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse_duration(&seconds.to_string()), Ok(duration));
        }
    }
}
