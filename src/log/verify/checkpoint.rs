//! Whether a stored state is what the events before it tell.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::log::state::run_state::{JobState, RunState};

/// Whether what `told` says, as far as it is known here, is what was folded. A field
/// that it lacks is one that its writer did not know.
pub(crate) fn matches_fold(told: &RawValue, folded: &RunState) -> bool {
    compare(told, folded).unwrap_or(false)
}

fn compare(told: &RawValue, folded: &RunState) -> serde_json::Result<bool> {
    // Job by job, so that not all of them are held a second time.
    let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_str(told.get())?;
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
    let told_rest = serde_json::to_value(fields)?;
    let known: RunState = serde_json::from_value(told_rest.clone())?;
    if !same_fields(&told_rest, &serde_json::to_value(known)?, &rest) {
        return Ok(false);
    }
    for (told, folded) in jobs.iter().zip(&folded.jobs) {
        let told: Value = serde_json::from_str(told.get())?;
        let known: JobState = serde_json::from_value(told.clone())?;
        let folded = serde_json::to_value(folded)?;
        if !same_fields(&told, &serde_json::to_value(known)?, &folded) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Compares what is told and `known` to this version with what was folded.
fn same_fields(told: &Value, known: &Value, folded: &Value) -> bool {
    let (Value::Object(told), Value::Object(known)) = (told, known) else {
        return told == folded;
    };
    told.iter()
        .all(|(key, told)| match (known.get(key), folded.get(key)) {
            (None, _) => true,
            (Some(known), Some(folded)) => same_fields(told, known, folded),
            (Some(_), None) => told.is_null(),
        })
}
