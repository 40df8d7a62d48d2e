//! Tests of `redact`.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::job::redact::masker::*;

fn make(specs: &[&str], value: &[u8]) -> Result<Option<Redactor>, RedactError> {
    let specs: Vec<String> = specs.iter().map(|s| (*s).to_owned()).collect();
    Redactor::new(&specs, &|name| {
        (name == "KEY").then(|| OsString::from_vec(value.to_vec()))
    })
}

fn redactor(specs: &[&str]) -> Redactor {
    make(specs, b"").unwrap().unwrap()
}

fn key(value: &[u8]) -> Redactor {
    make(&["ENV:KEY"], value).unwrap().unwrap()
}

fn masked(redactor: &Redactor, text: &str) -> String {
    assert_eq!(
        redactor.changed(text),
        matches!(redactor.mask_str(text), Cow::Owned(_))
    );
    redactor.mask_str(text).into_owned()
}

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
fn is_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Redactor>();
    check::<StreamMasker>();
}

#[test]
fn no_specifications_mean_no_redactor() {
    assert!(Redactor::new(&[], &|_| None).unwrap().is_none());
}

#[test]
fn patterns_match_as_expressions_and_as_they_stand() {
    let r = redactor(&["token=[a-z]+"]);
    assert_eq!(masked(&r, "a token=abc1 b"), "a ***1 b");
    assert_eq!(masked(&r, "a token=[a-z]+ b"), "a *** b");
    assert_eq!(masked(&r, "nothing"), "nothing");
    let r = redactor(&["a.b$c"]);
    assert_eq!(masked(&r, "xa.b$cx"), "x***x");
    assert_eq!(
        masked(&redactor(&["(?i)abc"]), "ABC abc abcABC"),
        "*** *** ******"
    );
    // An `x` comment must not reach beyond its own pattern, nor a name.
    let r = redactor(&["(?x)foo # bar", "(?P<n>q)1", "(?P<n>q)2"]);
    assert_eq!(masked(&r, "foo q1 q2 bar"), "*** *** *** bar");
}

#[test]
fn longer_literals_win_and_none_is_left_half() {
    let r = redactor(&["secret", "secretlong", "longer"]);
    assert_eq!(masked(&r, "secretlong secret"), "*** ***");
    assert_eq!(masked(&r, "secretlonger!"), "***!");
    assert_eq!(masked(&redactor(&["abab"]), "xabababx ababab"), "x***x ***");
    assert_eq!(masked(&redactor(&["abc"]), "abcabc"), "******");
    // A match of a pattern that begins earlier must not uncover the rest.
    assert_eq!(masked(&redactor(&["x+", "xyz"]), "xxyz"), "***");
}

#[test]
fn values_are_literal_bytes() {
    assert_eq!(masked(&key(b"a.c*"), "abc a.c*"), "abc ***");
    let r = key(b"\xff\x00k");
    assert_eq!(r.mask(b"a\xff\x00k!").as_ref(), b"a***!");
    assert_eq!(r.mask(b"a\xffk!").as_ref(), b"a\xffk!");
    // A secret that lies within a character still gives valid text.
    assert_eq!(masked(&key(b"\xa9"), "\u{e9}"), "\u{fffd}***");
}

#[test]
fn lines_of_a_value_are_secrets_too() {
    let r = key(b"-----BEGIN-----\r\nabcdef\nxyz\n\nghij\n");
    assert_eq!(masked(&r, "1 abcdef 2 ghij 3 xyz 4"), "1 *** 2 *** 3 xyz 4");
    assert_eq!(
        masked(&r, "<-----BEGIN-----\r\nabcdef\nxyz\n\nghij\n>"),
        "<***\n>"
    );
    assert_eq!(
        streamed(&r, [&b"-----BEGIN-----\r\nabc"[..], b"def\nghij"]),
        b"***\r\n***\n***"
    );
    // A value with just a newline at its end is that value, however short.
    assert_eq!(masked(&key(b"abc\n"), "abc\nabc"), "***\n***");
}

