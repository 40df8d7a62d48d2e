//! Reads the output of the jobs of one run, from where the last read ended.

use std::io;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli::incomplete_output::warn_incomplete;
use crate::cli::tail::args::{Args, LineCount};
use crate::job::{
    CopyError, InspectedRun, JobOutput, PrintedChunk, SkipLines, UnindexedBytes, inspect_run,
};
use crate::log::JobScope;
use crate::volume::{Dir, FileKey, JobId, layout};

/// How long an inspection stays valid while the log does not change: a supervisor that dies
/// changes nothing in it.
const REINSPECT_INTERVAL: Duration = Duration::from_secs(1);

/// The output of a run.
pub(super) struct RunOutput {
    dir: Dir,
    jobs: Vec<ReadJob>,
    watched: WatchedState,
    unindexed: UnindexedBytes,
}

/// A job whose output is read.
struct ReadJob {
    id: JobId,
    output: Option<JobOutput>,
    skip: SkipLines,
}

/// The destination of the output.
pub(super) enum OutputSink<'a> {
    /// Byte for byte.
    Bytes(&'a mut dyn Write),
    /// With its job, stream and time.
    Chunks(&'a mut dyn FnMut(&JobId, PrintedChunk<'_>) -> io::Result<()>),
}

impl RunOutput {
    /// Opens the output of the run in `dir`.
    pub(super) fn open(dir: Dir) -> Result<Self> {
        let watched = WatchedState::read(&dir)?;
        Ok(Self {
            dir,
            jobs: Vec::new(),
            watched,
            unindexed: UnindexedBytes::Hold,
        })
    }

    /// Passes new output to `sink`. Returns whether there was any.
    pub(super) fn poll(&mut self, args: &Args, sink: &mut OutputSink<'_>) -> Result<bool> {
        self.watched.refresh(&self.dir)?;
        for job in &self.watched.inspected.summary.state.jobs {
            let wanted = args.job.as_ref().is_none_or(|id| job.job_id == **id);
            if wanted && !self.jobs.iter().any(|read| read.id == job.job_id) {
                self.jobs.push(ReadJob {
                    id: job.job_id.clone(),
                    output: None,
                    skip: SkipLines::default(),
                });
            }
        }
        if !args.follow || self.has_ended() {
            self.unindexed = UnindexedBytes::All;
        }
        let mut any = false;
        for job in &mut self.jobs {
            any |= job.poll(&self.dir, args, self.unindexed, sink)?;
            if !args.follow {
                // A run may have thousands of jobs.
                job.output = None;
            }
        }
        // While more arrives, the index may lag behind.
        self.unindexed = if any {
            UnindexedBytes::Hold
        } else {
            UnindexedBytes::Seen
        };
        Ok(any)
    }

    /// Returns the directory of the run.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns whether the run had ended when it was last polled.
    pub(super) fn has_ended(&self) -> bool {
        self.watched.inspected.verdict.state.has_ended()
    }

    /// Returns whether the run has a job whose output is read.
    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Warns about output that was not stored completely or that is in another stream.
    pub(super) fn warn_incomplete(&self, args: &Args) {
        let jobs = &self.watched.inspected.summary.state.jobs;
        warn_incomplete(jobs, args.job.as_deref(), args.stream);
    }
}

impl ReadJob {
    fn poll(
        &mut self,
        dir: &Dir,
        args: &Args,
        unindexed: UnindexedBytes,
        sink: &mut OutputSink<'_>,
    ) -> Result<bool> {
        if self.output.is_none() {
            self.output = JobOutput::open(dir, &self.id)?;
            if let Some(output) = &mut self.output {
                self.skip = match args.n {
                    Some(LineCount::Last(n)) => {
                        output.skip_to_last(n, args.stream).map_err(into_cause)?
                    }
                    Some(LineCount::From(n)) => SkipLines::new(n.saturating_sub(1)),
                    Some(LineCount::All) | None => SkipLines::default(),
                };
            }
        }
        let Some(output) = &mut self.output else {
            return Ok(false);
        };
        let (id, skip) = (&self.id, &mut self.skip);
        let copied = match sink {
            OutputSink::Bytes(to) => output.copy(*to, args.stream, skip),
            OutputSink::Chunks(each) => {
                output.copy_streams(args.stream, skip, unindexed, &mut |chunk| each(id, chunk))
            }
        };
        copied.map_err(into_cause)
    }
}

/// Returns the error of the file or of stdout, which the caller tells apart by its type.
fn into_cause(e: CopyError) -> anyhow::Error {
    match e {
        CopyError::Read(e) => e.into(),
        CopyError::Write(e) => e.into(),
    }
}

/// The state of a run, inspected again only when its log changes: folding the run for each line
/// that a job prints would cost more than the job.
struct WatchedState {
    inspected: InspectedRun,
    log: Option<(FileKey, u64)>,
    at: Instant,
}

impl WatchedState {
    fn read(dir: &Dir) -> Result<Self> {
        // Read this before the inspection, so that a change in between is noticed.
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
