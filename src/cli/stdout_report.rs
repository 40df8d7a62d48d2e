//! Stdout for what a command reports about its actions.

use std::io;
use std::io::{BufWriter, StdoutLock, Write as _};

use anyhow::{Context as _, Result};

use super::exit;
use super::exit::Code;

/// The report of a command on stdout. After the first error, the command continues without
/// printing, because its actions must not depend on who reads about them.
#[derive(Debug)]
pub(crate) struct StdoutReport {
    /// The first error.
    written: io::Result<()>,
}

impl StdoutReport {
    pub(crate) fn new() -> Self {
        Self { written: Ok(()) }
    }

    /// Prints a part of the report, unless an earlier part could not be printed.
    pub(crate) fn print(
        &mut self,
        write: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> io::Result<()>,
    ) {
        if self.written.is_ok() {
            let mut out = BufWriter::new(io::stdout().lock());
            self.written = write(&mut out).and_then(|()| out.flush());
        }
    }

    /// Returns the exit code of the command, which is `code` even if the reader has left.
    ///
    /// # Errors
    /// Returns the first error of stdout.
    pub(crate) fn finish(self, code: Code) -> Result<Code> {
        exit::answered(self.written.context("cannot write to stdout"), code)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn first_error_ends_printing() {
        let mut report = StdoutReport::new();
        report.print(|_| Err(ErrorKind::StorageFull.into()));
        report.print(|_| panic!("stdout cannot be written"));
        let error = report.finish(Code::Ok).unwrap_err();
        assert!(error.to_string().starts_with("cannot write to stdout"));
    }

    #[test]
    fn closed_stdout_keeps_exit_code() {
        for kind in [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
            let mut report = StdoutReport::new();
            report.print(|_| Err(kind.into()));
            assert_eq!(report.finish(Code::Running).unwrap(), Code::Running);
        }
    }
}
