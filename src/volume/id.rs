//! Validated ids of runs and jobs, and names of locks.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ulid_text::{format_ulid, parse_ulid};

/// The maximum length of an id in bytes.
const MAX_LEN: usize = 128;

/// The reason why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid id {text:?}: {reason}")]
pub struct IdError {
    text: String,
    reason: &'static str,
}

fn check_id(text: &str) -> Result<(), IdError> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_LEN {
        "it is longer than 128 characters"
    } else if text == "latest" {
        "`latest` means the newest run"
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "it must begin with a letter or a digit"
    } else if !text.bytes().all(is_id_byte) {
        "only letters, digits, `.`, `_` and `-` are allowed"
    } else {
        return Ok(());
    };
    Err(IdError {
        text: text.chars().take(MAX_LEN).collect(),
        reason,
    })
}

fn is_id_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

/// Turns `text` into a valid id of at most `max_len` bytes by replacing invalid characters with
/// `-`. Returns `fallback` if nothing usable remains.
fn sanitize(text: &str, max_len: usize, fallback: &str) -> String {
    let mapped: String = text
        .chars()
        .map(|c| {
            if c.is_ascii() && is_id_byte(c as u8) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let trimmed = mapped.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let cut: String = trimmed.chars().take(max_len).collect();
    let cut = cut.trim_end_matches('-');
    if cut.is_empty() || cut == "latest" {
        fallback.to_owned()
    } else {
        cut.to_owned()
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check_id(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check_id(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

id_type!(
    /// The id of a run: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, but not `latest`.
    RunId
);
id_type!(
    /// The id of a job, unique within its run: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, but not
    /// `latest`.
    JobId
);

id_type!(
    /// The name of a lock of `run --lock`: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, but not `latest`.
    LockName
);

impl LockName {
    /// Creates the name of a lock from the name of a run.
    pub fn from_run_name(name: &str) -> Self {
        Self(sanitize(name, MAX_LEN, "run"))
    }
}

impl RunId {
    /// Returns `<name>-<lowercase ulid>`, the form of every id that runlog generates.
    pub fn generate(name: &str, ulid: ulid::Ulid) -> Self {
        // Leave room for the hyphen and the 26 characters of the ULID.
        let name = sanitize(name, MAX_LEN - 27, "run");
        Self(format!("{name}-{}", format_ulid(ulid)))
    }

    /// Returns the ULID at the end of an id that runlog generated.
    pub fn ulid(&self) -> Option<ulid::Ulid> {
        let (_, ulid) = self.0.rsplit_once('-')?;
        parse_ulid(ulid)
    }

    /// Creates an id from the name of a file.
    pub fn from_name(name: &str) -> Self {
        Self(sanitize(name, MAX_LEN, "run"))
    }
}

impl JobId {
    /// Creates an id from the name of a program.
    pub fn from_name(name: &str) -> Self {
        // Leave room for the suffix that `numbered` adds.
        Self(sanitize(name, MAX_LEN - 8, "job"))
    }

    /// Returns the id with the suffix `-n`, for the n-th job of the same name.
    #[must_use]
    pub fn numbered(&self, n: usize) -> Self {
        let base: String = self.0.chars().take(MAX_LEN - 8).collect();
        Self(format!("{base}-{n}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_ids_are_refused() {
        for good in ["a", "0", "build-01k", "A.b_c-d", &"x".repeat(128)] {
            assert!(good.parse::<RunId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "-a",
            ".a",
            "_a",
            "a/b",
            "a b",
            "a\0",
            "a\n",
            "é",
            "latest",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn generated_ids_are_valid() {
        let ulid = ulid::Ulid::from_parts(1, 2);
        for name in [
            "",
            "..",
            "cargo build",
            "/",
            "ünder",
            "latest",
            "-x-",
            &"y".repeat(300),
        ] {
            let id = RunId::generate(name, ulid);
            assert!(id.as_str().parse::<RunId>().is_ok(), "{name} gave {id}");
            let job = JobId::from_name(name);
            assert!(job.as_str().parse::<JobId>().is_ok(), "{name} gave {job}");
            assert!(job.numbered(10_000).as_str().parse::<JobId>().is_ok());
        }
    }
}
