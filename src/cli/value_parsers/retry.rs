//! The values of `run --retry-on` and `--retry-backoff`.

use crate::job::RetryOn;

/// The failures to retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryList(pub Vec<RetryOn>);

/// Parses a list of exit codes, ranges of them, and kinds of failures.
///
/// # Errors
///
/// Returns a message that names the first item that is none of these.
pub(crate) fn parse_retry_list(text: &str) -> Result<RetryList, String> {
    let items = text.split(',').map(|item| {
        let item = item.trim();
        parse_item(item).ok_or_else(|| {
            format!(
                "`{item}` is not a failure; write exit codes from 1 to 255, ranges of them, \
                 `timeout`, `signal` and `oom`, such as 75,100-110,timeout"
            )
        })
    });
    items.collect::<Result<_, _>>().map(RetryList)
}

fn parse_item(item: &str) -> Option<RetryOn> {
    let code = |text: &str| text.parse().ok().filter(|code: &u8| *code > 0);
    match item {
        "timeout" => Some(RetryOn::Timeout),
        "signal" => Some(RetryOn::Signal),
        "oom" => Some(RetryOn::OutOfMemory),
        _ => {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (code(first)?, code(last)?);
            (first <= last).then(|| RetryOn::Exit(first.into()..=last.into()))
        }
    }
}

/// Parses the factor between two delays, a number of at least 1.
///
/// # Errors
///
/// Returns a message if `text` is not a finite number, or is below 1.
pub(crate) fn parse_factor(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|factor: &f64| factor.is_finite() && *factor >= 1.0)
        .ok_or_else(|| {
            format!("`{text}` is not a factor; write a number of 1 or more, such as 2 or 1.5")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_lists_are_read() {
        let list = parse_retry_list("75,100-110, timeout,signal,oom").unwrap();
        assert_eq!(
            list.0,
            [
                RetryOn::Exit(75..=75),
                RetryOn::Exit(100..=110),
                RetryOn::Timeout,
                RetryOn::Signal,
                RetryOn::OutOfMemory,
            ]
        );
        let items: Vec<_> = list.0.iter().map(ToString::to_string).collect();
        assert_eq!(items.join(","), "75,100-110,timeout,signal,oom");
        for text in [
            "", ",", "0", "256", "-1", "1-", "-", "9-3", "0-3", "1-2-3", "1,,2", "TIMEOUT", "exit",
            "1 - 2", "x", "1.5", "٣",
        ] {
            assert!(parse_retry_list(text).is_err(), "{text}");
        }
        insta::assert_snapshot!(parse_retry_list("75,never").unwrap_err(), @"`never` is not a failure; write exit codes from 1 to 255, ranges of them, `timeout`, `signal` and `oom`, such as 75,100-110,timeout");
    }

    #[test]
    fn factors_are_read() {
        assert_eq!(parse_factor("2"), Ok(2.0));
        assert_eq!(parse_factor(" 1.5"), Ok(1.5));
        for text in ["", "0", "0.99", "-2", "nan", "inf", "1e400", "2x", "1,5"] {
            assert!(parse_factor(text).is_err(), "{text}");
        }
    }
}
