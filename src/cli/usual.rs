//! Compares the duration of a run with the usual one.

use crate::job::{inspect_run, usual_duration};
use crate::log::JobScope;
use crate::render::{RunRecord, unusual_text};
use crate::volume::{RunId, Volume};

/// Adds the usual duration of such runs to the record of a run, if it is known.
pub(crate) fn add_usual(record: &mut RunRecord, volume: &Volume) {
    // Problems with other runs do not concern this one.
    let usual = usual_duration(volume, &record.run_id, &record.name);
    record.set_usual(usual.ok().flatten());
}

/// Returns what was unusual about the duration of a run, if anything was.
pub(crate) fn unusual_duration(volume: &Volume, run: &RunId) -> Option<String> {
    let dir = volume.runs().ok()??.open_dir(run.as_str()).ok()?;
    let inspected = inspect_run(&dir, JobScope::Summarized).ok()?;
    let mut record = RunRecord::new(run.clone(), dir.path().to_owned(), inspected);
    add_usual(&mut record, volume);
    unusual_text(&record)
}
