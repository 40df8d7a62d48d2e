//! `runlog tail`.
use super::Global;
use super::exit::Code;
use anyhow::Result;

/// tail
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn execute(_args: &Args, _global: &Global) -> Result<Code> {
    Ok(Code::Ok)
}
