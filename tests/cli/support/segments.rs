//! Operations on the segments of a log, without the command line.

use std::time::Duration;

use runlog::log::{PruneLimit, RotationThreshold, RunLog, compress_sealed};
use runlog::volume::Volume;

use crate::support::env::TestEnv;

fn log(env: &TestEnv, run: &str) -> RunLog {
    let volume = Volume::open(env.root()).unwrap();
    RunLog::open_or_create(&volume, &run.parse().unwrap(), None).unwrap()
}

/// Seals the active segment, which must contain something new.
#[track_caller]
pub(crate) fn rotate(env: &TestEnv, run: &str) {
    assert!(rotate_if_any(env, run), "there is nothing to seal");
}

/// Seals the active segment. Returns whether it contained something new.
#[track_caller]
pub(crate) fn rotate_if_any(env: &TestEnv, run: &str) -> bool {
    let budget = Duration::from_secs(30);
    log(env, run)
        .rotate(RotationThreshold::default(), budget)
        .unwrap()
        .into_result()
        .is_ok()
}

/// Compresses the sealed segments.
#[track_caller]
pub(crate) fn compress(env: &TestEnv, run: &str) {
    compress_sealed(log(env, run).dir()).unwrap();
}

/// Removes all but the newest `segments` sealed segments.
#[track_caller]
pub(crate) fn keep(env: &TestEnv, run: &str, segments: usize) {
    log(env, run).prune(PruneLimit::AllBut(segments)).unwrap();
}
