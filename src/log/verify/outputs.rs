//! The check of captured output against the log.

use std::collections::{BTreeSet, HashMap};

use super::fault::{Fault, FaultKind, FaultList};
use crate::log::error::StorageError;
use crate::log::lock::lease::{Lease, LeaseState};
use crate::log::segment::output_index::{IndexRecord, OutputIndex};
use crate::log::state::job_state::JobState;
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, IoContext, JobId, layout};

/// Checks the output files of all jobs. `rolled_back` has the number of bytes stored at the end
/// of each rollback, if the log has it.
pub(crate) fn check_files(
    dir: &Dir,
    run: &RunState,
    rolled_back: &HashMap<JobId, Option<u64>>,
    faults: &mut FaultList,
) -> Result<(), StorageError> {
    for job in run.jobs.iter().filter(|job| !job.foreign) {
        check_job(dir, job, rolled_back.get(&job.job_id), faults)?;
    }
    Ok(())
}

fn check_job(
    dir: &Dir,
    job: &JobState,
    rolled_back: Option<&Option<u64>>,
    faults: &mut FaultList,
) -> Result<(), StorageError> {
    let id = &job.job_id;
    let rollback_runs = job.rollback_is_unfinished();
    let in_log = job.output.as_ref().map(|output| output.captured_bytes);
    let stored = rolled_back.copied().unwrap_or(in_log).or(in_log);
    let exact = job.stage.is_terminal()
        && !rollback_runs
        && match rolled_back {
            Some(bytes) => bytes.is_some(),
            None => in_log.is_some() && job.rollback.as_ref().is_none_or(|r| !r.started),
        };

    // Writers write the data before the index, so read the index first.
    let indexed = index_end(dir, id, faults)?;
    let name = layout::job_out(id);
    let path = dir.path().join(layout::JOBS).join(&name);
    let mut report = |kind, message| faults.push(Fault::in_file(kind, path.clone(), message));
    let Some(out) = dir.read_in(layout::JOBS, &name)? else {
        if let Some(bytes) = stored.filter(|n| *n > 0) {
            report(
                FaultKind::OutputLost,
                format!("output lost: the file is missing, {bytes} bytes were stored"),
            );
        }
        return Ok(());
    };
    let len = out.metadata().at("stat", &path)?.len();
    let stored = stored.unwrap_or(0);
    let expected = stored.max(indexed.unwrap_or(0));
    if len < expected {
        report(
            FaultKind::OutputLost,
            format!("output lost: {len} of {expected} bytes remain"),
        );
    } else if exact && len > stored && !is_held(dir, id) {
        report(
            FaultKind::OutputUnknown,
            format!("{len} bytes, but the log has {stored}"),
        );
    }
    if stored > 0 && indexed.is_none() {
        let index = dir.path().join(layout::JOBS).join(layout::job_index(id));
        let message = "the index of the output is missing".to_owned();
        faults.push(Fault::in_file(FaultKind::OutputIndex, index, message));
    }
    Ok(())
}

/// Returns the end of the index that can be read; `None` if there is no index.
fn index_end(dir: &Dir, id: &JobId, faults: &mut FaultList) -> Result<Option<u64>, StorageError> {
    let Some(mut index) = OutputIndex::open(dir, id)? else {
        return Ok(None);
    };
    let mut end = 0;
    while let Some(record) = index.next_record()? {
        let message = match record {
            IndexRecord::Range(range) if range.end > end => {
                end = range.end;
                continue;
            }
            IndexRecord::Range(_) => "its end is not after that of the record before",
            IndexRecord::Malformed => "it is not a record of an index",
        };
        let (line, offset) = index.position();
        faults.push(Fault {
            kind: FaultKind::OutputIndex,
            file: index.path().to_owned(),
            line: Some(line),
            offset: Some(offset),
            seq: None,
            message: message.to_owned(),
        });
        // Records after it cannot be trusted.
        break;
    }
    Ok(Some(end))
}

fn is_held(dir: &Dir, id: &JobId) -> bool {
    !matches!(
        Lease::probe(dir, id),
        Ok(LeaseState::Free | LeaseState::Missing)
    )
}

/// Reports output of jobs that are not in the log, in a run whose whole log was read.
pub(crate) fn check_unknown(
    dir: &Dir,
    run: &RunState,
    faults: &mut FaultList,
) -> Result<(), StorageError> {
    let Ok(jobs) = dir.open_dir(layout::JOBS) else {
        return Ok(());
    };
    let names: BTreeSet<String> = jobs.names()?.into_iter().collect();
    for name in names {
        let Some(id) = name.strip_suffix(layout::OUTPUT_SUFFIX) else {
            continue;
        };
        let Ok(id) = id.parse::<JobId>() else {
            continue;
        };
        let has_bytes = jobs.stat(&name)?.is_some_and(|stat| stat.st_size > 0);
        if has_bytes && run.job(id.as_str()).is_none() && !is_held(dir, &id) {
            let message = "output of a job that is not in the log".to_owned();
            let path = jobs.path().join(&name);
            faults.push(Fault::in_file(FaultKind::OutputUnknown, path, message));
        }
    }
    Ok(())
}
