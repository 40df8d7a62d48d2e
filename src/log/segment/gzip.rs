//! Decompression of sealed segments.

use std::io;
use std::io::{BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// A decoder of gzip data with any number of members.
///
/// Ignores zeros after the last member, like gzip(1): file systems and tapes pad files with
/// them.
#[derive(Debug)]
pub(crate) struct GzipReader<R> {
    /// The current member; `None` after the last one.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> GzipReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            member: Some(GzDecoder::new(BufReader::new(source))),
        }
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            let mut rest = match self.member.take() {
                Some(member) => member.into_inner(),
                None => break,
            };
            if has_member(&mut rest)? {
                self.member = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// Returns whether another member follows. Consumes the padding if none does.
fn has_member(rest: &mut impl BufRead) -> io::Result<bool> {
    let mut padded = false;
    loop {
        let bytes = match rest.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(false);
        }
        if bytes.iter().any(|b| *b != 0) {
            if padded || bytes.first() == Some(&0) {
                let garbage = "garbage after the compressed data";
                return Err(io::Error::new(io::ErrorKind::InvalidData, garbage));
            }
            return Ok(true);
        }
        padded = true;
        let len = bytes.len();
        rest.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::test_log::gz;

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        GzipReader::new(bytes).read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn members_are_concatenated() {
        let bytes = [gz(b"one\n"), gz(b""), gz(b"two\n")].concat();
        assert_eq!(decode(&bytes).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn trailing_zeros_are_ignored() {
        let bytes = [gz(b"one\n"), vec![0; 20_000]].concat();
        assert_eq!(decode(&bytes).unwrap(), b"one\n");
    }

    #[test]
    fn trailing_garbage_is_an_error() {
        for rest in [&b"x"[..], b"\0\0x", &[&vec![0; 20_000][..], b"x"].concat()] {
            let bytes = [&gz(b"one\n")[..], rest].concat();
            assert!(decode(&bytes).is_err(), "{:?}", rest.escape_ascii());
        }
    }

    #[test]
    fn truncated_data_is_an_error() {
        let bytes = gz(b"one\n");
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
