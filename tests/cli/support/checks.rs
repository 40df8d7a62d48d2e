//! Checks of every log, and normalized output.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::support::env::{Output, TestEnv};

/// The start of a line of a log.
static HEAD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"^\{"v":1,"seq":\d+,"id":"[0-7][0-9a-hjkmnp-tv-z]{25}","#,
        r#""ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","type":"[a-z_]+","run_id":"[^"]+","#,
    ))
    .unwrap()
});

/// Returns the complete lines of a log as events.
///
/// Checks the envelope of each event (one object, keys in order, a matching CRC), that sequence
/// numbers have no gaps, and that ids increase.
#[track_caller]
pub(crate) fn events(log: &[u8]) -> Vec<Value> {
    let whole = log.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut events: Vec<Value> = Vec::new();
    for line in log[..whole].split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap();
        let event = event(line);
        if let Some(last) = events.last() {
            let seq = |e: &Value| e["seq"].as_u64().unwrap();
            assert_eq!(seq(&event), seq(last) + 1, "seq is not dense");
            let id = |e: &Value| e["id"].as_str().unwrap().to_owned();
            assert!(id(&event) > id(last), "ids do not rise");
        }
        events.push(event);
    }
    events
}

/// Parses one line as an event. Computes the checksum independently of runlog.
#[track_caller]
pub(crate) fn event(line: &[u8]) -> Value {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let at = line
        .len()
        .checked_sub(18)
        .unwrap_or_else(|| panic!("{}", shown()));
    let crc = format!(r#","crc":"{:08x}"}}"#, crc32c::crc32c(&line[..at]));
    assert_eq!(String::from_utf8_lossy(&line[at..]), crc, "{}", shown());
    assert!(HEAD.is_match(&shown()), "{}", shown());
    serde_json::from_slice(line).unwrap()
}

/// Returns the exit code, stdout and stderr in one text, without the parts that differ between
/// runs.
pub(crate) fn snapshot(env: &TestEnv, output: &Output) -> String {
    let mut text = format!("exit {}\n", output.code);
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            let said = String::from_utf8_lossy(bytes);
            write!(text, "-- {name}\n{}\n", said.trim_end_matches('\n')).unwrap();
        }
    }
    normal(env, &text)
}

/// Returns text without paths, ids, times, sizes and pids.
pub(crate) fn normal(env: &TestEnv, text: &str) -> String {
    let mut text = text.replace(env.root().to_str().unwrap(), "[ROOT]");
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        let host = host.trim_end();
        text = text.replace(&format!(" on {host}"), " on [HOST]");
    }
    for (pattern, with) in [
        (r"\b[0-7][0-9a-hjkmnp-tv-z]{25}\b", "[ULID]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", "[TIME]"),
        (r"\b\d+(\.\d+)? (B|KiB|MiB|GiB)\b", "[SIZE]"),
        (r"\b\d+(\.\d+)?(ms|s)\b", "[DURATION]"),
        (r"\b(process|pid) \d+", "$1 [PID]"),
        (r"\.jsonl:(\d+):\d+", ".jsonl:$1:[OFFSET]"),
        // The width of a column depends on all of these.
        (r"(\S)  +", "$1  "),
        (r"(?m)^ +", " "),
        (r"(?m) +$", ""),
    ] {
        let pattern = Regex::new(pattern).unwrap();
        text = pattern.replace_all(&text, with).into_owned();
    }
    text
}

/// Returns one line per number.
pub(crate) fn numbered(numbers: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> String {
    let lines: Vec<_> = numbers.map(line).collect();
    lines.join("\n") + "\n"
}

/// Asserts that there is exactly one line `error: …`, the first one.
#[track_caller]
pub(crate) fn assert_one_error(output: &Output) {
    let stderr = output.stderr();
    let errors = stderr.lines().filter(|l| l.starts_with("error: ")).count();
    assert!(errors == 1 && stderr.starts_with("error: "), "{stderr:?}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(output.stdout(), "");
}
