//! Tests of masking streams.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::redactor::Redactor;
use super::redactor_tests::{key, make, redactor};
use super::stream_masker::HOLD_BYTES;

fn streamed<'a>(redactor: &Redactor, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut stream = redactor.stream();
    for chunk in chunks {
        stream.push(chunk, &mut out);
    }
    stream.finish(&mut out);
    out
}

fn by_line(redactor: &Redactor, text: &[u8]) -> Vec<u8> {
    let lines: Vec<_> = text
        .split(|&b| b == b'\n')
        .map(|line| redactor.mask(line).into_owned())
        .collect();
    lines.join(&b'\n')
}

fn holds(bytes: &[u8], literal: &[u8]) -> bool {
    memchr::memmem::find(bytes, literal).is_some()
}

#[test]
fn only_possible_starts_of_literals_are_held() {
    let r = redactor(&["key", "kettle-kettle"]);
    let mut stream = r.stream();
    let mut push = |chunk: &[u8]| {
        let mut out = Vec::new();
        stream.push(chunk, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(push(b"a key\nPassword: "), "a ***\nPassword: ");
    assert_eq!(push(b"b k"), "b ");
    assert_eq!(push(b"ey\n\n"), "***\n\n");
    assert_eq!(push(b"kettle-ke"), "");
    assert_eq!(push(b"y"), "kettle-***");
    assert_eq!(push(b"kettle-kettl"), "");
    assert_eq!(push(b"e"), "***");
    assert_eq!(push(b"ke"), "");
    let mut out = Vec::new();
    stream.finish(&mut out);
    assert_eq!(out, b"ke");
    // The end resets the masker.
    stream.push(b"y", &mut out);
    assert_eq!(out, b"key");
}

#[test]
fn literal_within_held_start_of_another_is_masked() {
    let r = redactor(&["abcdef", "cd"]);
    assert_eq!(streamed(&r, [&b"abcd"[..]]), b"ab***");
    assert_eq!(streamed(&r, [&b"abc"[..], b"d", b"x"]), b"ab***x");
    assert_eq!(streamed(&r, [&b"abcd"[..], b"ef"]), b"***");
}

#[test]
fn patterns_hold_unfinished_lines() {
    let r = redactor(&["ke+y"]);
    let mut stream = r.stream();
    let mut out = Vec::new();
    stream.push(b"a keey\nb k", &mut out);
    assert_eq!(out, b"a ***\n");
    stream.push(b"ey\n\n", &mut out);
    assert_eq!(out, b"a ***\nb ***\n\n");
}

#[test]
fn text_without_secrets_is_not_held() {
    let r = key(b"key");
    let mut stream = r.stream();
    let mut out = Vec::new();
    for pushed in 1..20_000_usize {
        stream.push(b"x", &mut out);
        assert_eq!(out.len(), pushed);
        assert!(stream.held.is_empty());
    }
    let r = redactor(&["ke+y"]);
    let mut stream = r.stream();
    let mut out = Vec::new();
    for pushed in 1..200_000_usize {
        stream.push(b"x", &mut out);
        assert!(pushed - out.len() < HOLD_BYTES + 4);
        assert!(stream.held.len() <= HOLD_BYTES);
    }
}

/// Checks every way in which a secret can cross the border of the held bytes.
#[test]
fn secret_across_hold_border_is_masked() {
    let secret = b"s3cret-s3cret-value";
    let literal = key(secret);
    let pattern = redactor(&["s3[a-z3-]+value"]);
    for offset in (HOLD_BYTES / 2 - 40..HOLD_BYTES / 2 + 40).chain(HOLD_BYTES - 40..HOLD_BYTES + 40)
    {
        let mut text = vec![b'.'; offset];
        text.extend_from_slice(secret);
        text.extend_from_slice(&vec![b','; 70_000]);
        for r in [&literal, &pattern] {
            for size in [1000, 4096, 65_536] {
                assert_eq!(streamed(r, text.chunks(size)), r.mask(&text).as_ref());
            }
        }
    }
}

#[test]
fn anchors_refer_to_line_not_buffer() {
    let r = redactor(&["^abc", "\\bxyz"]);
    let text = b"abcxyz\xc3\xa9".repeat(30_000);
    for size in [1000, 1003, 65_536] {
        assert_eq!(streamed(&r, text.chunks(size)), r.mask(&text).as_ref());
    }
}

#[test]
fn overlong_match_masks_rest_of_line() {
    let r = redactor(&["k=[a-z]+"]);
    let mut text = b"go k=".to_vec();
    text.extend_from_slice(&vec![b'z'; 200_000]);
    text.extend_from_slice(b" end\nnext k=a line");
    assert_eq!(streamed(&r, text.chunks(1000)), b"go ***\nnext *** line");
    // Within the limit, it is masked exactly.
    let mut text = vec![b'.'; 50_000];
    text.extend_from_slice(b"k=");
    text.extend_from_slice(&vec![b'z'; 30_000]);
    text.extend_from_slice(b" end");
    assert_eq!(streamed(&r, text.chunks(1000)), r.mask(&text).as_ref());
}

#[test]
fn value_longer_than_hold_is_masked() {
    let value: Vec<u8> = (0..120_000_u32)
        .map(|i| b'a' + (i % 1000 * i % 23) as u8)
        .collect();
    let r = key(&value);
    let mut text = vec![b'a'; 100_000];
    text.extend_from_slice(&value);
    text.extend_from_slice(b"tail");
    assert_eq!(streamed(&r, text.chunks(4096)), r.mask(&text).as_ref());
    assert!(r.mask(&text).ends_with(b"***tail"));
}

#[test]
fn masking_takes_linear_time() {
    let started = Instant::now();
    let chunk = vec![b's'; 65_536];
    for r in [redactor(&["secret"]), redactor(&["s+e"]), redactor(&["ss"])] {
        let mut stream = r.stream();
        for _ in 0..32 {
            let mut out = Vec::new();
            stream.push(&chunk, &mut out);
        }
    }
    assert!(
        started.elapsed() < Duration::from_mins(1),
        "{:?}",
        started.elapsed()
    );
}

/// Returns text that is full of secrets: whole, torn, and overlapping.
fn text(max_parts: usize) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"secret".to_vec()),
        Just(b"secretlong".to_vec()),
        Just(b"abab".to_vec()),
        Just(b"ab".to_vec()),
        Just(b"sec".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\xff\xfe".to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(part, 0..max_parts).prop_map(|parts| parts.concat())
}

fn chunks<'a>(text: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = text;
    let mut out = Vec::new();
    for &size in sizes.iter().cycle().take(text.len()) {
        let (head, tail) = rest.split_at(size.min(rest.len()));
        out.push(head);
        rest = tail;
    }
    out.push(rest);
    out
}

