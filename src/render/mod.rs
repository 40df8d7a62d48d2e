//! The output of the commands: JSON Lines, text for people, the live view, and exports for other
//! programs.

pub mod export;
pub(crate) mod human;
pub(crate) mod interop;
pub(crate) mod json;
pub(crate) mod live;

pub use crate::render::human::event_line::{event_line, line_time};
pub use crate::render::human::format::set_time_zone;
pub use crate::render::human::found_line::{FoundLines, OutputBytes};
pub use crate::render::human::gap_report::gap_line;
pub use crate::render::human::gc_report::{GcTotal, gc_line};
pub use crate::render::human::printer::Human;
pub use crate::render::human::recover_report::{recovery_lines, undo_lines};
pub use crate::render::human::rotate_report::{Unchanged, rotate_lines};
pub use crate::render::human::run_detail::unusual_text;
pub use crate::render::human::sanitize::{
    Sanitizer, UnfinishedLines, last_text_lines, sanitized_line,
};
pub use crate::render::human::stats_table::write_stats;
pub use crate::render::human::style::{Glyphs, Style, escape_controls};
pub use crate::render::human::timeline::Timeline;
pub use crate::render::interop::as_omne::AsOmne;
pub use crate::render::interop::as_runtimo::AsRuntimo;
pub use crate::render::json::execution::Execution;
pub use crate::render::json::found_record::FoundRecord;
pub use crate::render::json::gap_report::GapReport;
pub use crate::render::json::gc_report::{GcAction, GcReport};
pub use crate::render::json::json_lines::{JsonLines, json_line};
pub use crate::render::json::name_stats::{RunSample, name_stats};
pub use crate::render::json::recover_report::{RecoveryReport, UndoReport};
pub use crate::render::json::rotate_report::{RotateReport, SealedReport};
pub use crate::render::json::run_diff::RunDiff;
pub use crate::render::json::run_printer::RunPrinter;
pub use crate::render::json::run_record::{ReportedAt, RunRecord};
pub use crate::render::live::run_list::{ListFrame, RunNow};
pub use crate::render::live::run_view::RunFrame;
pub use crate::render::live::watched_run::{JobNow, MAX_SHOWN_JOBS, OUTPUT_TAIL_BYTES, WatchedRun};
