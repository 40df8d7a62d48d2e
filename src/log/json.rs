//! Whether bytes are one JSON object, RFC 8259: a check without a value, for every line
//! that is read. Held against `serde_json` in the tests, which looks at each byte of a
//! text by itself and takes four times as long.

/// Whether a line is one JSON object in UTF-8, and nothing else.
pub(super) fn is_object(line: &[u8]) -> bool {
    let mut scan = Scan(line);
    scan.space();
    let object = scan.0.starts_with(b"{") && scan.value().is_some();
    scan.space();
    object && scan.0.is_empty() && std::str::from_utf8(line).is_ok()
}

/// What is still to be looked at.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Takes the byte if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.split_first().filter(|(first, _)| **first == byte);
        rest.map(|(_, rest)| self.0 = rest).is_some()
    }

    fn space(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.0.split_first() {
            self.0 = rest;
        }
    }

    /// A value with all that is in it, however deep: without recursion.
    fn value(&mut self) -> Option<()> {
        /// Arrays and objects in an event of ours, as a rule.
        const DEPTH: usize = 8;
        // What closes the arrays and objects that are open.
        let mut open = Vec::with_capacity(DEPTH);
        loop {
            self.space();
            match self.next()? {
                b'"' => self.text()?,
                b'{' => {
                    self.space();
                    if !self.take(b'}') {
                        self.key()?;
                        open.push(b'}');
                        continue;
                    }
                }
                b'[' => {
                    self.space();
                    if !self.take(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                b'-' => {
                    let first = self.next()?;
                    self.number(first)?;
                }
                first => self.number(first)?,
            }
            // A value has ended, and maybe what it stands in.
            loop {
                let Some(closes) = open.last() else {
                    return Some(());
                };
                self.space();
                match self.next()? {
                    b',' if *closes == b'}' => break self.key()?,
                    b',' => break,
                    byte if byte == *closes => drop(open.pop()),
                    _ => return None,
                }
            }
        }
    }

    /// The name of a member, with its colon.
    fn key(&mut self) -> Option<()> {
        self.space();
        (self.next()? == b'"').then_some(())?;
        self.text()?;
        self.space();
        (self.next()? == b':').then_some(())
    }

    /// What follows the `"` that begins a text.
    fn text(&mut self) -> Option<()> {
        loop {
            self.plain();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let (hex, rest) = self.0.split_at_checked(4)?;
                        hex.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.0 = rest;
                    }
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    /// Passes over bytes that stand for themselves in a text, eight at a time.
    fn plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let is_zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
        while let Some((chunk, rest)) = self.0.split_first_chunk::<8>() {
            let bytes = u64::from_le_bytes(*chunk);
            let quote = is_zero(bytes ^ (ONES * u64::from(b'"')));
            let escape = is_zero(bytes ^ (ONES * u64::from(b'\\')));
            let control = bytes.wrapping_sub(ONES * 0x20) & !bytes & HIGH;
            let found = quote | escape | control;
            if found != 0 {
                // The lowest of them is exact; those above it need not be.
                let at = (found.trailing_zeros() / 8) as usize;
                self.0 = self.0.get(at..).unwrap_or_default();
                return;
            }
            self.0 = rest;
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(rest)?;
        Some(())
    }

    /// What follows the first digit of a number.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.take(b'.') {
            self.next()?.is_ascii_digit().then_some(())?;
            self.digits();
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.next()?.is_ascii_digit().then_some(())?;
            self.digits();
        }
        Some(())
    }

    fn digits(&mut self) {
        while let Some((b'0'..=b'9', rest)) = self.0.split_first() {
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn by_serde(line: &[u8]) -> bool {
        let is_object = line.trim_ascii_start().starts_with(b"{");
        let is_json = serde_json::from_slice::<IgnoredAny>(line).is_ok();
        is_object && is_json && std::str::from_utf8(line).is_ok()
    }

    #[track_caller]
    fn same(line: &[u8]) {
        assert_eq!(
            is_object(line),
            by_serde(line),
            "{}",
            String::from_utf8_lossy(line)
        );
    }

    #[test]
    fn what_serde_takes_is_taken_and_nothing_else() {
        let deep = |n: usize| [b"{\"a\":".repeat(n), b"1".to_vec(), b"}".repeat(n)].concat();
        let deep_array = |n: usize| {
            let arrays = [b"[".repeat(n), b"]".repeat(n)].concat();
            [b"{\"a\":".as_slice(), &arrays, b"}"].concat()
        };
        for n in 120..135 {
            same(&deep(n));
            same(&deep_array(n));
        }
        for number in [
            "0", "-0", "01", "1.", "1.5", ".5", "1e", "1e5", "1E+5", "1e-05", "-", "--1", "1e999",
            "+1", "1.e5", "00", "-01", "1a", "NaN", "1 2",
        ] {
            same(format!("{{\"a\":{number}}}").as_bytes());
            same(format!("{{\"a\":[{number} , {number}]}}").as_bytes());
        }
        for line in [
            "",
            "{",
            "}",
            "{}",
            " {} ",
            "{}x",
            "[]",
            "\"a\"",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "{\"a\":1,}",
            "{\"a\":[1,]}",
            "{\"a\":[,]}",
            "{\"a\":tru}",
            "{\"a\":true}",
            "{\"a\":null,\"a\":false}",
            "{'a':1}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\u{1f}\"}",
            "{\"a\":\"\u{7f}é😀\"}",
            "{\"a\":\"\\",
            "{\"a\" : [ { } , [ ] ] }",
            "{\"a\":\"b",
            "\u{feff}{}",
        ] {
            same(line.as_bytes());
        }
        // Each byte at each place of a run of eight.
        for at in 0..20 {
            for byte in 0..=255 {
                let mut line = b"{\"a\":\"aaaaaaaaaaaaaaaaaaaa\"}".to_vec();
                line[6 + at] = byte;
                same(&line);
            }
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|b| b.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| serde_json::json!(n).to_string()),
            any::<String>().prop_map(|s| serde_json::json!(s).to_string()),
        ];
        let value = leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5)
                    .prop_map(|v| format!("[{}]", v.join(","))),
                prop::collection::vec((any::<String>(), inner), 0..5).prop_map(|v| {
                    let member = |(key, value)| format!("{}:{value}", serde_json::json!(key));
                    let members: Vec<_> = v.into_iter().map(member).collect();
                    format!("{{{}}}", members.join(", "))
                }),
            ]
        });
        value.prop_map(|value| format!("{{\"k\":{value}}}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn whole_and_hurt_json_is_told_apart_as_serde_does(
            json in json(),
            hurt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut line = json.into_bytes();
            prop_assert!(is_object(&line));
            for (at, byte) in hurt {
                let at = at.index(line.len());
                line[at] = byte;
                same(&line);
            }
            same(&line[..cut.index(line.len())]);
        }
    }
}
