//! The end of the output of failed jobs, which usually says why they failed.

use crate::job::{JobOutput, UnindexedBytes, last_output_bytes};
use crate::log::StreamId;
use crate::render::{OUTPUT_TAIL_BYTES, RunRecord, last_text_lines};
use crate::volume::{Dir, JobId};

/// The number of lines to show for each job.
const LINES: usize = 10;
/// The maximum number of jobs whose output is shown.
const MAX_JOBS: usize = 5;

/// Adds the last lines of output to the failed jobs of a run: those of stderr, or of all output
/// if stderr is empty. Output that cannot be read is left out.
pub(super) fn add_last_output(run: &mut RunRecord, dir: &Dir) {
    let failed = run.jobs.iter_mut().filter(|job| job.error.is_some());
    for job in failed.take(MAX_JOBS) {
        job.last_output = last_text_lines(&stderr_tail(dir, &job.job_id), LINES);
        if job.last_output.is_empty() {
            let all = last_output_bytes(dir, &job.job_id, OUTPUT_TAIL_BYTES);
            job.last_output = last_text_lines(&all.unwrap_or_default(), LINES);
        }
    }
}

/// Returns the end of a job's stderr; empty if it is unknown.
fn stderr_tail(dir: &Dir, job: &JobId) -> Vec<u8> {
    let mut tail = Vec::new();
    let Ok(Some(mut output)) = JobOutput::open(dir, job) else {
        return tail;
    };
    let only = Some(StreamId::Stderr);
    let mut skip = output.skip_to_last(LINES, only).unwrap_or_default();
    let copied = output.copy_streams(only, &mut skip, UnindexedBytes::Hold, &mut |chunk| {
        tail.extend_from_slice(chunk.bytes);
        let excess = tail.len().saturating_sub(OUTPUT_TAIL_BYTES);
        tail.drain(..excess);
        Ok(())
    });
    copied.map_or_else(|_| Vec::new(), |_| tail)
}
