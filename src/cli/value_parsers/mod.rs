//! The values that options take, as parsers for clap.
//!
//! Each error says what a valid value is, because clap prints it after the name of the option.

mod choice;
mod count;
mod duration;
mod moment;
mod probe;
mod retry;
mod size;

use super::usage_error::UsageError;

pub(crate) use choice::{
    EventTypeParser, SignalParser, parse_name_pattern, parse_state, run_state, stream,
};
pub(crate) use count::parse_count;
pub(crate) use duration::{deadline, parse_duration};
pub(crate) use moment::parse_moment;
pub(crate) use probe::parse_probe;
pub(crate) use retry::{RetryList, parse_factor, parse_retry_list};
pub(crate) use size::parse_size;

/// Parses `KEY=VALUE`; the value may be empty and may hold `=`.
///
/// # Errors
///
/// Returns a message if there is no `=`, or the key is not a letter or `_` followed by
/// letters, digits, `_`, `.` and `-`.
pub(crate) fn parse_key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`; write KEY=VALUE, such as stage=build"))?;
    let first_fits = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !first_fits || !key.chars().all(fits) {
        // Leave out the value, which may be a secret.
        return Err(format!(
            "`{key}` is not a key; write KEY=VALUE with a KEY of letters, digits, `_`, `.` and `-` \
             that starts with a letter or `_`, such as stage=build"
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses the `KEY=VALUE` arguments of the option `what`.
///
/// clap does not parse them, because it would show a malformed value, which may be a secret.
///
/// # Errors
///
/// Returns an error that names the key of the first malformed argument.
pub(crate) fn pairs(what: &str, texts: &[String]) -> Result<Vec<(String, String)>, UsageError> {
    let parse = |text: &String| {
        parse_key_value(text).map_err(|message| UsageError {
            message: format!("{what}: {message}"),
            hint: "KEY is a name of letters, digits, `_`, `.` and `-`; VALUE is anything",
        })
    };
    texts.iter().map(parse).collect()
}

/// Parses a load average, a number of at least 0.
///
/// # Errors
///
/// Returns a message if `text` is not a finite number, or is negative.
pub(crate) fn parse_load(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|load: &f64| load.is_finite() && load.is_sign_positive())
        .ok_or_else(|| {
            format!("`{text}` is not a load; write a number of 0 or more, such as 4 or 1.5")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_values_are_read() {
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
        insta::assert_snapshot!(parse_key_value("9a=secret").unwrap_err(), @"`9a` is not a key; write KEY=VALUE with a KEY of letters, digits, `_`, `.` and `-` that starts with a letter or `_`, such as stage=build");
        insta::assert_snapshot!(parse_key_value("stage").unwrap_err(), @"`stage` has no `=`; write KEY=VALUE, such as stage=build");
    }

    #[test]
    fn loads_are_read() {
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
            "", " ", "-1", "-0", "nan", "NaN", "inf", "-inf", "infinity", "1e400", "1,5", "x",
            "1 2", "0x1",
        ] {
            assert!(parse_load(text).is_err(), "{text}");
        }
        insta::assert_snapshot!(parse_load("nan").unwrap_err(), @"`nan` is not a load; write a number of 0 or more, such as 4 or 1.5");
    }
}
