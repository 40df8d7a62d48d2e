//! The rotation of one run: done, or only planned.

use anyhow::Result;

use crate::log::{
    Compressed, EventType, PruneLimit, PrunedSegment, RotationPlan, RotationThreshold, RunLog,
    compress_sealed, plan_compression, plan_prune, plan_prune_after_rotation, plan_rotation,
};
use crate::render::{Execution, RotateReport, SealedReport};
use crate::volume::{Dir, RunId, Volume, layout};

/// The actions for each run.
pub(super) struct RotatePlan {
    pub due: RotationThreshold,
    pub keep: Option<usize>,
    pub compress: bool,
    pub dry_run: bool,
}

impl RotatePlan {
    /// Rotates a run, and drops and compresses old segments; with `--dry-run`, only reports that.
    pub(super) fn apply(&self, volume: &Volume, run: &RunId, dir: &Dir) -> Result<RotateReport> {
        if self.dry_run {
            return self.dry_run(run, dir);
        }
        let log = RunLog::open_in(volume, run, dir)?;
        let rotation = log.rotate(self.due, EventType::LogRotated.lock_budget())?;
        let sealed = rotation.into_result().map(SealedReport::Done);
        let mut report = RotateReport::new(run.clone(), Execution::Apply, sealed);
        if report.is_foreign() {
            return Ok(report);
        }
        if let Some(keep) = self.keep {
            report.dropped = log.prune(PruneLimit::AllBut(keep))?;
        }
        if self.compress {
            report.compressed = compress_sealed(dir)?;
        }
        Ok(report)
    }

    fn dry_run(&self, run: &RunId, dir: &Dir) -> Result<RotateReport> {
        let sealed = match plan_rotation(dir, self.due)? {
            RotationPlan::Seal { bytes } => Ok(SealedReport::Would { bytes }),
            RotationPlan::Skip(why) => Err(why),
        };
        let would_rotate = sealed.is_ok();
        let mut report = RotateReport::new(run.clone(), Execution::DryRun, sealed);
        if report.is_foreign() {
            return Ok(report);
        }
        if let Some(keep) = self.keep {
            report.dropped = if would_rotate {
                plan_prune_after_rotation(dir, PruneLimit::AllBut(keep))?
            } else {
                plan_prune(dir, PruneLimit::AllBut(keep))?
            };
        }
        if self.compress {
            // Segments that would be dropped are not compressed. The segment that would be
            // sealed is missing here, since it has no name yet.
            let is_kept = |one: &Compressed| {
                let dropped = |d: &PrunedSegment| layout::compressed(&d.file) == one.file;
                !report.dropped.iter().any(dropped)
            };
            report.compressed = plan_compression(dir)?.into_iter().filter(is_kept).collect();
        }
        Ok(report)
    }
}
