//! The record of a job's submission in the log.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::job::redact::secret_variables::variable_reference;
use crate::log::format::payload::{JobSubmitted, parse_payload};
use crate::log::{EventType, Item, Reader, StorageError};
use crate::volume::{Dir, JobId};

/// Returns the records of these jobs from the log of the run in `dir`. A job is missing if its
/// `job_submitted` is damaged or was removed with its segment.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn recorded_jobs(
    dir: &Dir,
    jobs: &[JobId],
) -> Result<HashMap<JobId, JobSubmitted>, StorageError> {
    let mut found = HashMap::new();
    let mut reader = Reader::open(dir)?;
    while found.len() < jobs.len()
        && let Some(item) = reader.next_item()?
    {
        if let Item::Event(event, line) = item
            && event.kind == EventType::JobSubmitted
            && let Some(job) = event.job_id().filter(|job| jobs.contains(job))
            && let Some(submitted) = parse_payload(line)
        {
            found.insert(job, submitted);
        }
    }
    Ok(found)
}

impl JobSubmitted {
    /// Returns the program and its arguments byte for byte; `None` if not all of them were
    /// recorded.
    pub fn recorded_argv(&self) -> Option<Vec<OsString>> {
        if self.argv.is_empty() || self.argv_omitted.is_some() {
            return None;
        }
        match &self.argv_b64 {
            None => Some(self.argv.iter().map(OsString::from).collect()),
            Some(encoded) => encoded.iter().map(|arg| decode(arg)).collect(),
        }
    }

    /// Returns whether the arguments may refer to masked variables: logs of earlier versions do not
    /// say whether `${NAME}` was typed.
    pub(crate) fn has_unknown_references(&self) -> bool {
        let names = self.redacted_vars.iter();
        let mut references = names.map(|name| variable_reference(name));
        let is_used = |reference: String| self.argv.iter().any(|arg| arg.contains(&reference));
        self.argv_vars.is_none() && references.any(is_used)
    }

    /// Returns the working directory byte for byte; `None` if it was not recorded.
    pub fn recorded_cwd(&self) -> Option<PathBuf> {
        let cwd = match &self.cwd_b64 {
            None => OsString::from(&self.cwd),
            Some(encoded) => decode(encoded)?,
        };
        (!cwd.is_empty()).then(|| cwd.into())
    }
}

/// Replaces each `${NAME}` of these variables in an argument with the value.
pub fn expand_references(argument: &OsStr, variables: &[(String, OsString)]) -> OsString {
    let mut rest = argument.as_bytes();
    let mut expanded = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        let found = variables.iter().find_map(|(name, value)| {
            let after = rest.strip_prefix(variable_reference(name).as_bytes())?;
            Some((value.as_bytes(), after))
        });
        let (text, after) = found.unwrap_or((std::slice::from_ref(byte), after));
        expanded.extend_from_slice(text);
        rest = after;
    }
    OsString::from_vec(expanded)
}

fn decode(base64: &str) -> Option<OsString> {
    BASE64.decode(base64).ok().map(OsString::from_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_once() {
        let variables = [("A_TOKEN", "${B_TOKEN}"), ("B_TOKEN", "b")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.into()));
        let expanded = expand_references("x${A_TOKEN}${B_TOKEN}$B_TOKEN${C}".as_ref(), &variables);
        assert_eq!(expanded, "x${B_TOKEN}b$B_TOKEN${C}");
    }

    #[test]
    fn recorded_bytes_are_exact_or_missing() {
        let words = |words: &[&str]| words.iter().copied().map(String::from).collect();
        let text = JobSubmitted {
            argv: words(&["echo", ""]),
            cwd: "/a b".to_owned(),
            ..JobSubmitted::default()
        };
        assert_eq!(text.recorded_argv().unwrap(), ["echo", ""]);
        assert_eq!(text.recorded_cwd(), Some("/a b".into()));
        let bytes = JobSubmitted {
            argv_b64: Some(words(&["ZWNobw==", "/w=="])),
            cwd_b64: Some("L/8=".to_owned()),
            ..text.clone()
        };
        let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        assert_eq!(bytes.recorded_argv().unwrap(), [raw(b"echo"), raw(b"\xff")]);
        assert_eq!(bytes.recorded_cwd(), Some(raw(b"/\xff").into()));
        let shortened = JobSubmitted {
            argv_omitted: Some(1),
            ..text
        };
        assert_eq!(shortened.recorded_argv(), None);
        let malformed = JobSubmitted {
            argv_b64: Some(words(&["?"])),
            ..bytes
        };
        assert_eq!(malformed.recorded_argv(), None);
        assert_eq!(JobSubmitted::default().recorded_argv(), None);
        assert_eq!(JobSubmitted::default().recorded_cwd(), None);
    }
}
