//! Notes about output that was read but is not all that the user asked for.

use crate::cli::context::print_stderr;
use crate::log::{JobState, StreamId};

/// Warns about output that was not stored completely or that is in another stream. `only` and
/// `stream` are the job and the stream that the user asked for.
pub(super) fn warn_incomplete(jobs: &[JobState], only: Option<&str>, stream: Option<StreamId>) {
    let is_wanted = |job: &&JobState| only.is_none_or(|only| job.job_id == *only);
    let outputs = || {
        let wanted = jobs.iter().filter(is_wanted);
        wanted.filter_map(|job| Some((&job.job_id, job.output.as_ref()?)))
    };
    for (job, output) in outputs() {
        if let Some(why) = &output.truncated {
            print_stderr(format_args!("job {job}: {why}"));
        }
    }
    let is_split = stream.is_some_and(|stream| stream != StreamId::Both);
    if is_split && outputs().any(|(_, output)| output.both_bytes.is_some()) {
        print_stderr(
            "hint: stdout and stderr went to the same place and are stored as one stream; \
             add `--stream both`",
        );
    }
}
