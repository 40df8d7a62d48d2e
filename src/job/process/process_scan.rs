//! One scan of the processes of this host, which all jobs of a run share: there may be thousands
//! of jobs, and of processes.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::job_env::{JOB_VOLUME_VARIABLE, JOBS_SEPARATOR, JOBS_VARIABLE};
use crate::log::read::first_event::first_id;
use crate::telemetry;
use crate::telemetry::LiveProcess;
use crate::volume::{Dir, Volume};

/// The live processes, listed on first use.
#[derive(Debug, Default)]
pub(crate) struct ProcessScan(OnceCell<Option<Vec<ScannedProcess>>>);

/// A live process.
#[derive(Debug)]
pub(crate) struct ScannedProcess {
    pub(crate) process: LiveProcess,
    /// The value of [`JOBS_VARIABLE`], read on first use.
    jobs: OnceCell<Option<Vec<u8>>>,
}

impl ProcessScan {
    /// Returns the processes that are visible to runlog; `None` if they cannot be listed.
    pub(crate) fn processes(&self) -> Option<&[ScannedProcess]> {
        let list = || {
            let live = telemetry::live_processes()?.into_iter();
            let scanned = live.map(|process| ScannedProcess {
                process,
                jobs: OnceCell::new(),
            });
            Some(scanned.collect())
        };
        self.0.get_or_init(list).as_deref()
    }
}

impl ScannedProcess {
    /// Returns whether the process has a job of the run in `dir` in its environment. A process
    /// whose environment cannot be read does not count.
    pub(crate) fn is_in_job(&self, dir: &Dir, entry: &str) -> bool {
        let pid = self.process.pid;
        let jobs = self
            .jobs
            .get_or_init(|| telemetry::env_value(pid, JOBS_VARIABLE));
        jobs.as_ref().is_some_and(|chain| {
            let is_job = |one: &[u8]| one == entry.as_bytes();
            let mut entries = chain.rsplit(|byte| *byte == JOBS_SEPARATOR);
            (entries.next().is_some_and(is_job) && !is_in_other_volume(pid, dir))
                || entries.any(is_job)
        })
    }
}

/// Returns whether the innermost job of a process belongs to another volume, which has a
/// different run with the id of the one in `dir`. If that is not certain, it does not.
fn is_in_other_volume(pid: u32, dir: &Dir) -> bool {
    let there = || {
        let volume = telemetry::env_value(pid, JOB_VOLUME_VARIABLE)?;
        let volume = Path::new(OsStr::from_bytes(&volume));
        // The process may have another root directory.
        let root = format!("/proc/{pid}/root");
        let root = Path::new(&root).join(volume.strip_prefix("/").ok()?);
        let runs = Volume::open(&root)
            .and_then(|volume| volume.runs())
            .ok()??;
        let run = dir.path().file_name()?.to_str()?;
        first_id(&runs.open_dir(run).ok()?).ok()?
    };
    let here = || first_id(dir).ok()?;
    there().is_some_and(|there| here().is_some_and(|here| here != there))
}
