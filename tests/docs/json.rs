//! `docs/json.md`: the descriptions of keys are generated from the schema. The tests of the
//! commands check every output against the schema.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use runlog::log::payload::ErrorKind;
use runlog::log::{EventType, RunStatus};
use serde_json::Value;

use super::links::anchor;
use super::{check_or_bless, read};

const MARK: &str = "<!-- From here on generated from schema/runlog.schema.json: edit that. -->\n";

fn schema() -> Value {
    serde_json::from_str(&read("docs/schema/runlog.schema.json")).unwrap()
}

fn definition<'a>(schema: &'a Value, name: &str) -> &'a Value {
    schema.get("$defs").unwrap().get(name).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// Returns the name of the definition that a value refers to.
fn referred(value: &Value) -> Option<&str> {
    text(value, "$ref")?.strip_prefix("#/$defs/")
}

/// Returns the kind of a value in a word or two, with a link if it has a section.
fn kind(schema: &Value, value: &Value) -> String {
    if let Some(name) = referred(value) {
        let target = definition(schema, name);
        return match (name, text(target, "title")) {
            (_, Some(title)) => format!("[object](#{})", anchor(title)),
            ("ts" | "time", _) => "time".to_owned(),
            _ => kind(schema, target),
        };
    }
    if let Some(choices) = value.get("anyOf").and_then(Value::as_array) {
        let mut kinds: Vec<String> = choices.iter().map(|c| kind(schema, c)).collect();
        kinds.dedup_by(|a, b| a.as_str() == "object" && b.contains("object"));
        return kinds.join(" or ");
    }
    if value.get("enum").is_some() {
        return "word".to_owned();
    }
    if let Some(word) = value.get("const") {
        return format!("`{word}`");
    }
    match text(value, "type").unwrap() {
        "array" => format!(
            "array of {}",
            plural(&kind(schema, value.get("items").unwrap()))
        ),
        other => other.to_owned(),
    }
}

fn plural(kind: &str) -> String {
    kind.strip_prefix("[object]")
        .map_or_else(|| format!("{kind}s"), |link| format!("[objects]{link}"))
}

/// Returns the allowed words, if the value is a word.
fn words(schema: &Value, value: &Value) -> Option<Vec<String>> {
    if let Some(name) = referred(value) {
        return words(schema, definition(schema, name));
    }
    if let Some(choices) = value.get("anyOf").and_then(Value::as_array) {
        return choices.iter().find_map(|choice| words(schema, choice));
    }
    if text(value, "type") == Some("array") {
        return words(schema, value.get("items").unwrap());
    }
    let words = value.get("enum")?.as_array().unwrap().iter();
    Some(
        words
            .map(|w| format!("`{}`", w.as_str().unwrap()))
            .collect(),
    )
}

fn generated() -> String {
    let schema = schema();
    let mut page = String::new();
    let definitions = schema.get("$defs").unwrap().as_object().unwrap();
    // serde_json sorts keys. The page keeps the order of the file.
    let source = read("docs/schema/runlog.schema.json");
    let mut sections: Vec<_> = definitions
        .iter()
        .filter(|(_, d)| d.get("title").is_some())
        .collect();
    sections.sort_by_key(|(name, _)| source.find(&format!("\n    \"{name}\": {{")));
    for (name, section) in sections {
        let title = text(section, "title").unwrap();
        let about = text(section, "description").unwrap();
        write!(page, "\n## {title}\n\n{about} In the schema: `{name}`.\n").unwrap();
        let closed = section.get("additionalProperties") == Some(&Value::Bool(false));
        let keys = section.get("properties").and_then(Value::as_object);
        let Some(keys) = keys.filter(|_| closed) else {
            continue;
        };
        page.push_str("\n| key | type | meaning |\n| --- | --- | --- |\n");
        let required = section.get("required").unwrap().as_array().unwrap();
        let start = source.find(&format!("\n    \"{name}\": {{")).unwrap();
        let body = source.get(start..).unwrap();
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_by_key(|(key, _)| body.find(&format!("\n        \"{key}\": {{")));
        for (key, value) in keys {
            let about = text(value, "description");
            let about = about.unwrap_or_else(|| panic!("{name}.{key} has no description"));
            let optional = if required.contains(&Value::from(key.as_str())) {
                ""
            } else {
                ", opt."
            };
            let mut about = about.to_owned();
            if let Some(words) = words(&schema, value)
                && !about.contains(words.first().unwrap())
                && !about.contains("](")
            {
                write!(about, ": {}", words.join(", ")).unwrap();
            }
            let kind = kind(&schema, value);
            writeln!(page, "| `{key}` | {kind}{optional} | {about} |").unwrap();
        }
    }
    page
}

#[test]
fn json_page_is_up_to_date() {
    let stored = read("docs/json.md");
    let (intro, _) = stored.split_once(MARK).unwrap();
    check_or_bless("docs/json.md", &format!("{intro}{MARK}{}", generated()));
}

fn words_of(name: &str) -> BTreeSet<String> {
    let schema = schema();
    let words = definition(&schema, name).get("enum").unwrap().as_array();
    let words = words.unwrap().iter().map(|word| word.as_str().unwrap());
    words.map(str::to_owned).collect()
}

#[test]
fn schema_lists_all_event_types() {
    let states = RunStatus::ALL.iter().map(|state| state.as_str().to_owned());
    assert_eq!(words_of("state"), states.collect());
    let schema = schema();
    let known = definition(&schema, "event")
        .get("allOf")
        .unwrap()
        .as_array();
    let known = known.unwrap().iter().map(|one| {
        let kind = one.pointer("/if/properties/type/const").unwrap();
        kind.as_str().unwrap().to_owned()
    });
    let types = EventType::ALL.iter().map(|kind| kind.as_str().to_owned());
    assert_eq!(known.collect::<BTreeSet<_>>(), types.collect());
    let kinds = definition(&schema, "error").pointer("/properties/kind/enum");
    for kind in kinds.unwrap().as_array().unwrap() {
        let read: ErrorKind = serde_json::from_value(kind.clone()).unwrap();
        assert_eq!(read.as_str(), kind.as_str().unwrap());
    }
}

/// The example run has every event type. All of them match the schema.
#[test]
fn schema_accepts_example_run() {
    let schema = schema();
    let line = serde_json::json!({"$ref": "#/$defs/line", "$defs": schema.get("$defs")});
    let validator = jsonschema::validator_for(&line).unwrap();
    for event in super::format::example_lines() {
        let event: Value = serde_json::from_str(&event).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&event)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}\n{event}");
        // The schema is closed: an unknown key is an error.
        let mut more = event.clone();
        more.as_object_mut()
            .unwrap()
            .insert("new".to_owned(), Value::Null);
        assert!(!validator.is_valid(&more), "{more}");
    }
}
