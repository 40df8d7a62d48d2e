//! JSON Lines: the reports that commands print with `--json`.

pub(crate) mod gap_report;
pub(crate) mod gc_report;
pub(crate) mod json_lines;
pub(crate) mod recover_report;
pub(crate) mod rotate_report;
pub(crate) mod run_diff;
pub(crate) mod run_record;
