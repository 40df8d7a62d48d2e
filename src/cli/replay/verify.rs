//! `--verify`: everything that is wrong with a run's files.

use std::io::{self, Write as _};

use anyhow::Result;
use serde::Serialize;

use super::Args;
use super::source::Source;
use crate::cli::Global;
use crate::cli::context::say;
use crate::cli::exit::Code;
use crate::log::{Fault, verify, verify_wal};
use crate::render::{json_line, verdict};
use crate::volume::RunId;

/// A fault for programs.
#[derive(Serialize)]
struct Told<'a> {
    run_id: &'a RunId,
    #[serde(flatten)]
    fault: Fault,
}

pub(super) fn execute(args: &Args, global: &Global, source: &Source) -> Result<Code> {
    let style = global.style();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let run = source.run();
    let each = |fault| -> Result<()> {
        if args.json {
            let told = Told { run_id: run, fault };
            json_line(&mut out, &told)?;
        } else {
            writeln!(out, "{}", verdict::fault(&fault, style))?;
        }
        Ok(())
    };
    let verified = match source {
        Source::Run(_, dir) => verify(dir, each),
        Source::Wal(_, wal) => verify_wal(wal, each),
    }?;
    if !args.json {
        writeln!(out, "{}", verdict::sum(run, &verified, style))?;
    }
    out.flush()?;
    for note in verdict::notes(&verified) {
        say(format_args!("note: {note}"));
    }
    Ok(if verified.faults == 0 {
        Code::Ok
    } else {
        Code::Damage
    })
}
