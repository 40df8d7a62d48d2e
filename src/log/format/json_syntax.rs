//! Whether bytes are members of a JSON object, RFC 8259: a check without a value, for
//! every line that is read. Held against `serde_json` in the tests, which looks at each
//! byte of a text by itself.

/// So many bytes of a long text are looked at together.
const WIDE: usize = 32;

/// Whether what follows the first members of an object is more of them, each with the
/// comma before it, in UTF-8, and nothing else.
pub(crate) fn are_members(bytes: &[u8]) -> bool {
    let mut scan = Scan(bytes);
    scan.members().is_some() && (bytes.is_ascii() || std::str::from_utf8(bytes).is_ok())
}

/// What is still to be looked at.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn members(&mut self) -> Option<()> {
        loop {
            self.space();
            if self.0.is_empty() {
                return Some(());
            }
            (self.next()? == b',').then_some(())?;
            self.key()?;
            self.value()?;
        }
    }

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
        let mut open = Open::default();
        loop {
            self.space();
            match self.next()? {
                b'"' => self.text()?,
                b'{' => {
                    self.space();
                    if !self.take(b'}') {
                        self.key()?;
                        open.push(true);
                        continue;
                    }
                }
                b'[' => {
                    self.space();
                    if !self.take(b']') {
                        open.push(false);
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
                let Some(is_object) = open.innermost() else {
                    return Some(());
                };
                self.space();
                match (self.next()?, is_object) {
                    (b',', true) => break self.key()?,
                    (b',', false) => break,
                    (b'}', true) | (b']', false) => open.pop(),
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
            self.0 = self.0.get(plain_len(self.0)..)?;
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// What follows a `\`.
    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            b'u' => {
                let (hex, rest) = self.0.split_at_checked(4)?;
                hex.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                self.0 = rest;
            }
            _ => return None,
        }
        Some(())
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

/// The arrays and objects that are open: no line is worth an allocation that has few.
#[derive(Default)]
struct Open {
    depth: usize,
    /// Which are objects, the innermost in the lowest bit.
    objects: u64,
    /// Those before the last 64.
    before: Vec<u64>,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.before.push(self.objects);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(is_object);
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.objects = self.before.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost is an object.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.objects & 1 == 1)
    }
}

/// How many bytes stand for themselves in a text, before the first that does not: a quote,
/// a backslash, a control character.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    // Most texts are short.
    let first = bytes.first_chunk::<8>();
    match first.and_then(|first| first_special(*first)) {
        Some(at) => at,
        None => long_plain_len(bytes),
    }
}

#[inline(never)]
fn long_plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        if let Some(at) = first_special(*chunk) {
            return bytes.len() - rest.len() + at;
        }
        rest = behind;
        while let Some((chunk, behind)) = rest.split_first_chunk::<WIDE>()
            && !chunk.iter().fold(false, |found, b| found | is_special(*b))
        {
            rest = behind;
        }
    }
    let special = rest.iter().position(|b| is_special(*b));
    bytes.len() - rest.len() + special.unwrap_or(rest.len())
}

/// Without a branch, so that many bytes can be looked at by one instruction.
#[inline]
fn is_special(byte: u8) -> bool {
    let mut special = byte == b'"';
    special |= byte == b'\\';
    special |= byte < 0x20;
    special
}

/// The first of eight bytes that is special.
#[inline]
fn first_special(bytes: [u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let is_zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
    let bytes = u64::from_le_bytes(bytes);
    let quote = is_zero(bytes ^ (ONES * u64::from(b'"')));
    let escape = is_zero(bytes ^ (ONES * u64::from(b'\\')));
    let control = bytes.wrapping_sub(ONES * 0x20) & !bytes & HIGH;
    let found = quote | escape | control;
    // The lowest of them is exact; those above it need not be.
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn by_serde(members: &[u8]) -> bool {
        let object = [b"{\"first\":0", members, b"}"].concat();
        let is_json = serde_json::from_slice::<IgnoredAny>(&object).is_ok();
        is_json && std::str::from_utf8(members).is_ok()
    }

    #[track_caller]
    fn same_members(members: &[u8]) {
        assert_eq!(
            are_members(members),
            by_serde(members),
            "{}",
            String::from_utf8_lossy(members)
        );
    }

    #[track_caller]
    fn same(value: &[u8]) {
        same_members(&[b",\"key\":", value].concat());
    }

    #[test]
    fn members_follow_each_other_and_nothing_else() {
        for members in [
            "",
            " ",
            ",",
            "}",
            "\"a\":1",
            ",\"a\":1",
            ",\"a\":1,",
            ",\"a\":1,,\"b\":2",
            " , \"a\" : 1 , \"b\" : [ ] ",
            ",\"a\":1\"b\":2",
            ",\"a\":1}",
            ",\"a\":1},{\"b\":2",
            ",\"\u{e9}\":2",
            ",\"a\",\"b\"",
        ] {
            same_members(members.as_bytes());
        }
        same_members(b",\"a\":\"\xff\"");
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
        // Each byte at each place of those that are looked at together.
        for at in 0..2 * WIDE + 12 {
            for byte in 0..=255 {
                let mut line = [b"\"".as_slice(), &[b'a'; 2 * WIDE + 12], b"\""].concat();
                line[1 + at] = byte;
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
            prop_assert!(are_members(&[b",\"key\":", line.as_slice()].concat()));
            for (at, byte) in hurt {
                let at = at.index(line.len());
                line[at] = byte;
                same(&line);
            }
            same(&line[..cut.index(line.len())]);
        }
    }
}
