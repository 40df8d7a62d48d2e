//! Tests of validating and compacting a user's JSON.

use proptest::prelude::*;
use serde_json::Value;

use crate::log::format::note_data::*;

const LIMIT: usize = 1 << 20;

fn ok(text: &str) -> String {
    compact(text, LIMIT, None).unwrap().get().to_owned()
}

fn err(text: &str) -> DataError {
    compact(text, LIMIT, None).unwrap_err()
}

fn line(bytes: &[u8]) -> String {
    from_line(bytes, LIMIT, None).unwrap().get().to_owned()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn stars(text: &str) -> Option<String> {
    text.contains("s3\"cret")
        .then(|| text.replace("s3\"cret", "***"))
}

#[test]
fn compact_removes_only_white_space() {
    assert_eq!(
        ok(" {\"b\" : 1.50e+3 ,\r\n\t\"a\":\"x \\/ \\u00e9 é\\t\" , \"b\":[ ] } \n"),
        "{\"b\":1.50e+3,\"a\":\"x \\/ \\u00e9 é\\t\",\"b\":[]}"
    );
    for same in [
        "-0",
        "1e999",
        "123456789012345678901234567890",
        "null",
        "\"\"",
        "\"\\\\\"",
        "[\"\\\"\",\" \"]",
    ] {
        assert_eq!(ok(same), same);
    }
}

#[test]
fn compact_refuses_all_but_one_json_value() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\"}",
        "{'a':1}",
        "1 2",
        "01",
        "nul",
        "NaN",
        "\"a",
        "\"\\x\"",
        "\"a\nb\"",
        "\u{feff}1",
        "\"\\",
        "\"\\u12",
        "[\u{a0}1]",
        "// x\n1",
        "{\"a\":1}}",
    ] {
        assert!(matches!(err(text), DataError::Syntax(_)), "{text:?}");
    }
    insta::assert_snapshot!(err("{\"a\":\n 1 2}"), @"not valid JSON: expected `,` or `}` at line 2 column 4");
}

#[test]
fn compact_refuses_only_real_nul_escapes() {
    for text in [
        "\"\\u0000\"",
        "{\"a\\u0000\":1}",
        "[[\"x\\\\\\u0000y\"]]",
        "\"\\u0041\\u0000\"",
    ] {
        assert!(matches!(err(text), DataError::Nul { .. }), "{text}");
    }
    for text in [
        "\"\\\\u0000\"",
        "\"\\\\\\\\u0000\"",
        "\"\\u00001\"",
        "\"u0000\"",
        "\"\\u0001\"",
    ] {
        let fine = !serde_json::from_str::<String>(text).unwrap().contains('\0');
        assert_eq!(compact(text, LIMIT, None).is_ok(), fine, "{text}");
    }
    insta::assert_snapshot!(
        err("{\n \"k\": \"\\u0000\"}"),
        @r"the string at line 2 column 7 holds a NUL (`\u0000`), which many JSON readers cannot take; leave it out, or encode the bytes as base64"
    );
}

#[test]
fn compact_refuses_lone_surrogates() {
    for text in [
        r#""\ud800""#,
        r#""\uD800x""#,
        r#""\ud800\n""#,
        r#""\ud800\u0041""#,
        r#""\ud800\ud800""#,
        r#""\udc00""#,
        r#""\uDFFF\uD800""#,
        r#"{"\ud83d":1}"#,
        r#""\ud800\\udc00""#,
    ] {
        assert!(
            matches!(err(text), DataError::LoneSurrogate { line: 1, .. }),
            "{text}"
        );
    }
    for text in [r#""\ud83d\ude00""#, r#""\uD83D\uDE00""#, r#""\\ud800""#] {
        assert_eq!(ok(text), text);
    }
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert_eq!(ok(&nested(100)), nested(100));
    assert!(matches!(err(&nested(101)), DataError::TooDeep));
    assert!(matches!(err(&nested(5_000_000)), DataError::TooDeep));
    assert!(matches!(err(&"[".repeat(10_000_000)), DataError::Syntax(_)));
    assert!(matches!(
        err(&"{\"a\":".repeat(2_000_000)),
        DataError::Syntax(_)
    ));
    let wide = format!("[{}1]", "[],".repeat(1000));
    assert_eq!(ok(&wide), wide);
    assert_eq!(ok("\"[[[[{{{\""), "\"[[[[{{{\"");
}