const LITERALS: [&[u8]; 4] = [b"secret", b"secretlong", b"abab", b"\xff\xfe"];

fn literals() -> Redactor {
    make(&["secret", "secretlong", "abab", "ENV:KEY"], b"\xff\xfe")
        .unwrap()
        .unwrap()
}

proptest! {
    #[test]
    fn result_is_independent_of_chunks(text in text(60), sizes in prop::collection::vec(1_usize..40, 1..8)) {
        let r = literals();
        let out = streamed(&r, chunks(&text, &sizes));
        prop_assert_eq!(&out, &by_line(&r, &text));
        for literal in LITERALS {
            prop_assert!(!holds(&out, literal));
        }
        let r = redactor(&["[a-c]+\\b", "secret(long)?$", "^s"]);
        prop_assert_eq!(streamed(&r, chunks(&text, &sizes)), by_line(&r, &text));
    }

    #[test]
    fn text_without_secrets_is_unchanged(
        text in text(60),
        sizes in prop::collection::vec(1_usize..40, 1..8),
    ) {
        let r = redactor(&["never-in-there", "[0-9]{90}"]);
        prop_assert_eq!(streamed(&r, chunks(&text, &sizes)), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn long_lines_are_masked_like_whole_texts(
        text in text(60),
        repeat in 1_usize..3000,
        sizes in prop::collection::vec(1_usize..100_000, 1..8),
    ) {
        let line: Vec<u8> = text.iter().copied().filter(|&b| b != b'\n').collect();
        let long = line.repeat(repeat.min(400_000 / (line.len() + 1) + 1));
        let r = literals();
        let out = streamed(&r, chunks(&long, &sizes));
        prop_assert!(out == by_line(&r, &long));
        for literal in LITERALS {
            prop_assert!(!holds(&out, literal));
        }
        let r = redactor(&["never-in-there", "[0-9]{90}"]);
        prop_assert!(streamed(&r, chunks(&long, &sizes)) == long);
    }
}

#[test]
fn rest_of_lost_secret_is_masked() {
    for (chunks, expected) in [
        (&["t-key", " and a secret-key"][..], "****** a ***"),
        (&["t-key\nnext"][..], "***\nnext"),
        (&["", "\nnext"][..], "\nnext"),
        (&["a", "b", "c long line"][..], "*********line"),
    ] {
        let mut stream = redactor(&["secret-key"]).stream();
        assert_eq!(stream.continue_after_loss(), 9);
        let mut out = Vec::new();
        for chunk in chunks {
            stream.push(chunk.as_bytes(), &mut out);
        }
        stream.finish(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
