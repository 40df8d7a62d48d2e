//! Text from bytes that arrive in chunks.

/// A decoder of UTF-8 that joins characters split between two chunks. Invalid bytes become `�`.
#[derive(Debug, Default)]
pub(crate) struct Utf8Decoder {
    /// The start of a character whose remaining bytes have not arrived yet.
    partial: Vec<u8>,
}

impl Utf8Decoder {
    /// Returns the characters that these bytes complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let complete = all.len() - partial_len(&all);
        self.partial = all.split_off(complete);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Returns the rest at the end of the stream.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned()
    }
}

/// Returns how many bytes at the end are the start of a character.
fn partial_len(bytes: &[u8]) -> usize {
    let tail = bytes.iter().rev().take(3);
    for (n, byte) in (1..).zip(tail) {
        let needs = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if n < needs { n } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_split_across_chunks_is_joined() {
        let text = "aé€😀z";
        for at in 0..text.len() {
            let (left, right) = text.as_bytes().split_at(at);
            let mut utf8 = Utf8Decoder::default();
            let joined = utf8.push(left) + &utf8.push(right) + &utf8.finish();
            assert_eq!(joined, text, "cut at {at}");
        }
        let mut utf8 = Utf8Decoder::default();
        assert_eq!(utf8.push(b"\xffa\xc3"), "\u{fffd}a");
        assert_eq!(utf8.finish(), "\u{fffd}");
    }
}
