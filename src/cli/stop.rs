//! `runlog stop`.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Error, Result};

use super::context::{Global, print_stderr, warning_printer};
use super::exit;
use super::exit::Code;
use super::redaction::note_redaction;
use super::stdout_report::StdoutReport;
use super::value_parsers::{SignalParser, parse_duration};
use crate::job::{PendingStop, RunStatus, StopOptions, StopOutcome};
use crate::render::escape_controls;
use crate::volume::RunId;

/// Stop running jobs, and wait until they have ended
///
/// runlog sends --signal to the process that runs each job on this host, which passes it on to the
/// job. `--signal KILL` kills the processes of the job at once. After --kill-after, they get
/// SIGKILL. Retries are canceled, before SIGKILL with SIGTERM; rollbacks run, and are waited for.
/// The log records who stopped the run and why, in a note `stop_requested`.
///
/// A process is signaled only if its boot, pid namespace, pid and start time are those in the
/// log.
///
/// RUN is an ID, a name (its newest run), `latest`, or a prefix of an ID that has at least 6
/// characters after the name; `~1` is the run before, as in `build~1`.
///
/// DURATION is a number of seconds, or has units ms, s, m, h, d, w: 90, 1h30m.
///
/// Exit codes: 0 all jobs have ended, even if they already had; 1 a run is pending or lost, or its
/// state is not known; 2 invalid arguments; 3 no such volume or run; 4 a job is still running after
/// --timeout, or cannot be signaled; 7 I/O error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs to stop
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Send this signal first, by its name or number
    #[arg(
        long,
        value_name = "SIGNAL",
        default_value = "TERM",
        value_parser = SignalParser,
        hide_possible_values = true
    )]
    signal: i32,
    /// Wait DURATION for the jobs to end; 0 means do not wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    /// Send SIGKILL to the processes of jobs that have not ended after DURATION, if that is within
    /// --timeout
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    kill_after: Duration,
    /// Record TEXT as the reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let redaction = note_redaction(Some(&volume))?;
    let reason = args.reason.as_deref();
    let options = StopOptions {
        signal: args.signal,
        kill_after: args.kill_after,
        timeout: args.timeout,
        reason: reason.map(|reason| redaction.mask_message(reason).into_owned()),
    };
    let mut code = Code::Ok;
    let mut found = Vec::new();
    for name in &args.runs {
        match global.run_to_change(name) {
            Ok((run, _)) if found.iter().any(|(known, _)| *known == run) => {}
            Ok(run) => found.push(run),
            // One run that does not exist does not keep the others running.
            Err(e) => code = report_error(name, e),
        }
    }
    // Signal all runs before waiting for any.
    let mut pending = Vec::new();
    for (run, dir) in &found {
        match PendingStop::request(&volume, run, dir, &options, &warning_printer()) {
            Ok(stop) => pending.push(stop),
            Err(e) => code = report_error(run.as_str(), e.into()),
        }
    }
    let mut out = StdoutReport::new();
    PendingStop::wait_for_all(pending, |run, stopped| match stopped {
        Ok(outcome) => {
            let one = report(run, &outcome, &options, &mut out);
            if code == Code::Ok {
                code = one;
            }
        }
        Err(e) => code = report_error(run.as_str(), e.into()),
    });
    out.finish(code)
}

fn report_error(run: &str, e: Error) -> Code {
    let (code, text) = exit::explain_for_run(run, e);
    print_stderr(text);
    code
}

/// Reports the outcome for a run, and returns its exit code.
fn report(
    run: &RunId,
    outcome: &StopOutcome,
    options: &StopOptions,
    out: &mut StdoutReport,
) -> Code {
    let (verdict, text, code) = match outcome {
        StopOutcome::Ended(verdict) => (verdict, "stopped", Code::Ok),
        StopOutcome::NotRunning(verdict) => match verdict.state {
            RunStatus::Pending | RunStatus::Lost | RunStatus::Unknown => {
                (verdict, "not stopped", Code::Negative)
            }
            _ => (verdict, "not running", Code::Ok),
        },
        StopOutcome::StillRunning(verdict) => (verdict, "still running", Code::Running),
        StopOutcome::NotSignaled(verdict) => (verdict, "not stopped", Code::Running),
    };
    let (state, because) = (verdict.state.as_str(), escape_controls(&verdict.because));
    out.print(|out| writeln!(out, "{run}  {text}; it is {state}: {because}"));
    if matches!(outcome, StopOutcome::StillRunning(_))
        && options.signal != libc::SIGKILL
        && options.kill_after > options.timeout
    {
        print_stderr(
            "hint: to send SIGKILL too, give a --kill-after that is shorter than --timeout",
        );
    }
    if verdict.state == RunStatus::Lost {
        print_stderr(format_args!(
            "hint: recover the run with `runlog replay {run} --recover`"
        ));
    }
    code
}
