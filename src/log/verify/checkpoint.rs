//! The comparison of a stored state with the folded one.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::log::state::job_state::JobState;
use crate::log::state::run_state::RunState;

/// Returns whether a stored state equals the folded one.
///
/// Ignores fields that this version does not know, and fields that the stored state lacks
/// because its writer did not know them.
pub(crate) fn matches_fold(stored: &RawValue, folded: &RunState) -> bool {
    compare(stored, folded).unwrap_or(false)
}

fn compare(stored: &RawValue, folded: &RunState) -> serde_json::Result<bool> {
    // Compare job by job, so that not all jobs are in memory a second time.
    let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_str(stored.get())?;
    let jobs: Vec<&RawValue> = match fields.remove("jobs") {
        Some(jobs) => serde_json::from_str(jobs.get())?,
        None => Vec::new(),
    };
    let truncated = match fields.remove("jobs_truncated") {
        Some(truncated) => serde_json::from_str(truncated.get())?,
        None => false,
    };
    let all_jobs = if truncated {
        jobs.len() <= folded.jobs.len()
    } else {
        jobs.len() == folded.jobs.len()
    };
    if !all_jobs {
        return Ok(false);
    }

    let mut rest = folded.truncated()?;
    rest.jobs.clear();
    let rest = serde_json::to_value(rest)?;
    let stored_rest = serde_json::to_value(fields)?;
    let known: RunState = serde_json::from_value(stored_rest.clone())?;
    if !same_fields(&stored_rest, &serde_json::to_value(known)?, &rest) {
        return Ok(false);
    }
    for (stored, folded) in jobs.iter().zip(&folded.jobs) {
        let stored: Value = serde_json::from_str(stored.get())?;
        let known: JobState = serde_json::from_value(stored.clone())?;
        let folded = serde_json::to_value(folded)?;
        if !same_fields(&stored, &serde_json::to_value(known)?, &folded) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Compares the stored fields that this version knows (`known`) with the folded ones.
fn same_fields(stored: &Value, known: &Value, folded: &Value) -> bool {
    let (Value::Object(stored), Value::Object(known)) = (stored, known) else {
        return stored == folded;
    };
    stored
        .iter()
        .all(|(key, stored)| match (known.get(key), folded.get(key)) {
            (None, _) => true,
            (Some(known), Some(folded)) => same_fields(stored, known, folded),
            (Some(_), None) => stored.is_null(),
        })
}
