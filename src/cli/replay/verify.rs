//! `--verify`: lists all faults in a run's files.

use std::io;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::source::ReplaySource;
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit;
use crate::cli::exit::Code;
use crate::cli::replay::Args;
use crate::log::{Fault, verify, verify_wal};
use crate::render::human::verify_report::{fault_line, verify_notes, verify_summary};
use crate::render::json_line;
use crate::volume::RunId;

/// A line of `--verify --json`.
#[derive(Serialize)]
struct FaultLine<'a> {
    run_id: &'a RunId,
    #[serde(flatten)]
    fault: Fault,
}

pub(crate) fn execute(args: &Args, global: &Global, source: &ReplaySource) -> Result<Code> {
    let style = global.style();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let run = source.run();
    let each = |fault| -> Result<()> {
        if args.json {
            let line = FaultLine { run_id: run, fault };
            json_line(&mut out, &line)?;
        } else {
            writeln!(out, "{}", fault_line(&fault, style))?;
        }
        Ok(())
    };
    let verified = match source {
        ReplaySource::Run(_, dir) => verify(dir, each),
        ReplaySource::Wal(_, wal) => verify_wal(wal, each),
    };
    let verified = match verified {
        // The reader of the faults has seen enough.
        Err(e) if exit::is_broken_pipe(&e) => return Ok(Code::Damage),
        verified => verified?,
    };
    let mut written = Ok(());
    if !args.json {
        written = writeln!(out, "{}", verify_summary(run, &verified, style));
    }
    let written = written.and_then(|()| out.flush());
    for note in verify_notes(&verified) {
        print_stderr(format_args!("note: {note}"));
    }
    let code = if verified.faults == 0 {
        Code::Ok
    } else {
        Code::Damage
    };
    exit::answered(written.context("cannot write to stdout"), code)
}
