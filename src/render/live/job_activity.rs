//! What a job does at this moment.

use jiff::Timestamp;

use crate::log::Stage;
use crate::render::human::styled_line::StyledLine;
use crate::render::human::text::{Role, duration, escape_controls, size};
use crate::render::live::JobNow;
use crate::volume::parse_ts;

/// Milliseconds from then to now; a clock that went back counts as no time.
pub(crate) fn since(ts: &str, now: Timestamp) -> Option<u64> {
    let ms = now.duration_since(parse_ts(ts)?).as_millis();
    Some(u64::try_from(ms).unwrap_or(0))
}

/// A time that is still to come, in whole seconds.
fn left(ms: u64) -> String {
    whole(ms.div_ceil(1000).saturating_mul(1000))
}

/// The job, its stage, its attempt, what is left of its time, and what it uses.
pub(crate) fn doing(now: &JobNow, at: Timestamp) -> StyledLine {
    let JobNow { job, more, .. } = now;
    let mut line = StyledLine::with_role(Role::Plain, escape_controls(&job.job_id));
    let mut part = |tone, text: String| {
        line.add(Role::Faint, "  ");
        line.add(tone, text);
    };
    let attempts = more.attempts.filter(|n| *n > 1);
    let of = attempts.map(|n| format!(" of {n}")).unwrap_or_default();
    let attempt = job.attempt.unwrap_or(1);
    if let Some(retry) = more.retry_at_ms {
        let ms = u64::try_from(retry.saturating_sub(at.as_millisecond())).unwrap_or(0);
        let why = job
            .error
            .as_ref()
            .map(|e| escape_controls(&e.message).into_owned());
        let failed = format!("attempt {attempt}{of} failed");
        let text = why.map_or(failed.clone(), |why| format!("{failed}: {why}"));
        part(Role::Bad, text);
        part(Role::Doubt, format!("tried again in {}", left(ms)));
        return line;
    }
    if job.stage != Stage::Started {
        part(
            Role::Plain,
            format!("{}, not started yet", job.stage.as_str()),
        );
        return line;
    }
    // What is known of the first attempt stands in the state of the job.
    let first = job.started_ts.as_ref().filter(|_| attempt == 1);
    let started = more.attempt_ts.as_ref().or(first);
    let ran = started.and_then(|ts| since(ts, at));
    let text = ran.map_or_else(|| "runs".to_owned(), |ms| format!("runs for {}", whole(ms)));
    part(Role::Busy, text);
    if attempt > 1 || attempts.is_some() {
        let tone = if attempt > 1 {
            Role::Doubt
        } else {
            Role::Plain
        };
        part(tone, format!("attempt {attempt}{of}"));
    }
    if let (Some(limit), Some(ran)) = (more.timeout_ms, ran) {
        let rest = limit.saturating_sub(ran);
        let tone = if rest < limit / 10 {
            Role::Doubt
        } else {
            Role::Plain
        };
        part(tone, format!("{} left of {}", left(rest), left(limit)));
    }
    if let Some(sample) = more.sample {
        part(Role::Plain, format!("{:.0}% CPU", sample.cpu_percent));
        part(Role::Plain, format!("{} RSS", size(sample.rss_bytes)));
    }
    line
}

/// A duration that ticks: from a second on in whole seconds.
pub(crate) fn whole(ms: u64) -> String {
    if ms < 1000 {
        return "0s".to_owned();
    }
    duration(ms / 1000 * 1000).replace(".00s", "s")
}
