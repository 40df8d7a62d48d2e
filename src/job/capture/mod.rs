//! Capturing a job's output and passing it through.

mod captured_file;
pub(crate) mod copy_path;
mod index_writer;
pub(crate) mod job_terminal;
pub(crate) mod output_capture;
pub(crate) mod output_file;
pub(crate) mod plan_streams;
pub(crate) mod pump;
pub(crate) mod pump_target;
pub(crate) mod splice_pipe;
pub(crate) mod stream;
pub(crate) mod write_all;
