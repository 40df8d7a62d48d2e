//! `runlog tail --output`: what the jobs of a run printed.

use std::io;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::tail::args::{Args, LineCount};
use crate::job::{InspectedRun, JobOutput, SkipLines, UnindexedBytes, inspect_run};
use crate::log::{ChangeWaiter, JobScope, WatchScope};
use crate::volume::{Dir, FileKey, JobId, layout};

/// How long an inspection holds while the log does not change: a supervisor that dies changes
/// nothing in it.
const REINSPECT_INTERVAL: Duration = Duration::from_secs(1);

/// The state of a run, inspected again only when its log changed: folding the run for each line
/// that a job prints would cost more than the job.
struct WatchedState {
    inspected: InspectedRun,
    log: Option<(FileKey, u64)>,
    at: Instant,
}

impl WatchedState {
    fn read(dir: &Dir) -> Result<Self> {
        // Before the inspection, so that a change in between is seen.
        let log = log_extent(dir)?;
        Ok(Self {
            inspected: inspect_run(dir, JobScope::All)?,
            log,
            at: Instant::now(),
        })
    }

    fn refresh(&mut self, dir: &Dir) -> Result<()> {
        if self.at.elapsed() >= REINSPECT_INTERVAL || log_extent(dir)? != self.log {
            *self = Self::read(dir)?;
        }
        Ok(())
    }
}

/// Returns the identity and the length of the active segment.
fn log_extent(dir: &Dir) -> Result<Option<(FileKey, u64)>> {
    let stat = dir.stat(layout::ACTIVE)?;
    Ok(stat.map(|stat| (FileKey::from(&stat), stat.st_size as u64)))
}

/// `tail --output`.
pub(crate) fn output(
    args: &Args,
    global: &Global,
    dir: &Dir,
    deadline: Option<Instant>,
) -> Result<Code> {
    // Watched from before the first look, so that nothing comes in between unseen.
    let waiter = args
        .follow
        .then(|| ChangeWaiter::new(dir, WatchScope::LogAndOutput));
    let mut out = io::stdout().lock();
    let mut sanitizer = global.sanitizer();
    let mut jobs: Vec<(JobId, Option<JobOutput>, SkipLines)> = Vec::new();
    let mut unindexed = UnindexedBytes::Hold;
    let mut watched = WatchedState::read(dir)?;
    loop {
        watched.refresh(dir)?;
        let examined = &watched.inspected;
        for job in &examined.summary.state.jobs {
            let wanted = args.job.as_ref().is_none_or(|id| job.job_id == **id);
            if wanted && !jobs.iter().any(|(id, _, _)| *id == job.job_id) {
                jobs.push((job.job_id.clone(), None, SkipLines::default()));
            }
        }
        if waiter.is_none() || examined.verdict.state.has_ended() {
            unindexed = UnindexedBytes::All;
        }
        let mut any = false;
        for (id, output, skip) in &mut jobs {
            if output.is_none() {
                *output = JobOutput::open(dir, id)?;
                if let Some(output) = &mut *output {
                    *skip = match args.n {
                        Some(LineCount::Last(n)) => output.skip_to_last(n, args.stream)?,
                        Some(LineCount::From(n)) => SkipLines::new(n.saturating_sub(1)),
                        Some(LineCount::All) | None => SkipLines::default(),
                    };
                }
            }
            let Some(output) = output else {
                continue;
            };
            any |= match &mut sanitizer {
                None => output.copy(&mut out, args.stream, skip)?,
                Some(sanitizer) => {
                    output.copy_streams(args.stream, skip, unindexed, &mut |stream, bytes| {
                        sanitizer.write(&mut out, id.as_str(), stream, bytes)
                    })?
                }
            };
        }
        // While more arrives, only whole lines are written.
        if let Some(sanitizer) = sanitizer.as_mut().filter(|_| !any || waiter.is_none()) {
            sanitizer.flush(&mut out)?;
        }
        out.flush()?;
        let Some(waiter) = &waiter else {
            for job in &examined.summary.state.jobs {
                let why = job.output.as_ref().and_then(|o| o.truncated.as_ref());
                if let Some(why) = why.filter(|_| jobs.iter().any(|(id, _, _)| *id == job.job_id)) {
                    print_stderr(format_args!("job {}: {why}", job.job_id));
                }
            }
            if let Some(job) = args.job.as_ref().filter(|_| jobs.is_empty()) {
                print_stderr(format_args!("error: the run has no job {job}"));
                return Ok(Code::NotFound);
            }
            return Ok(Code::Ok);
        };
        if any {
            unindexed = UnindexedBytes::Hold;
            continue;
        }
        if examined.verdict.state.has_ended() {
            return Ok(Code::Ok);
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Ok(Code::Running);
        }
        if waiter.wait_for_change_or_close(deadline, out.as_fd()) {
            return Ok(Code::Ok);
        }
        unindexed = UnindexedBytes::Seen;
    }
}
