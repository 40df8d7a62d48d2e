//! SIZE: a number of bytes, or a number with a 1024-based unit.

/// Sizes stay below this: larger integers are not exact in every JSON reader.
const SIZE_END: u64 = 1 << 53;

/// Parses a number of bytes: `4096`, `512M`, `1.5GiB`; K, M, G, T, P are 1024-based.
///
/// # Errors
///
/// Returns a message if `text` is not such a number, or is 2^53 or more.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let bytes = parse_number(text).ok_or_else(|| {
        format!(
            "`{text}` is not a size; write bytes or a number with K, M, G, T, P (1024-based), \
             such as 512M"
        )
    })?;
    if bytes >= SIZE_END as f64 {
        return Err(format!(
            "`{text}` is too large; a size must stay below 8P (2^53 bytes)"
        ));
    }
    Ok(bytes as u64)
}

/// Reads the number and its unit.
///
/// A float is exact here: integers below 2^53 are, and so is their product with a power of two.
fn parse_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = shift_of(text.strip_prefix(number)?)?;
    let number = number.trim_end();
    let is_plain = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    // Without this check, `1e3` and the like would be numbers.
    let number: f64 = number.parse().ok().filter(|_| is_plain)?;
    Some(number * (1_u64 << shift) as f64)
}

/// Returns the power of two of a unit: nothing, `B`, or a prefix with or without `B` or `iB`.
fn shift_of(unit: &str) -> Option<u32> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        "p" | "pb" | "pi" | "pib" => 50,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn size_units_are_read() {
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
    }

    #[test]
    fn malformed_sizes_are_rejected() {
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
        insta::assert_snapshot!(parse_size("10x").unwrap_err(), @"`10x` is not a size; write bytes or a number with K, M, G, T, P (1024-based), such as 512M");
        insta::assert_snapshot!(parse_size("8P").unwrap_err(), @"`8P` is too large; a size must stay below 8P (2^53 bytes)");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in "[-+0-9.eKMGiBsmhdw:TZ =_é]{0,40}") {
            drop(parse_size(&text));
        }

        #[test]
        fn bytes_are_exact(bytes in 0..SIZE_END) {
            prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        }
    }
}
