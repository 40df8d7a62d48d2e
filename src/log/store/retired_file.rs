//! The lines of `retired.jsonl`, one for each run that gc removed.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use ulid::Ulid;

use super::catalog;
use crate::log::error::StorageError;
use crate::log::format::envelope;
use crate::log::format::envelope::DamageReason;
use crate::log::read::first_event;
use crate::log::segment::line_reader::{FileSpan, LineReader, RawLine};
use crate::volume::{Dir, IoContext, RunId, Volume, layout};

/// The file, opened for reading.
pub(super) struct RetiredFile {
    pub file: Arc<File>,
    /// The length when it was opened, in bytes.
    pub len: u64,
    pub path: PathBuf,
}

impl RetiredFile {
    /// Opens the file; `None` if gc has removed no run yet.
    ///
    /// # Errors
    /// The file exists and cannot be opened.
    pub(super) fn open(volume: &Volume) -> Result<Option<Self>, StorageError> {
        let Some(file) = volume.root().read_in(layout::VAR, layout::RETIRED)? else {
            return Ok(None);
        };
        let path = volume.path().join(layout::VAR).join(layout::RETIRED);
        let len = file.metadata().at("stat", &path)?.len();
        let file = Arc::new(file);
        Ok(Some(Self { file, len, path }))
    }

    /// Returns a reader of the lines from `start` on.
    pub(super) fn lines_from(&self, start: u64) -> LineReader<FileSpan<Arc<File>>> {
        LineReader::from_span(FileSpan::new(Arc::clone(&self.file), start, self.len))
    }
}

/// Parses a line, whose checksum must match.
pub(super) fn parse_line<T: DeserializeOwned>(line: &RawLine<'_>) -> Result<T, DamageReason> {
    if line.too_long {
        return Err(DamageReason::TooLong);
    }
    envelope::check_frame(line.bytes)?;
    serde_json::from_slice(line.bytes).map_err(|_| DamageReason::NotJson)
}

/// Returns the number of lines before `end`.
pub(super) fn count_lines(file: &Arc<File>, end: u64) -> io::Result<u64> {
    let mut lines = LineReader::from_span(FileSpan::new(Arc::clone(file), 0, end));
    let mut count = 0;
    while lines.next_line()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Returns whether a run still exists because gc was interrupted before it removed it.
pub(super) fn still_exists(runs: &Dir, run: &RunId, first_id: Option<Ulid>) -> bool {
    let Ok(Some(dir)) = catalog::open_dir(runs, run) else {
        return false;
    };
    first_event::first_id(&dir).is_ok_and(|first| first == first_id)
}
