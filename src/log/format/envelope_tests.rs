//! Tests of the envelope of a line.

use super::*;
use crate::log::format::event_type::EventType;

fn line() -> Vec<u8> {
    let mut out = Vec::new();
    let id = Ulid::from_parts(1_800_000_000_000, 42);
    write_line(
        &mut out,
        7,
        id,
        "2026-11-21T21:49:00.123456Z",
        br#""type":"note","run_id":"r""#,
    );
    assert_eq!(out.pop(), Some(b'\n'));
    out
}

#[test]
fn line_roundtrips() {
    let line = line();
    let env = Envelope::parse(&line).unwrap();
    assert_eq!(
        (env.seq, env.kind, env.ts()),
        (
            7,
            EventKind::Known(EventType::Note),
            "2026-11-21T21:49:00.123456Z"
        )
    );
    assert_eq!(env.ulid(), Some(Ulid::from_parts(1_800_000_000_000, 42)));
    assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
    let (checked, trailer) = line.split_at(line.len() - TRAILER_LEN);
    assert!(trailer.starts_with(b",\"crc\":\""));
    let hex = format!("{:08x}", crc32c::crc32c(checked));
    assert_eq!(&trailer[8..16], hex.as_bytes());
}

/// Returns a line of which `from` was replaced before its checksum was made.
fn line_with(from: &str, to: &str) -> Vec<u8> {
    let mut line = String::from_utf8(line()).unwrap();
    line.truncate(line.len() - TRAILER_LEN);
    assert!(line.contains(from), "{from}");
    let mut line = line.replacen(from, to, 1).into_bytes();
    seal(&mut line, 0);
    assert_eq!(line.pop(), Some(b'\n'));
    line
}

#[test]
fn malformed_frame_is_detected_behind_matching_checksum() {
    let whole = line();
    assert_eq!(line_with("note", "note"), whole);
    let id = Envelope::parse(&whole).unwrap().id();
    for bad in ['"', '\\', '\u{1}', '\u{7f}'] {
        let (of_id, of_ts) = (format!("{bad}{}", &id[1..]), format!("{bad}026-"));
        let is_escaped = bad != '\u{7f}';
        for (from, to) in [(id, &*of_id), ("2026-", &*of_ts)] {
            let line = line_with(from, to);
            assert_eq!(Envelope::parse(&line).is_err(), is_escaped, "{to:?}");
        }
    }
    let of_two_bytes = format!("é{}", &id[2..]);
    for (from, to) in [
        (id, &*of_two_bytes),
        (",\"id\":\"", ",\"ID\":\""),
        ("\",\"ts\":\"", "\",\"tS\":\""),
        ("\",\"type\":\"", "\",\"typE\":\""),
        ("note", "no\\u0074e"),
        ("note", "no\tte"),
        ("\"seq\":7", "\"seq\":07"),
        ("\"seq\":7", "\"seq\":"),
        ("\"seq\":7", "\"seq\":9007199254740992"),
        ("\"seq\":7", "\"seq\":90071992547409910"),
    ] {
        let line = line_with(from, to);
        assert_eq!(Envelope::parse(&line), Err(DamageReason::BadFrame), "{to}");
    }
    let version = line_with("\"v\":1", "\"v\":2");
    assert_eq!(Envelope::parse(&version), Err(DamageReason::Version));
    let last = line_with("\"seq\":7", "\"seq\":9007199254740991");
    assert_eq!(Envelope::parse(&last).unwrap().seq, MAX_SEQ - 1);
    let later = line_with("note", "später");
    let kind = Envelope::parse(&later).unwrap().kind;
    assert_eq!(kind, EventKind::Unknown("später"));
}

#[test]
fn digits_of_checksum_are_lowercase_hex() {
    for crc in [0, 1, 0x0123_4567, 0x89ab_cdef, 0x9a90_a9f0, u32::MAX] {
        assert_eq!(&hex(crc)[..], format!("{crc:08x}").as_bytes());
    }
    let mut upper = line();
    let digits = upper.len() - 10;
    upper[digits..].make_ascii_uppercase();
    let is_number = upper[digits..digits + 8].iter().all(u8::is_ascii_digit);
    assert!(!is_number, "choose another line");
    assert_eq!(Envelope::parse(&upper), Err(DamageReason::NoChecksum));
}

#[test]
fn every_changed_byte_is_detected() {
    let line = line();
    for at in 0..line.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bad = line.clone();
            bad[at] ^= flip;
            assert!(Envelope::parse(&bad).is_err(), "byte {at} ^ {flip:#x}");
        }
        assert!(Envelope::parse(&line[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn crc32c_matches_check_value() {
    // RFC 3720, B.4: 32 bytes of zeroes.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
}
