//! Compares the duration of a run with the usual one.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::job::{UsualDuration, inspect_run, usual_duration};
use crate::log::JobScope;
use crate::render::{RunRecord, unusual_text};
use crate::volume::{RunId, Volume};

/// How long the end of a run may wait for what is usual.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// Adds the usual duration of such runs to the record of a run, if it is known.
pub(crate) fn add_usual(record: &mut RunRecord, volume: &Volume) {
    // Trouble with other runs does not concern this one.
    let runs = volume.runs().ok().flatten();
    let usual = runs.and_then(|runs| usual_duration(&runs, &record.run_id, &record.name).ok());
    record.set_usual(usual.flatten());
}

/// A search for how long the runs before a run took, beside its job: how long that takes depends
/// on how many runs the volume has.
pub(crate) struct UsualLookup(mpsc::Receiver<Option<UsualDuration>>);

impl UsualLookup {
    /// Starts the search; `None` if it cannot be started.
    pub(crate) fn start(volume: &Volume, run: &RunId, name: &str) -> Option<Self> {
        let runs = volume.runs().ok()??;
        let (run, name) = (run.clone(), name.to_owned());
        let (found, usual) = mpsc::channel();
        let search = move || {
            // The run may end before the search does.
            found
                .send(usual_duration(&runs, &run, &name).ok().flatten())
                .ok();
        };
        let thread = thread::Builder::new().name("usual duration".to_owned());
        thread.spawn(search).ok()?;
        Some(Self(usual))
    }

    /// Returns what was unusual about the duration of the run, which has ended, if anything was.
    pub(crate) fn unusual_duration(&self, volume: &Volume, run: &RunId) -> Option<String> {
        let usual = self.0.recv_timeout(LOOKUP_TIMEOUT).ok()??;
        let dir = volume.runs().ok()??.open_dir(run.as_str()).ok()?;
        let inspected = inspect_run(&dir, JobScope::Summarized).ok()?;
        let mut record = RunRecord::new(run.clone(), dir.path().to_owned(), inspected);
        record.set_usual(Some(usual));
        unusual_text(&record)
    }
}
