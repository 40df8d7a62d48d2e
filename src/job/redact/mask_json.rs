//! Masking the strings of an event.

use serde_json::value::RawValue;

use super::redaction::Redaction;
use crate::log::format::note_data::string_token;

/// The top-level fields of an event whose keys come from the user and are masked too.
const USER_FIELDS: [&str; 3] = ["inputs", "labels", "env"];

/// The fields that contain a word of the format, a time, a digest or an ID, never a text. A masked
/// ID would be a broken link.
const FORMAT_FIELDS: [&str; 11] = [
    "kind",
    "signal",
    "stream",
    "ts",
    "boot_id",
    "rerun_of",
    "rerun_of_job",
    "replaced_runs",
    "trace_id",
    "span_id",
    "parent_span_id",
];

/// Masks all strings of a JSON object: the specified secrets in every string, and the secret
/// variables in messages. Keys, their order, and numbers do not change.
///
/// `json` must have been written by `serde_json`.
///
/// # Errors
/// `json` is not valid JSON.
pub(crate) fn mask_strings(
    json: &str,
    redaction: &Redaction,
) -> Result<Box<RawValue>, serde_json::Error> {
    if redaction.all().is_none() {
        return RawValue::from_string(json.to_owned());
    }
    let mut out = String::with_capacity(json.len());
    // The keys that lead to the current value; empty within arrays.
    let mut path: Vec<String> = Vec::new();
    let mut key = String::new();
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        if c != '"' {
            match c {
                '{' | '[' => path.push(std::mem::take(&mut key)),
                '}' | ']' => drop(path.pop()),
                _ => {}
            }
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        }
        let token = string_token(rest);
        let after = rest.strip_prefix(token).unwrap_or_default();
        let text: String = serde_json::from_str(token)?;
        let is_user_field = path
            .get(1)
            .is_some_and(|k| USER_FIELDS.contains(&k.as_str()));
        if after.starts_with(':') {
            let masked = if is_user_field {
                redaction.mask(&text)
            } else {
                text.as_str().into()
            };
            out.push_str(&serde_json::to_string(&*masked)?);
            key = text;
        } else {
            let in_array = path.last().filter(|_| key.is_empty());
            let is_format = !is_user_field && is_format_field(in_array.unwrap_or(&key));
            let is_message = matches!(key.as_str(), "message" | "truncated");
            let masked = match (is_format, is_message) {
                (true, _) => text.as_str().into(),
                (false, true) => redaction.mask_message(&text),
                (false, false) => redaction.mask(&text),
            };
            out.push_str(&serde_json::to_string(&*masked)?);
        }
        rest = after;
    }
    RawValue::from_string(out)
}

fn is_format_field(key: &str) -> bool {
    FORMAT_FIELDS.contains(&key) || key.ends_with("_ts") || key.ends_with("_b64")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::redact::redaction::SecretEnv;

    fn masked(json: &str) -> String {
        let secret_env = SecretEnv {
            variables: vec![("A_TOKEN".into(), "abcd1234".into())],
            known_names: Vec::new(),
        };
        let specs = ["hunter2".to_owned(), "exit".to_owned(), "a\"b".to_owned()];
        let redaction = Redaction::new(&specs, &|_| None, secret_env).unwrap();
        mask_strings(json, &redaction).unwrap().get().to_owned()
    }

    #[test]
    fn mask_json_masks_strings_and_keeps_structure() {
        let json = r#"{"z":["hunter2",1,{"deep":"xhunter2"}],"a":"x a\"b y","hunter2":1.50}"#;
        let expected = r#"{"z":["***",1,{"deep":"x***"}],"a":"x *** y","hunter2":1.50}"#;
        assert_eq!(masked(json), expected);
    }

    #[test]
    fn ids_of_other_runs_and_times_are_kept() {
        let json = r#"{"rerun_of":"exit-01","rerun_of_job":"exit","replaced_runs":["exit-01","exit-02"],"trace":{"trace_id":"exit","tracestate":"exit"},"signals":[{"signal":"exit","ts":"exit"}],"argv":["exit"]}"#;
        let expected = json
            .replace(r#"tracestate":"exit"#, r#"tracestate":"***"#)
            .replace(r#"argv":["exit"]"#, r#"argv":["***"]"#);
        assert_eq!(masked(json), expected);
    }

    #[test]
    fn keys_of_users_are_masked_and_format_words_kept() {
        let json = r#"{"labels":{"hunter2":"exit","kind":"exit"},"error":{"kind":"exit","message":"exit abcd1234"},"cwd":"abcd1234"}"#;
        let expected = r#"{"labels":{"***":"***","kind":"***"},"error":{"kind":"exit","message":"*** ***"},"cwd":"abcd1234"}"#;
        assert_eq!(masked(json), expected);
    }
}
