//! The current activity of a job.

use jiff::Timestamp;

use super::watched_run::JobNow;
use crate::log::Stage;
use crate::render::human::format::{duration, size};
use crate::render::human::style::{Role, escape_controls};
use crate::render::human::styled_line::StyledLine;

/// Returns the milliseconds from `ts` to now; 0 if the clock was set back.
pub(crate) fn millis_since(ts: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(ts).as_millis()).unwrap_or(0)
}

/// Returns the text for the remaining time, rounded up to whole seconds.
fn remaining(ms: u64) -> String {
    whole_seconds(ms.div_ceil(1000).saturating_mul(1000))
}

/// Returns the job with its stage, attempt, remaining time and resource usage.
pub(crate) fn activity_line(now: &JobNow, at: Timestamp) -> StyledLine {
    let JobNow { job, more, .. } = now;
    let mut line = StyledLine::with_role(Role::Plain, job.job_id.as_str());
    let mut part = |role, text: String| {
        line.push(Role::Faint, "  ");
        line.push(role, text);
    };
    let attempts = more.attempts.filter(|n| *n > 1);
    let of = attempts.map(|n| format!(" of {n}")).unwrap_or_default();
    let attempt = job.attempt.unwrap_or(1);
    if let Some(retry) = more.retry_at_ms {
        let ms = u64::try_from(retry.saturating_sub(at.as_millisecond())).unwrap_or(0);
        let failed = format!("attempt {attempt}{of} failed");
        let text = match &job.error {
            Some(error) => format!("{failed}: {}", escape_controls(&error.message)),
            None => failed,
        };
        part(Role::Bad, text);
        part(Role::Doubt, format!("retrying in {}", remaining(ms)));
        return line;
    }
    if job.stage != Stage::Started {
        part(
            Role::Plain,
            format!("{}, not started yet", job.stage.as_str()),
        );
        return line;
    }
    // The state of the job contains only the start of its first attempt.
    let first = job.started_ts.filter(|_| attempt == 1);
    let started = more.attempt_ts.or(first);
    let ran = started.map(|ts| millis_since(ts, at));
    let text = match ran {
        Some(ms) => format!("running for {}", whole_seconds(ms)),
        None => "running".to_owned(),
    };
    part(Role::Busy, text);
    if attempt > 1 || attempts.is_some() {
        let role = if attempt > 1 {
            Role::Doubt
        } else {
            Role::Plain
        };
        part(role, format!("attempt {attempt}{of}"));
    }
    if let (Some(limit), Some(ran)) = (more.timeout_ms, ran) {
        let rest = limit.saturating_sub(ran);
        let role = if rest < limit / 10 {
            Role::Doubt
        } else {
            Role::Plain
        };
        part(
            role,
            format!("{} left of {}", remaining(rest), remaining(limit)),
        );
    }
    if let Some(sample) = more.sample {
        part(Role::Plain, format!("{:.0}% CPU", sample.cpu_percent));
        part(Role::Plain, format!("{} RSS", size(sample.rss_bytes)));
    }
    line
}

/// Returns the text for a running duration, in whole seconds.
pub(crate) fn whole_seconds(ms: u64) -> String {
    if ms < 1000 {
        return "0s".to_owned();
    }
    duration(ms / 1000 * 1000).replace(".00s", "s")
}
