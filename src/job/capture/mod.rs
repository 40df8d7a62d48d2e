//! Capturing a job's output and passing it through.

pub(crate) mod output_capture;
pub(crate) mod output_file;
pub(crate) mod plan_streams;
pub(crate) mod pump;
pub(crate) mod splice_pipe;
pub(crate) mod stream;