#[test]
fn bad_specifications_are_refused() {
    let number = |specs: &[&str]| make(specs, b"").unwrap_err().to_string();
    insta::assert_snapshot!(number(&["ok", ""]), @"redaction 2 is empty; give a regular expression, or ENV:NAME");
    insta::assert_snapshot!(number(&["hunter2("]), @"redaction 1 is not a regular expression: unclosed group; a literal secret is best given as ENV:NAME, the name of an environment variable that holds it");
    insta::assert_snapshot!(number(&["ENV:hunter2"]), @"redaction 1 names an environment variable that is not set; write ENV:NAME with the name of the variable, not its value");
    insta::assert_snapshot!(number(&["ENV:KEY"]), @"redaction 1 names an environment variable that is empty; set it, or leave the redaction out");
    insta::assert_snapshot!(number(&["a*"]), @"redaction 1 also matches the empty string, so that it would match everywhere; write `+` in place of `*`, or ask for at least one character");
    assert!(matches!(
        make(&["ENV:"], b""),
        Err(RedactError::Unset { number: 1 })
    ));
    assert!(matches!(
        make(&["ENV:KEY"], b"\r\n\n"),
        Err(RedactError::EmptyValue { number: 1 })
    ));
    for empty in [
        "a?",
        "",
        "^",
        "$",
        "\\b",
        "\\B",
        "(?m)^",
        "(?m)$",
        "x|",
        "(a|b*)",
        "()",
        "a{0}",
        "[a-z]|\\b",
        "\\w|\\b",
        "(?-u:\\b)",
        "\\b{start}",
        "\\b{end}",
        "(?R)$",
        "\\b$",
        "(?s).|\\b",
    ] {
        assert!(make(&[empty], b"").is_err(), "{empty}");
    }
    for fine in [
        "a+",
        "^a",
        "a$",
        "\\bfoo\\b",
        "\\s+",
        "(a|b)c*",
        "(?-u:\\xff)",
        ".",
    ] {
        assert!(make(&[fine], b"").is_ok(), "{fine}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    for spec in [
        "hunter2(",
        "hunter2)",
        "[hunter2",
        "hunter2{2,1}",
        "hunter2\\p{hunter2}",
        "(?hunter2)",
        "*hunter2",
        "(?P<hunter2>a)(?P<hunter2>b)",
        "hunter2\n(",
        "\\x{hunter2}",
        "(?P<hunter2",
        "(hunter2{1000}){1000}{1000}",
        "\\hunter2",
        "(hunter2)*",
        "ENV:hunter2",
        "hunter2\nerror: hunter2(",
    ] {
        let error = make(&[spec], b"").expect_err(spec);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            assert!(!format!("{inner} {inner:?}").contains("hunter"));
            source = inner.source();
        }
    }
    let r = redactor(&["hunter2"]);
    let mut stream = r.stream();
    stream.push(b"hunter2", &mut Vec::new());
    insta::assert_snapshot!(format!("{r:?} {stream:?}"), @"Redactor { .. } StreamMasker { held_bytes: 7, .. }");
}

#[test]
fn complete_lines_pass_at_once_and_others_wait() {
    let r = redactor(&["key"]);
    let mut stream = r.stream();
    let mut out = Vec::new();
    stream.push(b"a key\nb k", &mut out);
    assert_eq!(out, b"a ***\n");
    stream.push(b"ey\n\n", &mut out);
    assert_eq!(out, b"a ***\nb ***\n\n");
    stream.push(b"ke", &mut out);
    stream.finish(&mut out);
    assert_eq!(out, b"a ***\nb ***\n\nke");
    // After its end a masker is as new.
    stream.push(b"y", &mut out);
    stream.finish(&mut out);
    assert_eq!(out, b"a ***\nb ***\n\nkey");
}

#[test]
fn little_is_held_of_a_long_line() {
    let r = key(b"key");
    let mut stream = r.stream();
    let mut out = Vec::new();
    for pushed in 1..200_000_usize {
        stream.push(b"x", &mut out);
        assert!(pushed - out.len() < HOLD_BYTES + 4);
        assert!(stream.held.len() <= HOLD_BYTES);
    }
}

/// Every way a secret can lie across the border of what is held.
#[test]
fn a_secret_across_the_border_is_masked() {
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
fn boundaries_are_those_of_the_line_not_of_the_buffer() {
    let r = redactor(&["^abc", "\\bxyz"]);
    let text = b"abcxyz\xc3\xa9".repeat(30_000);
    for size in [1000, 1003, 65_536] {
        assert_eq!(streamed(&r, text.chunks(size)), r.mask(&text).as_ref());
    }
}

#[test]
fn a_match_too_long_to_hold_takes_the_rest_of_its_line() {
    let r = redactor(&["k=[a-z]+"]);
    let mut text = b"go k=".to_vec();
    text.extend_from_slice(&vec![b'z'; 200_000]);
    text.extend_from_slice(b" end\nnext k=a line");
    assert_eq!(streamed(&r, text.chunks(1000)), b"go ***\nnext *** line");
    // Within reach it is masked as it should be.
    let mut text = vec![b'.'; 50_000];
    text.extend_from_slice(b"k=");
    text.extend_from_slice(&vec![b'z'; 30_000]);
    text.extend_from_slice(b" end");
    assert_eq!(streamed(&r, text.chunks(1000)), r.mask(&text).as_ref());
}

#[test]
fn a_value_longer_than_what_is_held_is_masked() {
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
fn long_streams_take_linear_time() {
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

/// Text that is full of the secrets, whole, torn and overlapping.
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
    fn chunks_do_not_matter(text in text(60), sizes in prop::collection::vec(1_usize..40, 1..8)) {
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
    fn what_holds_no_secret_is_passed_on_byte_for_byte(
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
    fn long_lines_are_masked_as_if_seen_whole(
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
