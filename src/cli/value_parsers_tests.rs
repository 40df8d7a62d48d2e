//! Tests of `values`.

use proptest::prelude::*;

use crate::cli::value_parsers::*;

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("1", 1),
        ("42B", 42),
        ("1K", 1024),
        ("1k", 1024),
        ("1KB", 1024),
        ("1KiB", 1024),
        ("1 KiB", 1024),
        (" 512M ", 512 << 20),
        ("1.5G", 3 << 29),
        ("0.5K", 512),
        ("2T", 2 << 40),
        ("7P", 7 << 50),
        ("007", 7),
        ("00000000000000000000000001", 1),
        ("1.00000000000000000000000000000000000", 1),
        ("9007199254740991", (1 << 53) - 1),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in [
        "",
        " ",
        "-1",
        "+1",
        "10x",
        "K",
        "1e3",
        "1_000",
        "1 000",
        "1,5G",
        "0x10",
        ".",
        ".5K",
        "1i",
        "1iB",
        "1KK",
        "1KiBB",
        "1bB",
        "NaN",
        "inf",
        "1.2.3",
        "١",
        "1\0",
        "1%",
        "1BK",
        "8P",
        "1E",
        "9007199254740992",
        "18446744073709551616",
        "184467440737095516155",
        "99999999999999999999999999T",
        "--",
        "1Z",
        "1\u{a0}\u{2009}0",
    ] {
        assert!(parse_size(text).is_err(), "{text}");
    }
    insta::assert_snapshot!(parse_size("10x").unwrap_err(), @"`10x` is not a size; write bytes or a number with K, M, G, T (1024-based), such as 512M");
    insta::assert_snapshot!(parse_size("8P").unwrap_err(), @"`8P` is too large; a size must stay below 8P (2^53 bytes)");
}

#[test]
fn durations() {
    let ms = Duration::from_millis;
    for (text, duration) in [
        ("0", ms(0)),
        ("0.5", ms(500)),
        (".5", ms(500)),
        ("90", ms(90_000)),
        ("1.5s", ms(1_500)),
        ("250ms", ms(250)),
        ("2m", ms(120_000)),
        ("2min", ms(120_000)),
        ("1h30m", ms(5_400_000)),
        ("1h 30m", ms(5_400_000)),
        ("1.5h", ms(5_400_000)),
        ("7d", ms(604_800_000)),
        ("2w", ms(1_209_600_000)),
        ("1w1d1h1m1s1ms", ms(694_861_001)),
        ("0.1", ms(100)),
        ("1.0000000000000000000000000000001", ms(1_000)),
        ("0.000000001", Duration::from_nanos(1)),
        ("36525d", MAX_DURATION),
    ] {
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
    }
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
        "PT1H",
        "1h ago",
        "1y",
        "1mo",
        "1 2",
        "٣s",
        "1s\0",
        "1,5s",
        "5 5s",
        "é",
        "1é",
        "1h-30m",
    ] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    insta::assert_snapshot!(parse_duration("soon").unwrap_err(), @"`soon` is not a duration; write seconds or numbers with ms, s, m, h, d, w, such as 90, 1.5s or 1h30m");
    insta::assert_snapshot!(parse_duration("101000w").unwrap_err(), @"`101000w` is too long; a duration is at most 100 years");
}

#[test]
fn moments() {
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
        ("0s", "2026-11-21T21:49:00Z"),
        ("100000000", "1973-03-03T09:46:40Z"),
        ("1795297740", "2026-11-21T21:49:00Z"),
    ] {
        assert_eq!(at(text), Ok(moment.parse().unwrap()), "{text}");
    }
    for text in [
        "",
        " ",
        "now",
        "yesterday",
        "2026",
        "20261121",
        "90",
        "0",
        "0.5",
        "-15m",
        "-1795297740",
        "1795297740000",
        "99999999999999999999999",
        "2026-13-01",
        "2026-02-30",
        "2026-11-21 25:00",
        "2026-11-21+02:00",
        "2026-11-21T21:49+99:00",
        "21:49",
        "2026-11",
        "-002026-11-21",
        "2026-11-21T21:49:00Z; rm",
        "1795297740.5",
        "2026-11-21 9pm",
        "200y",
        "101000w",
        "é",
        "2026-11-21 -02:00",
    ] {
        assert!(at(text).is_err(), "{text}: {:?}", at(text));
    }
    insta::assert_snapshot!(at("2026").unwrap_err(), @"`2026` is not a moment; write a date (2026-11-21), a date and time (2026-11-21 21:49, or 2026-11-21T21:49:00Z), how long ago (15m, 2h, 7d), or Unix seconds");
    insta::assert_snapshot!(at("1795297740000").unwrap_err(), @"`1795297740000` is out of range; a moment lies between the years 1 and 9999");
    assert!(parse_moment("1h").unwrap() < Timestamp::now());
    assert!(parse_moment("2026-11-21 21:49").is_ok());
}

#[test]
fn key_values() {
    let pair = |k: &str, v: &str| Ok((k.to_owned(), v.to_owned()));
    assert_eq!(parse_key_value("a=b"), pair("a", "b"));
    assert_eq!(parse_key_value("_a.B-9=x=y="), pair("_a.B-9", "x=y="));
    assert_eq!(parse_key_value("a="), pair("a", ""));
    assert_eq!(parse_key_value("a= \n\"é\" "), pair("a", " \n\"é\" "));
    for text in [
        "", "=", "=a", "a", "9a=1", "-a=1", ".a=1", "a b=1", " a=1", "é=1", "a\0=1", "a:b=1",
    ] {
        assert!(parse_key_value(text).is_err(), "{text}");
    }
    insta::assert_snapshot!(parse_key_value("9a=secret").unwrap_err(), @"`9a` is not a key; write KEY=VALUE with a KEY of letters, digits, `_`, `.` and `-` that begins with a letter or `_`, such as stage=build");
    insta::assert_snapshot!(parse_key_value("stage").unwrap_err(), @"`stage` has no `=`; write KEY=VALUE, such as stage=build");
}

#[test]
fn loads() {
    for (text, load) in [
        ("0", 0.0),
        ("4", 4.0),
        ("1.5", 1.5),
        (" 2 ", 2.0),
        (".5", 0.5),
    ] {
        assert_eq!(parse_load(text), Ok(load), "{text}");
    }
    for text in [
        "", " ", "-1", "-0", "nan", "NaN", "inf", "-inf", "infinity", "1e400", "1,5", "x", "1 2",
        "0x1",
    ] {
        assert!(parse_load(text).is_err(), "{text}");
    }
    insta::assert_snapshot!(parse_load("nan").unwrap_err(), @"`nan` is not a load; write a number of 0 or more, such as 4 or 1.5");
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "[-+0-9.eKMGiBsmhdw:TZ =_é]{0,40}") {
        drop(parse_size(&text));
        drop(parse_duration(&text));
        drop(parse_moment(&text));
        drop(parse_key_value(&text));
        drop(parse_load(&text));
    }

    #[test]
    fn whole_seconds_are_exact(seconds in 0..3_155_760_000_u64) {
        prop_assert_eq!(parse_duration(&seconds.to_string()), Ok(Duration::from_secs(seconds)));
    }

    #[test]
    fn bytes_are_exact(bytes in 0..SIZE_END) {
        prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
    }
}
