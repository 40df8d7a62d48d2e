//! A user's JSON, validated and compacted to fit on one line of the log.
//!
//! The text stays as the user wrote it (numbers, key order, duplicate keys, escapes), except for
//! the white space between tokens. Anything that common JSON readers cannot read is rejected
//! before it is written: NUL and lone surrogates, which many readers cannot hold in a string,
//! deep nesting, which overflows their stacks, and values that are too long.
//!
//! Nothing here recurses, and everything takes linear time: the input comes from outside, and
//! ten megabytes of `[` must do no harm.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::memchr2;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// The maximum nesting depth of arrays and objects; a bare scalar has depth 0.
pub(crate) const MAX_DEPTH: usize = 100;

/// Returns the replacement of a decoded string, or `None` to keep it.
pub(crate) type Mask<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The reason why a user's data cannot be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The text is not exactly one JSON value; the message says where.
    // Not a source, because the message of this error already contains it.
    #[error("not valid JSON: {0}")]
    Syntax(serde_json::Error),
    /// A string or key contains U+0000.
    #[error(
        "the string at line {line} column {column} holds a NUL (`\\u0000`), which many JSON readers \
         cannot take; leave it out, or encode the bytes as base64"
    )]
    Nul {
        /// The line of the string's opening quote, from 1.
        line: usize,
        /// The column of the string's opening quote in bytes, from 1.
        column: usize,
    },
    /// A string or key contains half of a surrogate pair.
    #[error(
        "the string at line {line} column {column} holds half of a surrogate pair, which is not a \
         character; write both halves, such as `\\ud83d\\ude00`, or the character itself"
    )]
    LoneSurrogate {
        /// The line of the string's opening quote, from 1.
        line: usize,
        /// The column of the string's opening quote in bytes, from 1.
        column: usize,
    },
    /// Arrays and objects are nested more than 100 levels deep.
    #[error("nested deeper than {MAX_DEPTH} levels; make it flatter, or give it as a string")]
    TooDeep,
    /// The compacted data is too long for its line.
    #[error(
        "longer than {limit_bytes} bytes once compacted; keep large data in a file and log its path"
    )]
    TooLarge {
        /// The limit that was exceeded.
        limit_bytes: usize,
    },
    /// Pairs can only be added to an object.
    #[error("not a JSON object, so KEY=VALUE pairs cannot be added to it; give one such as `{{}}`")]
    NotAnObject,
    /// A key was given twice.
    #[error("the key `{0}` is given more than once; give each key once")]
    DuplicateKey(String),
    /// The key or the value of a pair contains U+0000.
    #[error("the pair `{}` holds a NUL character; encode such a value as base64", .0.escape_debug())]
    NulInPair(String),
}

/// Checks that `text` is exactly one JSON value and removes the white space between its tokens.
///
/// With `mask`, each string and key is decoded and passed to it. If it returns a replacement,
/// that is escaped and written instead.
///
/// # Errors
///
/// `text` is not JSON, contains a NUL or a lone surrogate, is nested more than 100 levels deep,
/// or the result is longer than `limit_bytes`.
pub(crate) fn compact(
    text: &str,
    limit_bytes: usize,
    mask: Option<Mask<'_>>,
) -> Result<Box<RawValue>, DataError> {
    check_syntax(text)?;
    compact_checked(text, limit_bytes, mask)
}

/// Returns the object `{"K":"V", …}` of pairs, in their order.
///
/// # Errors
///
/// A key occurs twice, or a key or value contains a NUL.
pub(crate) fn object_from_pairs(pairs: &[(String, String)]) -> Result<Box<RawValue>, DataError> {
    extend_object("{", BTreeSet::new(), pairs)
}

/// Adds pairs at the end of `base`, which must be an object.
///
/// Does not check the size of the result and does not mask the pairs. Callers that need either
/// [`compact`] the result.
///
/// # Errors
///
/// `base` is not an object, it has one of the keys already, or a key or value contains a NUL.
pub(crate) fn with_pairs(
    base: &RawValue,
    pairs: &[(String, String)],
) -> Result<Box<RawValue>, DataError> {
    let open = base
        .get()
        .strip_suffix('}')
        .ok_or(DataError::NotAnObject)?
        .trim_end_matches(is_space);
    // Compare decoded keys, because `"\u0061"` and `"a"` are the same key.
    let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(base.get())
        .map_err(DataError::Syntax)?;
    extend_object(open, members.into_keys().map(Cow::Owned).collect(), pairs)
}

/// Returns the data for one line of a stream that may be JSON or anything else.
///
/// JSON is validated and compacted, as by [`compact`]. Other text becomes `{"text":"…"}` without
/// a `\r` at its end. A line that is not UTF-8 or contains a NUL becomes `{"text_b64":"…"}`. A
/// `\n` at the end is not part of the line.
///
/// In bytes that are not UTF-8, `mask` gets each stretch of valid text separately.
///
/// # Errors
///
/// JSON breaks a rule of [`compact`], or the result is too long. A line that is not JSON at all
/// is text, not an error.
pub(crate) fn from_line(
    line: &[u8],
    limit_bytes: usize,
    mask: Option<Mask<'_>>,
) -> Result<Box<RawValue>, DataError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let object = match std::str::from_utf8(line) {
        Ok(text) if check_syntax(text).is_ok() => return compact_checked(text, limit_bytes, mask),
        Ok(text) if !text.contains('\0') => {
            let text = text.strip_suffix('\r').unwrap_or(text);
            object_of("text", masked(text, mask).as_ref())?
        }
        // Mask before encoding, because base64 would hide a secret from every later check.
        _ => object_of("text_b64", &BASE64.encode(masked_bytes(line, mask)))?,
    };
    if object.get().len() > limit_bytes {
        return Err(DataError::TooLarge { limit_bytes });
    }
    Ok(object)
}