#[test]
fn limit_applies_to_compacted_text() {
    let spaced = format!("{}[1,{} 2]", " ".repeat(50), " ".repeat(50));
    assert_eq!(compact(&spaced, 5, None).unwrap().get(), "[1,2]");
    assert!(matches!(
        compact(&spaced, 4, None),
        Err(DataError::TooLarge { limit_bytes: 4 })
    ));
    assert!(compact("\"abc\"", 5, None).is_ok());
    assert!(compact("\"abc\"", 4, None).is_err());
    assert!(compact("\"a\"", 5, Some(&|_| Some("\u{1}".to_owned()))).is_err());
}

#[test]
fn mask_replaces_decoded_strings_and_keys() {
    let text = r#"{"s3\"cret":["as3\u0022cretb","\u0061",3],"k":"s3"}"#;
    assert_eq!(
        compact(text, LIMIT, Some(&stars)).unwrap().get(),
        r#"{"***":["a***b","\u0061",3],"k":"s3"}"#
    );
    let odd = |_: &str| Some("\"\n\\é".to_owned());
    assert_eq!(
        compact("[\"a\"]", LIMIT, Some(&odd)).unwrap().get(),
        "[\"\\\"\\n\\\\é\"]"
    );
    let nul = |_: &str| Some("\0".to_owned());
    assert!(matches!(
        compact("\"a\"", LIMIT, Some(&nul)),
        Err(DataError::Nul { .. })
    ));
}

#[test]
fn pairs_become_an_object() {
    let made = object_from_pairs(&pairs(&[("b", "1"), ("a", "x=\"\n\u{7f}é")])).unwrap();
    assert_eq!(made.get(), "{\"b\":\"1\",\"a\":\"x=\\\"\\n\u{7f}é\"}");
    assert_eq!(object_from_pairs(&[]).unwrap().get(), "{}");
    assert!(matches!(
        object_from_pairs(&pairs(&[("a", "1"), ("a", "2")])),
        Err(DataError::DuplicateKey(_))
    ));
    assert!(matches!(
        object_from_pairs(&pairs(&[("a", "x\0")])),
        Err(DataError::NulInPair(_))
    ));
}

#[test]
fn pairs_are_added_to_an_object() {
    let add = |base: &str, list: &[(&str, &str)]| {
        let base = RawValue::from_string(base.to_owned()).unwrap();
        with_pairs(&base, &pairs(list)).map(|made| made.get().to_owned())
    };
    assert_eq!(add("{}", &[("a", "1")]).unwrap(), "{\"a\":\"1\"}");
    assert_eq!(add("{ }", &[("a", "1")]).unwrap(), "{\"a\":\"1\"}");
    assert_eq!(
        add("{\"x\":{\"a\":1.0}}", &[("a", "1"), ("b", "")]).unwrap(),
        "{\"x\":{\"a\":1.0},\"a\":\"1\",\"b\":\"\"}"
    );
    assert_eq!(add("{\"x\":1,\"x\":2}", &[]).unwrap(), "{\"x\":1,\"x\":2}");
    for base in ["[]", "1", "\"}\"", "null", "[{}]"] {
        assert!(
            matches!(add(base, &[]), Err(DataError::NotAnObject)),
            "{base}"
        );
    }
    assert!(matches!(
        add("{\"\\u0061\":1}", &[("a", "2")]),
        Err(DataError::DuplicateKey(key)) if key == "a"
    ));
    assert!(matches!(
        add("{}", &[("a", "2"), ("a", "3")]),
        Err(DataError::DuplicateKey(_))
    ));
    assert!(matches!(
        add("{}", &[("a\0", "")]),
        Err(DataError::NulInPair(_))
    ));
}

