//! One file for each row of the table.

mod many;
mod r01_append;
mod r02_batch;
mod r03_durable;
mod r04_processes;
mod r05_paced;
mod r06_held;
mod r07_read;
mod r08_tail;
mod r09_status;
mod r10_telemetry;
mod r11_run;
mod r12_output;
mod r13_compress;
mod r14_gc;
mod r15_growth;
mod r16_build;
mod r17_shared;
mod r18_two_processes;
mod r19_search;
mod r20_processes;
mod r21_stats;

use crate::context::{Context, Scratch};
use crate::measure::Line;
use crate::serve::Done;

/// One row of the table.
pub trait Row {
    /// Returns the number in the table.
    fn number(&self) -> u8;

    /// Returns the work to measure.
    fn work(&self) -> &'static str;

    /// Measures the work and checks that it was done.
    ///
    /// # Errors
    /// A contender failed, or did not do its work.
    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>>;
}

/// Returns all rows in order.
pub fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(r01_append::Append),
        Box::new(r02_batch::InBatches),
        Box::new(r03_durable::Durable),
        Box::new(r04_processes::Processes),
        Box::new(r05_paced::Paced),
        Box::new(r06_held::Held),
        Box::new(r07_read::Reading),
        Box::new(r08_tail::Tail),
        Box::new(r09_status::Status),
        Box::new(r10_telemetry::Telemetry),
        Box::new(r11_run::RunTrue),
        Box::new(r12_output::Output),
        Box::new(r13_compress::Compress),
        Box::new(r14_gc::Removal),
        Box::new(r15_growth::Growth),
        Box::new(r16_build::Build),
        Box::new(r17_shared::Shared),
        Box::new(r18_two_processes::TwoProcesses),
        Box::new(r19_search::Search),
        Box::new(r20_processes::ManyProcesses),
        Box::new(r21_stats::Stats),
    ]
}
