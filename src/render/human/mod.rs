//! Text for people: tables, timelines and styles.

pub(crate) mod diff_table;
pub(crate) mod event_line;
pub(crate) mod format;
pub(crate) mod found_line;
pub(crate) mod gap_report;
pub(crate) mod gc_report;
mod output_parser;
pub(crate) mod printer;
pub(crate) mod recover_report;
pub(crate) mod rotate_report;
pub(crate) mod run_detail;
pub(crate) mod run_table;
pub(crate) mod sanitize;
pub(crate) mod stats_table;
pub(crate) mod style;
pub(crate) mod styled_line;
pub(crate) mod table;
pub(crate) mod terminal_line;
mod text_attributes;
pub(crate) mod timeline;
pub(crate) mod verify_report;
