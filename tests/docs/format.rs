//! docs/format.md describes the events that runlog writes.

use std::collections::BTreeSet;
use std::fs;

use runlog::log::{EventType, Item, Reader};
use serde_json::Value;

use super::shell_commands::sample_volume;
use super::{Block, read, root, split};

/// The fields of an event that contain a snapshot.
const SNAPSHOTS: [&str; 4] = [
    "telemetry_before",
    "telemetry_after",
    "process_before",
    "process_after",
];

fn event_types() -> BTreeSet<String> {
    let names = EventType::ALL.iter().map(|kind| kind.as_str().to_owned());
    names.collect()
}

/// Returns the headings of docs/format.md that name an event type, with the text below each.
fn documented_types() -> Vec<(String, String)> {
    let page = read("docs/format.md");
    let (_, types) = page.split_once("\n## Event types\n").unwrap();
    let types = types.split("\n## ").next().unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    for line in types.lines() {
        if let Some(name) = line.strip_prefix("### `") {
            found.push((name.trim_end_matches('`').to_owned(), String::new()));
        } else if let Some((_, text)) = found.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

#[test]
fn every_event_type_is_documented() {
    let documented: BTreeSet<String> = documented_types().into_iter().map(|(n, _)| n).collect();
    assert_eq!(documented, event_types(), "docs/format.md, “Event types”");
}

/// Returns the lines of docs/example-run, oldest first.
pub(crate) fn example_lines() -> Vec<String> {
    let run = root().join("docs/example-run");
    let files = ["events-00000000000000000000.jsonl", "events.jsonl"];
    let texts = files.map(|file| fs::read_to_string(run.join(file)).unwrap());
    texts.concat().lines().map(str::to_owned).collect()
}

#[test]
fn example_run_is_valid_and_has_every_type() {
    let dir = runlog::volume::Dir::open(&root().join("docs/example-run")).unwrap();
    let mut reader = Reader::open(&dir).unwrap();
    let mut seen = BTreeSet::new();
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Event(envelope, _) => seen.insert(envelope.kind.to_string()),
            other => panic!("docs/example-run: {other:?}"),
        };
    }
    assert_eq!(seen, event_types());
}

#[test]
fn sample_lines_match_example_run() {
    let lines = example_lines();
    let shown: Vec<String> = lines.iter().map(|line| without_snapshots(line)).collect();
    for (kind, text) in documented_types() {
        let (blocks, _) = split(&text);
        let samples: Vec<&Block> = blocks.iter().filter(|b| b.language == "json").collect();
        assert!(!samples.is_empty(), "{kind} has no sample line");
        for sample in samples {
            let sample = sample.text.trim_end();
            let known = shown.iter().any(|line| line == sample);
            assert!(
                known && sample.contains(&format!(r#""type":"{kind}""#)),
                "docs/format.md: the sample of {kind} is not a line of docs/example-run"
            );
        }
    }
    let page = read("docs/format.md");
    let (blocks, _) = split(&page);
    let whole = blocks
        .iter()
        .filter(|b| b.heading == "The checksum" && b.language == "json");
    for block in whole {
        assert!(lines.iter().any(|line| line == block.text.trim_end()));
    }
}

/// Returns a line with `{…}` in place of its snapshots.
fn without_snapshots(line: &str) -> String {
    let mut line = line.to_owned();
    for key in SNAPSHOTS {
        let Some((before, rest)) = line.split_once(&format!("\"{key}\":{{")) else {
            continue;
        };
        let mut depth = 1_usize;
        let end = rest.char_indices().find(|(_, c)| {
            depth = match c {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        let after = rest.get(end.unwrap().0..).unwrap();
        line = format!("{before}\"{key}\":{{…{after}");
    }
    line
}

/// Returns the fields in the first column of a table.
fn documented_fields(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn every_written_field_is_documented() {
    let page = read("docs/format.md");
    let volume = sample_volume();
    // Fields that the page describes once for all types.
    let common = [
        "v", "seq", "id", "ts", "type", "run_id", "job_id", "jobs", "crc",
    ];
    let types = documented_types();
    let mut seen = BTreeSet::new();
    let runs = volume.path().join(".omne/var/runs");
    for run in fs::read_dir(runs).unwrap() {
        let log = fs::read_to_string(run.unwrap().path().join("events.jsonl")).unwrap();
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let event = event.as_object().unwrap();
            let kind = event.get("type").and_then(Value::as_str).unwrap();
            seen.insert(kind.to_owned());
            let (_, text) = types.iter().find(|(name, _)| name == kind).unwrap();
            let fields = documented_fields(text);
            for key in event.keys().map(String::as_str) {
                assert!(
                    common.contains(&key) || SNAPSHOTS.contains(&key) || fields.contains(key),
                    "docs/format.md does not describe {key} in {kind}"
                );
            }
            let values = Value::Object(event.clone());
            for key in nested_keys(&values) {
                assert!(
                    page.contains(&format!("`{key}`")) || kind == "note",
                    "docs/format.md does not describe {key}, which is inside of {kind}"
                );
            }
        }
    }
    // A rotation and a repair need more than one run.
    let mut rest = event_types();
    rest.retain(|kind| !seen.contains(kind));
    assert_eq!(
        rest.into_iter().collect::<Vec<_>>(),
        ["log_repaired", "log_rotated", "supervisor_replaced"]
    );
}

#[test]
fn every_field_of_state_is_documented() {
    let page = read("docs/format.md");
    let (_, section) = page.split_once("\n| field of a run |").unwrap();
    let (run, rest) = section.split_once("\n| field of a job |").unwrap();
    let (job, _) = rest.split_once("\n\n").unwrap();
    let schema: Value = serde_json::from_str(&read("docs/schema/runlog.schema.json")).unwrap();
    for (table, definition) in [(run, "folded"), (job, "folded_job")] {
        let fields = schema.pointer(&format!("/$defs/{definition}/properties"));
        for field in fields.and_then(Value::as_object).unwrap().keys() {
            let is_listed = table.contains(&format!("`{field}`"));
            assert!(
                is_listed,
                "docs/format.md does not list {field} of {definition}"
            );
        }
    }
}

/// Returns the keys of all objects in a value, except for those that users choose.
fn nested_keys(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => {
            let mut keys = Vec::new();
            for (key, value) in object {
                keys.push(key.clone());
                if !matches!(key.as_str(), "labels" | "inputs" | "env") {
                    keys.extend(nested_keys(value));
                }
            }
            keys
        }
        Value::Array(values) => values.iter().flat_map(nested_keys).collect(),
        _ => Vec::new(),
    }
}
