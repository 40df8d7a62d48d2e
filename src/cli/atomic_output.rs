//! The destination of an export: `-o FILE`, or stdout.

use std::io;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::context::Global;
use super::usage_error::UsageError;
use crate::render::escape_controls;
use crate::volume::{AtomicFile, Dir, parent_dir, resolve_links};

/// A file that gets its name once it is complete, or stdout.
pub(crate) struct AtomicOutput {
    to: OutputTarget,
    path: Option<PathBuf>,
}

enum OutputTarget {
    File(BufWriter<AtomicFile>),
    Stdout(BufWriter<io::StdoutLock<'static>>),
}

impl AtomicOutput {
    /// Creates the temporary file, or uses stdout if `path` is `-` or missing.
    pub(crate) fn create(path: Option<&Path>, global: &Global) -> Result<Self> {
        let path = path.filter(|path| *path != Path::new("-"));
        let to = match path {
            None => OutputTarget::Stdout(BufWriter::new(io::stdout().lock())),
            Some(path) => {
                // Only runs are stored there, and an export reads their files.
                let runs = global.volume().ok().and_then(|volume| volume.runs().ok()?);
                if runs.is_some_and(|runs| lies_in(path, &runs)) {
                    return Err(belongs_to(path, "the runs of the volume"));
                }
                let file = AtomicFile::create(path);
                OutputTarget::File(BufWriter::new(file.with_context(|| write_context(path))?))
            }
        };
        let path = path.map(Path::to_owned);
        Ok(Self { to, path })
    }

    /// Writes a part of the export.
    pub(crate) fn with(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let written = match &mut self.to {
            OutputTarget::File(file) => write(file),
            OutputTarget::Stdout(out) => write(out),
        };
        written.with_context(|| self.context())
    }

    /// Renames the temporary file into place.
    pub(crate) fn finish(self) -> Result<()> {
        let context = self.context();
        let finished = match self.to {
            OutputTarget::File(file) => file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(AtomicFile::finish),
            OutputTarget::Stdout(mut out) => out.flush(),
        };
        finished.context(context)
    }

    fn context(&self) -> String {
        match &self.path {
            Some(path) => write_context(path),
            None => "cannot write to stdout".to_owned(),
        }
    }
}

/// Returns whether a file is, or would be, below a directory.
fn lies_in(file: &Path, dir: &Dir) -> bool {
    let Ok(Some(file)) = resolve_links(file) else {
        return false;
    };
    let Ok(parent) = parent_dir(&file).canonicalize() else {
        return false;
    };
    let is_it = |parent: &Path| Dir::open(parent).is_ok_and(|found| found.key() == dir.key());
    parent.ancestors().any(is_it)
}

/// Returns the error for an export that would replace one of runlog's files.
pub(crate) fn belongs_to(path: &Path, what: &str) -> anyhow::Error {
    let message = format!(
        "`{}` belongs to {what}",
        escape_controls(&path.to_string_lossy())
    );
    let hint = "name another file with -o";
    UsageError { message, hint }.into()
}

fn write_context(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}