/// Checks the grammar. `IgnoredAny` keeps `serde_json` from building a value: it walks the text
/// with a stack of one byte per level, without recursion.
fn check_syntax(text: &str) -> Result<(), DataError> {
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| ())
        .map_err(DataError::Syntax)
}

/// Compacts text whose grammar has been checked; see [`compact`].
fn compact_checked(
    text: &str,
    limit_bytes: usize,
    mask: Option<Mask<'_>>,
) -> Result<Box<RawValue>, DataError> {
    let mut out = String::with_capacity(text.len().min(limit_bytes));
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        if byte == b'"' {
            let token = string_token(text.get(at..).unwrap_or_default());
            push_string(&mut out, token, mask, || position(text, at))?;
            at += token.len();
        } else {
            at += 1;
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(DataError::TooDeep);
            }
            // Outside of strings, JSON is ASCII.
            if !is_space(char::from(byte)) {
                out.push(char::from(byte));
            }
        }
        if out.len() > limit_bytes {
            return Err(DataError::TooLarge { limit_bytes });
        }
    }
    RawValue::from_string(out).map_err(DataError::Syntax)
}

/// Returns whether a character is white space in JSON, which has less of it than Unicode.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Returns the string token, with its quotes, at the start of `rest`.
pub(crate) fn string_token(rest: &str) -> &str {
    let bytes = rest.as_bytes();
    let mut end = 1;
    while let Some(found) = bytes.get(end..).and_then(|b| memchr2(b'"', b'\\', b)) {
        end += found + 1;
        if bytes.get(end - 1) == Some(&b'"') {
            return rest.get(..end).unwrap_or(rest);
        }
        // Whatever is escaped, its first byte cannot end the string.
        end += 1;
    }
    rest
}

/// Returns the line and the column, from 1, of the byte at `at`. Computed only for an error.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = at - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1) + 1;
    (line, column)
}

/// Checks a string token and appends it, or its replacement from the mask.
fn push_string(
    out: &mut String,
    token: &str,
    mask: Option<Mask<'_>>,
    place: impl Fn() -> (usize, usize),
) -> Result<(), DataError> {
    let inner = token.get(1..token.len() - 1).unwrap_or_default();
    let decoded: Cow<'_, str> = if inner.contains('\\') {
        // The grammar is valid, so only surrogates can be wrong.
        serde_json::from_str(token).map_err(|_| {
            let (line, column) = place();
            DataError::LoneSurrogate { line, column }
        })?
    } else {
        Cow::Borrowed(inner)
    };
    let replaced = mask.and_then(|mask| mask(&decoded));
    if decoded.contains('\0') || replaced.as_ref().is_some_and(|new| new.contains('\0')) {
        let (line, column) = place();
        return Err(DataError::Nul { line, column });
    }
    match replaced {
        Some(new) => out.push_str(&quoted(&new)?),
        None => out.push_str(token),
    }
    Ok(())
}

/// Appends pairs to `open`, an object without its closing brace that has the given `keys`.
fn extend_object<'a>(
    open: &str,
    mut keys: BTreeSet<Cow<'a, str>>,
    pairs: &'a [(String, String)],
) -> Result<Box<RawValue>, DataError> {
    let mut out = open.to_owned();
    for (key, value) in pairs {
        if key.contains('\0') || value.contains('\0') {
            return Err(DataError::NulInPair(key.clone()));
        }
        if !keys.is_empty() {
            out.push(',');
        }
        if !keys.insert(Cow::Borrowed(key)) {
            return Err(DataError::DuplicateKey(key.clone()));
        }
        out.push_str(&quoted(key)?);
        out.push(':');
        out.push_str(&quoted(value)?);
    }
    out.push('}');
    RawValue::from_string(out).map_err(DataError::Syntax)
}

fn object_of(key: &str, value: &str) -> Result<Box<RawValue>, DataError> {
    let object = format!("{{{}:{}}}", quoted(key)?, quoted(value)?);
    RawValue::from_string(object).map_err(DataError::Syntax)
}

/// Returns `text` as a JSON string token.
fn quoted(text: &str) -> Result<String, DataError> {
    serde_json::to_string(text).map_err(DataError::Syntax)
}

fn masked<'a>(text: &'a str, mask: Option<Mask<'_>>) -> Cow<'a, str> {
    match mask.and_then(|mask| mask(text)) {
        Some(new) => Cow::Owned(new),
        None => Cow::Borrowed(text),
    }
}

fn masked_bytes<'a>(bytes: &'a [u8], mask: Option<Mask<'_>>) -> Cow<'a, [u8]> {
    if mask.is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(masked(chunk.valid(), mask).as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[path = "note_data_tests.rs"]
mod tests;
