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
use crate::volume::RunId;

/// The facts on the page other than the runs.
#[derive(Debug)]
pub struct RunsPage {
    /// The title: the path of the volume.
    pub title: String,
    /// When the runs were read.
    pub now: Timestamp,
    /// The prefix of links to the pages of the runs, if those pages exist.
    pub links: Option<String>,
    /// The runs without such a page.
    pub unlinked: Vec<RunId>,
}

/// The data of the page. To keep a page of ten thousand runs small, a run is an array, and
/// shared values are stored once.
#[derive(Serialize)]
struct RunsPageData<'a> {
    title: &'a str,
    now: i64,
    links: Option<&'a str>,
    unlinked: &'a [RunId],
    names: Vec<&'a str>,
    states: Vec<&'static str>,
    runs: Vec<RunRow<'a>>,
    runlog: &'static str,
}

/// A run: its id, the positions of its name and state, when it was opened, its duration, the CPU
/// time of its jobs in milliseconds, the peak memory of the largest in bytes, the numbers of
/// jobs, failed jobs and events, the size of the log, and why it failed.
type RunRow<'a> = (
    &'a str,
    usize,
    usize,
    Option<i64>,
    Option<u64>,
    Option<u64>,
    Option<u64>,
    usize,
    usize,
    u64,
    u64,
    Option<&'a str>,
);

/// Writes the page of the runs, which are ordered by age.
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
        // A completed run needs no explanation.
        let because = (run.state != RunStatus::Completed).then_some(&*run.because);
        (
            run.run_id.as_str(),
            positions.get(&*run.name).copied().unwrap_or_default(),
            state.unwrap_or_default(),
            run.opened_ts.map(Timestamp::as_millisecond),
            run.duration_ms,
            run.jobs
                .iter()
                .filter_map(|job| job.cpu_ms)
                .reduce(u64::saturating_add),
            run.max_rss_bytes(),
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
        unlinked: &page.unlinked,
        states: states.iter().map(|state| state.as_str()).collect(),
        runs: rows.collect(),
        names,
        runlog: env!("CARGO_PKG_VERSION"),
    };
    write_page(out, &format!("runs of {}", page.title), RUNS_SCRIPT, &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_ten_thousand_runs_is_small() {
        let run = |n: i64| RunRecord {
            run_id: format!("job-{}-01m8gee3ddfbzc96t1htx6wcv0", n % 50)
                .parse()
                .unwrap(),
            name: format!("job-{}", n % 50),
            state: RunStatus::Failed,
            because: "the run is closed and job build failed: it exited with code 1".to_owned(),
            host: None,
            parent: None,
            trace_id: None,
            rerun_of: None,
            rerun_by: None,
            opened_ts: Timestamp::from_second(1_790_000_000 + n * 60).ok(),
            closed_ts: None,
            duration_ms: Some(123_456),
            events: 1_000,
            bytes: 1_000_000,
            damaged: 0,
            jobs_total: 1,
            jobs_failed: 1,
            jobs: Vec::new(),
            retired: None,
            at: None,
            usual: None,
            dir: "/".into(),
            first_id: None,
        };
        let runs: Vec<_> = (0..10_000).map(run).collect();
        let page = RunsPage {
            title: "</script>".to_owned(),
            now: Timestamp::now(),
            links: None,
            unlinked: Vec::new(),
        };
        let mut out = Vec::new();
        write_runs_page(&mut out, &page, &runs).unwrap();
        assert!(out.len() < 5_000_000, "{}", out.len());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("</script>").count(), 2);
    }
}
