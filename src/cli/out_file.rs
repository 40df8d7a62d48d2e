//! `-o FILE`: where an export goes.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::volume::WholeFile;

/// A file that is there when it is whole, or stdout.
pub(super) struct OutFile {
    to: To,
    path: Option<PathBuf>,
}

enum To {
    File(BufWriter<WholeFile>),
    Stdout(BufWriter<io::StdoutLock<'static>>),
}

impl OutFile {
    /// Stdout where no file is named, or `-`.
    pub(super) fn create(path: Option<&Path>) -> Result<Self> {
        let path = path.filter(|path| *path != Path::new("-"));
        let to = match path {
            None => To::Stdout(BufWriter::new(io::stdout().lock())),
            Some(path) => {
                let file = WholeFile::create(path);
                To::File(BufWriter::new(file.with_context(|| cannot(path))?))
            }
        };
        let path = path.map(Path::to_owned);
        Ok(Self { to, path })
    }

    /// Writes some of it.
    pub(super) fn with(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let written = match &mut self.to {
            To::File(file) => write(file),
            To::Stdout(out) => write(out),
        };
        written.with_context(|| self.context())
    }

    /// That was all of it: now the file has its name.
    pub(super) fn finish(self) -> Result<()> {
        let context = self.context();
        let finished = match self.to {
            To::File(file) => file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(WholeFile::finish),
            To::Stdout(mut out) => out.flush(),
        };
        finished.context(context)
    }

    fn context(&self) -> String {
        match &self.path {
            Some(path) => cannot(path),
            None => "cannot write to stdout".to_owned(),
        }
    }
}

fn cannot(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
