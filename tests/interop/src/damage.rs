//! How the logs in `fixtures/parents/` are damaged.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

pub type Done = Result<(), Box<dyn Error>>;

/// Puts bytes at the end of a file, as a writer does that dies then.
pub fn put(path: &Path, bytes: &[u8]) -> Done {
    let mut file = OpenOptions::new().append(true).open(path)?;
    Ok(file.write_all(bytes)?)
}

/// What is left of a line whose writer died while it was written.
pub fn torn(line: &str) -> &[u8] {
    &line.as_bytes()[..line.len() / 2]
}

/// A line that nobody wrote.
pub const GARBAGE: &[u8] = b"{not an event\n";
