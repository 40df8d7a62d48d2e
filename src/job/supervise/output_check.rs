//! Checks that each job of a run has its output file. If one was removed, the id of its job must
//! not be used again, and only the log shows that id.

use crate::log::{JobCounts, Lease, RunLog, StorageError};
use crate::volume::{Dir, DirStamp, layout};

/// The number of jobs from which the directory gets a stamp, so that the next start need not
/// list it. Listing fewer takes no longer than the stamp.
const MIN_STAMPED_JOBS: u64 = 100;

/// The result of a check.
#[derive(Debug)]
pub(crate) struct OutputCheck {
    /// Whether each job had its output file.
    pub(super) is_complete: bool,
    /// The state of the directory before the check.
    checked: Option<DirStamp>,
}

impl OutputCheck {
    /// Checks the output files. Must be called without the locks, because it may list a
    /// directory.
    ///
    /// # Errors
    /// The log or the directory cannot be read.
    pub(super) fn new(log: &RunLog) -> Result<Self, StorageError> {
        let mut check = Self {
            is_complete: false,
            checked: None,
        };
        let Some(counts) = log.count_jobs()? else {
            return Ok(check);
        };
        if counts.submitted == 0 {
            check.is_complete = true;
            return Ok(check);
        }
        // Count the files after the jobs, because a job has its file before it is in the log.
        let Ok(jobs) = log.dir().open_dir(layout::JOBS) else {
            return Ok(check);
        };
        if has_valid_stamp(&jobs) {
            check.is_complete = true;
            return Ok(check);
        }
        check.checked = DirStamp::current(&jobs);
        check.is_complete = Lease::count(&jobs)? >= counts.submitted;
        Ok(check)
    }

    /// Returns whether the directory may get a stamp after the files of another job have been
    /// created. Must be called before that, under the locks: no other job is created then.
    pub(super) fn allows_stamp(&self, jobs: &Dir, counts: JobCounts) -> bool {
        let is_unchanged = || {
            self.is_complete && self.checked.is_some() && self.checked == DirStamp::current(jobs)
        };
        counts.submitted >= MIN_STAMPED_JOBS && (is_unchanged() || has_valid_stamp(jobs))
    }
}

fn has_valid_stamp(jobs: &Dir) -> bool {
    DirStamp::stored(jobs).is_some_and(|stored| Some(stored) == DirStamp::current(jobs))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::log::format::payload::{JobEnded, JobFailed, JobSubmitted, RunOpened};
    use crate::log::{Draft, Durability};
    use crate::volume::{JobId, RunId, Volume};

    /// Returns an open run of `jobs` jobs, with their output files.
    fn log_of_jobs(volume: &Volume, jobs: u64) -> RunLog {
        let run: RunId = "it".parse().unwrap();
        let log = RunLog::open_or_create(volume, &run, None).unwrap();
        let mut drafts = vec![Draft::new(&run, None, &RunOpened::default()).unwrap()];
        let outputs = log.dir().ensure_dir(layout::JOBS).unwrap().dir;
        for n in 0..jobs {
            let job: JobId = format!("j{n}").parse().unwrap();
            let ended = JobEnded::default();
            drafts.push(Draft::new(&run, Some(&job), &JobSubmitted::default()).unwrap());
            drafts.push(Draft::new(&run, Some(&job), &JobFailed(&ended)).unwrap());
            File::create(outputs.path().join(layout::job_out(&job))).unwrap();
        }
        log.append(&drafts, Durability::Process).unwrap();
        log
    }

    fn counts(log: &RunLog) -> JobCounts {
        log.count_jobs().unwrap().unwrap()
    }

    #[test]
    fn stamp_replaces_listing_until_an_output_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let volume = Volume::create(tmp.path()).unwrap();
        let log = log_of_jobs(&volume, MIN_STAMPED_JOBS);
        let jobs = log.dir().open_dir(layout::JOBS).unwrap();
        let listed = OutputCheck::new(&log).unwrap();
        assert!(listed.is_complete && listed.checked.is_some());
        assert!(listed.allows_stamp(&jobs, counts(&log)));
        DirStamp::store(&jobs);
        if DirStamp::stored(&jobs).is_none() {
            // This file system has no user attributes.
            return;
        }
        let stamped = OutputCheck::new(&log).unwrap();
        assert!(stamped.is_complete && stamped.checked.is_none());
        assert!(stamped.allows_stamp(&jobs, counts(&log)));

        let removed = jobs.path().join("j0.out");
        fs::remove_file(&removed).unwrap();
        // Before Linux 6.13, the removal may have the time of the stamp.
        while has_valid_stamp(&jobs) {
            fs::write(&removed, "").unwrap();
            fs::remove_file(&removed).unwrap();
        }
        // The file may have been removed after the check.
        assert!(!listed.allows_stamp(&jobs, counts(&log)));
        assert!(!stamped.allows_stamp(&jobs, counts(&log)));
        let incomplete = OutputCheck::new(&log).unwrap();
        assert!(!incomplete.is_complete);
        assert!(!incomplete.allows_stamp(&jobs, counts(&log)));
    }

    #[test]
    fn few_jobs_need_no_stamp() {
        let tmp = tempfile::tempdir().unwrap();
        let volume = Volume::create(tmp.path()).unwrap();
        let log = log_of_jobs(&volume, MIN_STAMPED_JOBS - 1);
        let jobs = log.dir().open_dir(layout::JOBS).unwrap();
        let check = OutputCheck::new(&log).unwrap();
        assert!(check.is_complete && !check.allows_stamp(&jobs, counts(&log)));
    }
}
