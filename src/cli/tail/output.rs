//! `runlog tail --output` of one run: prints the output of its jobs, byte for byte except on a
//! terminal.

use std::io;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::Instant;

use anyhow::Result;

use super::run_output::{OutputSink, RunOutput};
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::pager::PagedOutput;
use crate::cli::tail::args::Args;
use crate::log::{ChangeWaiter, WatchScope};
use crate::volume::Dir;

/// Prints the output of the run in `dir`.
pub(crate) fn output(
    args: &Args,
    global: &Global,
    dir: Dir,
    deadline: Option<Instant>,
) -> Result<Code> {
    // Watch before the first read, so that no change is missed in between.
    let waiter = args
        .follow
        .then(|| ChangeWaiter::new(&dir, WatchScope::LogAndOutput));
    let mut sanitizer = global.sanitizer();
    let mut out = PagedOutput::new(args.paging());
    let mut run = RunOutput::open(dir)?;
    let code = loop {
        let any = match &mut sanitizer {
            None => run.poll(args, &mut OutputSink::Bytes(&mut out))?,
            Some(sanitizer) => run.poll(
                args,
                &mut OutputSink::Chunks(&mut |job, chunk| {
                    sanitizer.write(&mut out, job.as_str(), chunk.stream, chunk.bytes)
                }),
            )?,
        };
        // While more arrives, write only whole lines.
        if let Some(sanitizer) = sanitizer.as_mut().filter(|_| !any || waiter.is_none()) {
            sanitizer.flush(&mut out)?;
        }
        out.flush()?;
        let Some(waiter) = &waiter else {
            break Code::Ok;
        };
        if any {
            continue;
        }
        if run.has_ended() {
            break Code::Ok;
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            break Code::Running;
        }
        if waiter.wait_for_change_or_close(deadline, io::stdout().as_fd()) {
            return Ok(Code::Ok);
        }
    };
    out.finish()?;
    run.warn_incomplete(args);
    if let Some(job) = args.job.as_ref().filter(|_| !run.has_jobs())
        && code == Code::Ok
    {
        print_stderr(format_args!("error: the run has no job {job}"));
        return Ok(Code::NotFound);
    }
    Ok(code)
}
