//! The reports of the commands as data: records that serialize to the lines of `--json`.

pub(crate) mod execution;
pub(crate) mod found_record;
pub(crate) mod gap_report;
pub(crate) mod gc_report;
pub(crate) mod json_lines;
pub(crate) mod name_stats;
pub(crate) mod recover_report;
pub(crate) mod rotate_report;
pub(crate) mod run_diff;
pub(crate) mod run_printer;
pub(crate) mod run_record;