#[test]
fn line_becomes_json_text_or_base64() {
    assert_eq!(line(b" {\"a\" : 1}\r\n"), "{\"a\":1}");
    assert_eq!(line(b"42"), "42");
    assert_eq!(line(b""), "{\"text\":\"\"}");
    assert_eq!(line(b"\r"), "{\"text\":\"\"}");
    assert_eq!(line(b"\n"), "{\"text\":\"\"}");
    assert_eq!(line(b"  "), "{\"text\":\"  \"}");
    assert_eq!(line(b"hello \"w\"\r"), "{\"text\":\"hello \\\"w\\\"\"}");
    assert_eq!(line(b"a\r\r"), "{\"text\":\"a\\r\"}");
    assert_eq!(line(b"{\"a\":"), "{\"text\":\"{\\\"a\\\":\"}");
    assert_eq!(line(b"a\0b"), "{\"text_b64\":\"YQBi\"}");
    assert_eq!(line(b"\xff\r"), "{\"text_b64\":\"/w0=\"}");
    assert_eq!(line(b"\"\xff\""), "{\"text_b64\":\"Iv8i\"}");
}

#[test]
fn json_line_that_breaks_a_rule_is_an_error() {
    let fails = |bytes: &[u8], limit| from_line(bytes, limit, None).unwrap_err();
    assert!(matches!(
        fails(b"\"\\u0000\"", LIMIT),
        DataError::Nul { .. }
    ));
    assert!(matches!(
        fails(b"[\"\\ud800\"]", LIMIT),
        DataError::LoneSurrogate { .. }
    ));
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    assert!(matches!(fails(deep.as_bytes(), LIMIT), DataError::TooDeep));
    assert!(matches!(fails(b"[1,2]", 4), DataError::TooLarge { .. }));
    assert!(matches!(fails(b"hello", 15), DataError::TooLarge { .. }));
    assert!(from_line(b"hello", 16, None).is_ok());
    assert!(matches!(
        fails(b"\xff\xff\xff", 18),
        DataError::TooLarge { .. }
    ));
    assert!(matches!(
        fails(&b"[".repeat(10_000_000), LIMIT),
        DataError::TooLarge { .. }
    ));
}

#[test]
fn line_is_masked_in_every_form() {
    let masked = |bytes: &[u8]| {
        let made = from_line(bytes, LIMIT, Some(&stars)).unwrap();
        serde_json::from_str::<Value>(made.get()).unwrap()
    };
    assert_eq!(masked(b"as3\"cret\r")["text"], "a***");
    assert_eq!(masked(br#"["s3\"cret"]"#)[0], "***");
    assert_eq!(
        masked(b"\xffs3\"cret\xff")["text_b64"],
        BASE64.encode(b"\xff***\xff")
    );
    assert_eq!(masked(b"s3\"cret\0")["text_b64"], BASE64.encode(b"***\0"));
}

fn json() -> impl Strategy<Value = Value> {
    let text = "[ a-z\"\\\\/\u{1}\u{1f}\n\té\u{2028}😀\\[\\]{}:,]{0,8}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text, inner), 0..6)
                .prop_map(|list| Value::Object(list.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn compacting_keeps_the_value_and_is_idempotent(value in json()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let made = ok(&pretty);
        prop_assert_eq!(&made, &serde_json::to_string(&value).unwrap());
        prop_assert_eq!(&ok(&made), &made);
        prop_assert!(!made.contains('\n'));
        let back: Value = serde_json::from_str(&made).unwrap();
        prop_assert_eq!(back, serde_json::from_str::<Value>(&pretty).unwrap());
    }

    #[test]
    fn identity_mask_keeps_value(value in json()) {
        let text = value.to_string();
        let made = compact(&text, LIMIT, Some(&|s| Some(s.to_owned()))).unwrap();
        prop_assert_eq!(made.get(), text);
    }

    #[test]
    fn any_text_is_accepted_as_by_serde_json(text in "[\\[\\]{}:,\"\\\\u0d8c 1e.\\-]{0,24}") {
        // Both parse strictly; only runlog refuses NUL.
        match compact(&text, LIMIT, None) {
            Ok(made) => prop_assert_eq!(&ok(made.get()), made.get()),
            Err(DataError::Syntax(_)) => {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_err());
            }
            Err(_) => prop_assert!(text.contains("\\u")),
        }
    }

    #[test]
    fn any_line_becomes_one_line(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(made) = from_line(&bytes, LIMIT, None) {
            prop_assert!(!made.get().contains('\n'));
            prop_assert_eq!(&ok(made.get()), made.get());
        }
    }
}
