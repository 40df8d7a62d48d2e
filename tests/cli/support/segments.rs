//! What happens to the segments of a log, done at once.

use std::time::Duration;

use runlog::log::{PruneLimit, RotationThreshold, RunLog, compress_sealed};
use runlog::volume::Volume;

use crate::support::env::TestEnv;

fn log(env: &TestEnv, run: &str) -> RunLog {
    let volume = Volume::open(env.root()).unwrap();
    RunLog::open_or_create(&volume, &run.parse().unwrap(), None).unwrap()
}

/// Seals the active segment, which has to have something new.
#[track_caller]
pub(crate) fn rotate(env: &TestEnv, run: &str) {
    assert!(rotate_if_any(env, run), "there is nothing to seal");
}

/// Seals the active segment; says whether there was something new in it.
#[track_caller]
pub(crate) fn rotate_if_any(env: &TestEnv, run: &str) -> bool {
    let budget = Duration::from_secs(30);
    log(env, run)
        .rotate(RotationThreshold::default(), budget)
        .unwrap()
        .into_result()
        .is_ok()
}

/// Compresses what is sealed.
#[track_caller]
pub(crate) fn compress(env: &TestEnv, run: &str) {
    compress_sealed(log(env, run).dir()).unwrap();
}

/// Drops all sealed segments but the newest so many.
#[track_caller]
pub(crate) fn keep(env: &TestEnv, run: &str, segments: usize) {
    log(env, run)
        .drop_sealed(PruneLimit::AllBut(segments))
        .unwrap();
}
