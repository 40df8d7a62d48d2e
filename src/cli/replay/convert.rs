//! `--as`: the run as a log that another program reads.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::source::Source;
use super::{Args, Next, read, warn};
use crate::cli::exit::{Code, UsageError};
use crate::log::{Fold, Item};
use crate::render::{AsOmne, AsRuntimo, Export, safe};

/// A program that reads logs of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Target {
    /// omne-cli 0.2: `.omne/var/runs/<id>/events.jsonl`
    Omne,
    /// runtimo-core 0.1 and 0.10: its write-ahead log
    Runtimo,
}

pub(super) fn execute(args: &Args, source: &Source, target: Target) -> Result<Code> {
    let mut export: Box<dyn Export> = match target {
        Target::Omne => Box::new(AsOmne::new(source.run().clone())),
        Target::Runtimo => Box::new(AsRuntimo::default()),
    };
    let mut out: Box<dyn Write> = match &args.out {
        None => Box::new(io::stdout().lock()),
        Some(path) => Box::new(create(path, source)?),
    };
    let mut out = BufWriter::new(&mut out);
    let context = || match &args.out {
        None => "cannot write to stdout".to_owned(),
        Some(path) => format!("cannot write {}", path.display()),
    };
    let mut fold = Fold::default();
    let code = read(args, source, |item| {
        fold.take(item);
        if let Item::Damage(damage) = item {
            warn(damage);
        }
        let written = export.item(&mut out, item, &fold.state);
        written.with_context(context)?;
        Ok(Next::Read)
    })?;
    out.flush().with_context(context)?;
    Ok(code)
}

/// Makes the file, or empties it; but not one that is read.
fn create(path: &Path, source: &Source) -> Result<File> {
    if source.has(path) {
        let message = format!(
            "{} belongs to the log that is read",
            safe(&path.to_string_lossy())
        );
        let hint = "name a file elsewhere with -o";
        return Err(UsageError { message, hint }.into());
    }
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}
