//! A whole run, written for another program: one trait, one file for each format.

use std::io::{self, Write};

use crate::log::{Item, RunState};

/// Writes a run while it is read.
pub trait Export {
    /// Takes what comes next in the log; `run` is the state with it. Damage tells nothing.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()>;
}
