//! A self-contained page that shows all selected runs: filters, outcomes and durations by name,
//! and a list.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;

use super::page::{RUNS_SCRIPT, write_page};
use crate::job::RunStatus;
use crate::render::json::run_record::RunRecord;

/// What the page shows beside the runs.
#[derive(Debug)]
pub struct RunsPage {
    /// The title: the path of the volume.
    pub title: String,
    /// When the runs were read.
    pub now: Timestamp,
    /// The prefix of the links to the pages of the runs, if there are such pages.
    pub links: Option<String>,
}

/// The data of the page. A run is an array, and what runs share is stored once: a page of ten
/// thousand runs has to stay small.
#[derive(Serialize)]
struct RunsPageData<'a> {
    title: &'a str,
    now: i64,
    links: Option<&'a str>,
    names: Vec<&'a str>,
    states: Vec<&'static str>,
    runs: Vec<RunRow<'a>>,
    runlog: &'static str,
}

/// The id, the positions of name and state, when it was opened, its duration, the numbers of
/// jobs, failed jobs and events, the size of the log, and why it failed.
type RunRow<'a> = (
    &'a str,
    usize,
    usize,
    Option<i64>,
    Option<u64>,
    usize,
    usize,
    u64,
    u64,
    Option<&'a str>,
);

/// Writes the page of these runs, which are ordered by age.
///
/// # Errors
/// `out` cannot be written.
pub fn write_runs_page(out: &mut dyn Write, page: &RunsPage, runs: &[RunRecord]) -> io::Result<()> {
    let states = RunStatus::ALL;
    let mut names: Vec<&str> = runs.iter().map(|run| &*run.name).collect();
    names.sort_unstable();
    names.dedup();
    let positions: HashMap<&str, usize> = names.iter().copied().zip(0..).collect();
    let rows = runs.iter().map(|run| {
        let state = states.iter().position(|state| *state == run.state);
        // That a run completed needs no explanation.
        let because = (run.state != RunStatus::Completed).then_some(&*run.because);
        (
            run.run_id.as_str(),
            positions.get(&*run.name).copied().unwrap_or_default(),
            state.unwrap_or_default(),
            run.opened_ts.map(Timestamp::as_millisecond),
            run.duration_ms,
            run.jobs_total,
            run.jobs_failed,
            run.events,
            run.bytes,
            because,
        )
    });
    let data = RunsPageData {
        title: &page.title,
        now: page.now.as_millisecond(),
        links: page.links.as_deref(),
        states: states.iter().map(|state| state.as_str()).collect(),
        runs: rows.collect(),
        names,
        runlog: env!("CARGO_PKG_VERSION"),
    };
    write_page(out, &format!("runs of {}", page.title), RUNS_SCRIPT, &data)
}
