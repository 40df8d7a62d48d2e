//! Ways to damage the logs in `fixtures/parents/`.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

pub type Done = Result<(), Box<dyn Error>>;

/// Appends bytes to a file, like a writer that dies at that point.
pub fn put(path: &Path, bytes: &[u8]) -> Done {
    let mut file = OpenOptions::new().append(true).open(path)?;
    Ok(file.write_all(bytes)?)
}

/// Returns the part of a line that remains if its writer dies while writing it.
pub fn torn(line: &str) -> &[u8] {
    &line.as_bytes()[..line.len() / 2]
}

/// A line that is not an event of any program.
pub const GARBAGE: &[u8] = b"{not an event\n";
