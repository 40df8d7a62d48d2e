//! The segment files of a run: listing, lines, checkpoints, compression and preallocation.

pub(crate) mod checkpoint;
pub(crate) mod compress;
pub(crate) mod gzip;
pub(crate) mod line_reader;
pub(crate) mod output_index;
pub(crate) mod preallocate;
pub(crate) mod rev_line_reader;
pub(crate) mod scan_stats;
pub(crate) mod segment_checksum;
pub(crate) mod segment_file;
pub(crate) mod segment_set;
pub(crate) mod sequence;

#[cfg(test)]
mod segment_set_tests;
