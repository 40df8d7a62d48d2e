//! Tests of masking texts.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::redactor::{RedactError, Redactor, SecretSpecs};
use super::stream_masker::StreamMasker;

pub(super) fn make(specs: &[&str], value: &[u8]) -> Result<Option<Redactor>, RedactError> {
    let specs: Vec<String> = specs.iter().map(|s| (*s).to_owned()).collect();
    let env = |name: &str| (name == "KEY").then(|| OsString::from_vec(value.to_vec()));
    SecretSpecs::parse(&specs, &env)?.build()
}

pub(super) fn redactor(specs: &[&str]) -> Redactor {
    make(specs, b"").unwrap().unwrap()
}

pub(super) fn key(value: &[u8]) -> Redactor {
    make(&["ENV:KEY"], value).unwrap().unwrap()
}

fn masked(redactor: &Redactor, text: &str) -> String {
    assert_eq!(
        redactor.is_match(text),
        matches!(redactor.mask_str(text), Cow::Owned(_))
    );
    redactor.mask_str(text).into_owned()
}

#[test]
fn redactor_is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Redactor>();
    check::<StreamMasker>();
}

#[test]
fn no_specifications_make_no_redactor() {
    assert!(make(&[], b"").unwrap().is_none());
}

#[test]
fn pattern_masks_matches_and_its_own_text() {
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
    // An `x` comment must not extend beyond its own pattern, nor a name.
    let r = redactor(&["(?x)foo # bar", "(?P<n>q)1", "(?P<n>q)2"]);
    assert_eq!(masked(&r, "foo q1 q2 bar"), "*** *** *** bar");
}

#[test]
fn overlapping_literals_share_a_mask() {
    let r = redactor(&["secret", "secretlong", "longer"]);
    assert_eq!(masked(&r, "secretlong secret"), "*** ***");
    assert_eq!(masked(&r, "secretlonger!"), "***!");
    assert_eq!(masked(&redactor(&["abab"]), "xabababx ababab"), "x***x ***");
    assert_eq!(masked(&redactor(&["abc"]), "abcabc"), "******");
    // An earlier match of a pattern must not uncover the rest.
    assert_eq!(masked(&redactor(&["x+", "xyz"]), "xxyz"), "***");
}

#[test]
fn variable_value_is_matched_literally() {
    assert_eq!(masked(&key(b"a.c*"), "abc a.c*"), "abc ***");
    let r = key(b"\xff\x00k");
    assert_eq!(r.mask(b"a\xff\x00k!").as_ref(), b"a***!");
    assert_eq!(r.mask(b"a\xffk!").as_ref(), b"a\xffk!");
    // A secret within a character still results in valid text.
    assert_eq!(masked(&key(b"\xa9"), "\u{e9}"), "\u{fffd}***");
}

#[test]
fn lines_of_a_value_are_masked() {
    let r = key(b"-----BEGIN-----\r\nabcdef\nxyz\n\nghij\n");
    assert_eq!(masked(&r, "1 abcdef 2 ghij 3 xyz 4"), "1 *** 2 *** 3 xyz 4");
    assert_eq!(
        masked(&r, "<-----BEGIN-----\r\nabcdef\nxyz\n\nghij\n>"),
        "<***\n>"
    );
    let mut out = Vec::new();
    let mut stream = r.stream();
    stream.push(b"-----BEGIN-----\r\nabc", &mut out);
    stream.push(b"def\nghij", &mut out);
    assert_eq!(out, b"***\r\n***\n***");
    // The whole value is masked across lines too, including its short lines.
    let value = b"ab\nhunter2xyz\ncd";
    for specs in [&["ENV:KEY"][..], &["ENV:KEY", "token=[0-9]+"]] {
        let r = make(specs, value).unwrap().unwrap();
        let (mut stream, mut out) = (r.stream(), Vec::new());
        for byte in b"<ab\nhunter2xyz\ncd>ab\ntoken=12\n{\"key\":\"ab\\nhunter2xyz\\ncd\"}" {
            stream.push(&[*byte], &mut out);
        }
        stream.finish(&mut out);
        let tail = if specs.len() > 1 { "***" } else { "token=12" };
        let expected = format!("<***>ab\n{tail}\n{{\"key\":\"***\"}}");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
    // A value that only ends in a newline is masked as a whole, however short it is.
    assert_eq!(masked(&key(b"abc\n"), "abc\nabc"), "***\n***");
}

#[test]
fn invalid_specifications_are_refused() {
    let number = |specs: &[&str]| make(specs, b"").unwrap_err().to_string();
    insta::assert_snapshot!(number(&["ok", ""]), @"redaction 2 is empty; give a regular expression, or ENV:NAME");
    insta::assert_snapshot!(number(&["hunter2("]), @"redaction 1 is not a regular expression: unclosed group; a literal secret is best given as ENV:NAME, the name of an environment variable that holds it");
    insta::assert_snapshot!(number(&["ENV:hunter2"]), @"redaction 1 names an environment variable that is not set; write ENV:NAME with the name of the variable, not its value");
    insta::assert_snapshot!(number(&["ENV:KEY"]), @"redaction 1 names an environment variable that is empty; set it, or omit the redaction");
    insta::assert_snapshot!(number(&["a*"]), @"redaction 1 matches the empty string and would mask everything; replace `*` with `+`, or require at least one character");
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
fn errors_and_debug_hide_secrets() {
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
    stream.push(b"x hunter", &mut Vec::new());
    insta::assert_snapshot!(format!("{r:?} {stream:?}"), @"Redactor { .. } StreamMasker { held_bytes: 6, .. }");
}
