//! `runlog tail --output`: what the jobs of a run printed.

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::Result;

use super::super::context::say;
use super::super::exit::Code;
use super::Args;
use crate::job::{JobOutput, SkipLines, examine};
use crate::log::Waiter;
use crate::volume::{Dir, JobId};

/// `tail --output`.
pub(super) fn output(args: &Args, dir: &Dir, deadline: Option<Instant>) -> Result<Code> {
    // Watched from before the first look, so that nothing comes in between unseen.
    let waiter = args.follow.then(|| Waiter::new(dir, true));
    let mut out = io::stdout().lock();
    let mut jobs: Vec<(String, Option<JobOutput>, SkipLines)> = Vec::new();
    loop {
        let examined = examine(dir, true)?;
        for job in &examined.overview.state.jobs {
            let wanted = args.job.as_ref().is_none_or(|id| *id == job.job_id);
            if wanted && !jobs.iter().any(|(id, _, _)| *id == job.job_id) {
                jobs.push((job.job_id.clone(), None, SkipLines::default()));
            }
        }
        let mut any = false;
        for (id, output, skip) in &mut jobs {
            if output.is_none()
                && let Ok(job) = id.parse::<JobId>()
            {
                *output = JobOutput::open(dir, &job)?;
                if let (Some(output), Some(n)) = (&mut *output, args.n.filter(|n| *n < usize::MAX))
                {
                    *skip = output.skip_to_last(n, args.stream)?;
                }
            }
            if let Some(output) = output {
                any |= output.copy(&mut out, args.stream, skip)?;
            }
        }
        out.flush()?;
        let Some(waiter) = &waiter else {
            for job in &examined.overview.state.jobs {
                let why = job.output.as_ref().and_then(|o| o.truncated.as_ref());
                if let Some(why) = why.filter(|_| jobs.iter().any(|(id, _, _)| *id == job.job_id)) {
                    say(format_args!("job {}: {why}", job.job_id));
                }
            }
            if let Some(job) = args.job.as_ref().filter(|_| jobs.is_empty()) {
                say(format_args!("error: the run has no job {job}"));
                return Ok(Code::NotFound);
            }
            return Ok(Code::Ok);
        };
        if any {
            continue;
        }
        if examined.inspected.state.has_ended() {
            return Ok(Code::Ok);
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Ok(Code::Running);
        }
        waiter.wait(deadline);
    }
}
