//! The text format of Prometheus, for the textfile collector of `node_exporter`.
//!
//! The labels are run names and job ids, never run ids: with a series for each run, the number
//! of series would grow without limit. The metrics of a name are those of its newest run,
//! even if gc removed that one: an alert about a job that no longer succeeds must not stop because
//! its last success is old.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::io::Write;

use jiff::Timestamp;

use crate::job::RunStatus;
use crate::log::{Item, RunState};
use crate::render::export::Export;
use crate::render::json::run_record::{JobRecord, RunRecord};

/// A writer of the metrics of one run.
#[derive(Debug, Default)]
pub struct Prometheus;

impl Export for Prometheus {
    fn item(&mut self, _: &mut dyn Write, _: &Item<'_>, _: &RunState) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        prometheus(out, std::slice::from_ref(run))
    }
}

/// A sample of a metric: its labels and its value.
type MetricSample<'a> = (Vec<(&'static str, &'a str)>, f64);

/// Writes the metrics of the runs, which are ordered by age.
///
/// # Errors
/// `out` cannot be written.
pub fn prometheus(out: &mut dyn Write, runs: &[RunRecord]) -> io::Result<()> {
    // The newest run of each name comes last.
    let mut names: BTreeMap<&str, Vec<&RunRecord>> = BTreeMap::new();
    for run in runs {
        names.entry(&run.name).or_default().push(run);
    }
    let mut text = Text(String::new());
    let states = || RunStatus::ALL.iter().map(|state| state.as_str());
    let stored: Vec<_> = names
        .iter()
        .map(|(name, runs)| {
            let runs = runs.iter().copied().filter(|run| run.retired.is_none());
            (*name, runs.collect::<Vec<_>>())
        })
        .filter(|(_, runs)| !runs.is_empty())
        .collect();
    let all = stored.iter().flat_map(|(name, runs)| {
        states().map(move |state| {
            let n = runs.iter().filter(|run| run.state.as_str() == state);
            (vec![("name", *name), ("state", state)], n.count() as f64)
        })
    });
    text.gauge("runlog_runs", "Runs on the volume by state.", all);
    let sum = |of: fn(&RunRecord) -> f64| {
        stored
            .iter()
            .map(|(name, runs)| (vec![("name", *name)], runs.iter().map(|run| of(run)).sum()))
            .collect::<Vec<_>>()
    };
    let bytes = sum(|run| run.bytes as f64);
    text.gauge("runlog_log_bytes", "Size of the logs of the runs.", bytes);
    let damaged = sum(|run| run.damaged as f64);
    let help = "Damaged places found in the logs of the runs.";
    text.gauge("runlog_log_damaged_places", help, damaged);

    let newest: Vec<_> = names
        .iter()
        .filter_map(|(name, runs)| Some((*name, *runs.last()?)))
        .collect();
    let all = newest.iter().flat_map(|(name, run)| {
        states().map(|state| {
            let is = f64::from(u8::from(run.state.as_str() == state));
            (vec![("name", *name), ("state", state)], is)
        })
    });
    let help = "State of the newest run of the name: 1 for the state that it is in.";
    text.gauge("runlog_run_last_state", help, all);
    let of = |value: fn(&RunRecord) -> Option<f64>| {
        let value = move |(name, run): &(_, &RunRecord)| Some((vec![("name", *name)], value(run)?));
        newest.iter().filter_map(value).collect::<Vec<_>>()
    };
    text.gauge(
        "runlog_run_last_opened_timestamp_seconds",
        "When the newest run was opened.",
        of(|run| seconds(run.opened_ts)),
    );
    text.gauge(
        "runlog_run_last_closed_timestamp_seconds",
        "When the newest run was closed.",
        of(|run| seconds(run.closed_ts)),
    );
    text.gauge(
        "runlog_run_last_duration_seconds",
        "From the first event of the newest run to its close.",
        of(|run| run.closed_ts.and(Some(run.duration_ms? as f64 / 1e3))),
    );
    text.gauge(
        "runlog_run_last_failed_jobs",
        "Jobs of the newest run that failed.",
        of(|run| Some(run.jobs_failed as f64)),
    );
    let succeeded = names.iter().filter_map(|(name, runs)| {
        let completed = |run: &&&RunRecord| run.state == RunStatus::Completed;
        let run = runs.iter().rev().find(completed)?;
        Some((vec![("name", *name)], seconds(run.closed_ts)?))
    });
    text.gauge(
        "runlog_run_last_success_timestamp_seconds",
        "When the newest run that completed was closed.",
        succeeded,
    );
    jobs(&mut text, &newest);
    out.write_all(text.0.as_bytes())
}

fn jobs(text: &mut Text, newest: &[(&str, &RunRecord)]) {
    let of = |value: fn(&JobRecord) -> Option<f64>| {
        let mut samples: Vec<MetricSample<'_>> = Vec::new();
        for (name, run) in newest {
            let mut seen = BTreeSet::new();
            for job in run.jobs.iter().filter(|job| seen.insert(&job.job_id)) {
                let labels = vec![("name", *name), ("job_id", job.job_id.as_str())];
                samples.extend(value(job).map(|value| (labels, value)));
            }
        }
        samples
    };
    text.gauge(
        "runlog_job_last_exit_code",
        "Exit code of a job of the newest run.",
        of(|job| job.exit_code.map(f64::from)),
    );
    text.gauge(
        "runlog_job_last_attempts",
        "Attempts of a job of the newest run.",
        of(|job| job.attempt.map(f64::from)),
    );
    text.gauge(
        "runlog_job_last_duration_seconds",
        "Duration of the last attempt of a job of the newest run.",
        of(|job| Some(job.duration_ms.filter(|_| job.stage.is_terminal())? as f64 / 1e3)),
    );
    text.gauge(
        "runlog_job_last_cpu_seconds",
        "CPU time of a job of the newest run.",
        of(|job| Some(job.cpu_ms? as f64 / 1e3)),
    );
    text.gauge(
        "runlog_job_last_max_rss_bytes",
        "Peak resident set of a job of the newest run.",
        of(|job| job.max_rss_bytes.map(|n| n as f64)),
    );
}

fn seconds(ts: Option<Timestamp>) -> Option<f64> {
    Some(ts?.as_microsecond() as f64 / 1e6)
}

/// The text of the metrics so far.
struct Text(String);

impl Text {
    /// Adds a metric, if it has any samples.
    fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = MetricSample<'a>>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (labels, value) in samples {
            let labels = labels
                .iter()
                .map(|(key, value)| format!("{key}=\"{}\"", label_value(value)));
            let labels: Vec<_> = labels.collect();
            self.push(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.push_str(&text.to_string());
    }
}

/// Escapes a label value as "Text-based format" requires: backslash, quote and line feed.
fn label_value(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
