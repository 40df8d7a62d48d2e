//! What `runlog rotate` did to a run.

use std::io;
use std::io::Write;

use serde::Serialize;

use crate::log::{Compressed, NotRotated, PrunedSegment, Sealed};
use crate::render::human::text::{Role, Style, count, size};
use crate::volume::RunId;

/// What was done to one run, or would be.
#[derive(Debug, Serialize)]
pub struct RotateReport {
    /// The run.
    pub run_id: RunId,
    /// Nothing was done.
    pub dry_run: bool,
    /// The active segment was sealed.
    pub rotated: bool,
    /// Why it was not.
    pub why: Option<String>,
    /// What was sealed; in a dry run only its length is known.
    pub sealed: Option<SealedReport>,
    /// The sealed segments that were compressed.
    pub compressed: Vec<Compressed>,
    /// The sealed segments that were dropped.
    pub dropped: Vec<PrunedSegment>,
    #[serde(skip)]
    left: Option<NotRotated>,
}

/// The segment that was sealed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SealedReport {
    /// It was.
    Done(Sealed),
    /// It would be.
    Would {
        /// Its length in bytes.
        bytes: u64,
    },
}

impl RotateReport {
    /// What became of the active segment of `run`.
    pub fn new(run_id: RunId, dry_run: bool, rotated: Result<SealedReport, NotRotated>) -> Self {
        Self {
            run_id,
            dry_run,
            rotated: rotated.is_ok(),
            why: rotated.as_ref().err().map(ToString::to_string),
            left: rotated.as_ref().err().copied(),
            sealed: rotated.ok(),
            compressed: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// Whether the log was left because another program writes to it.
    pub fn is_foreign(&self) -> bool {
        self.left == Some(NotRotated::Foreign)
    }

    /// For people; nothing where nothing was due, unless that run was asked for.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn people(&self, out: &mut dyn Write, asked_for: bool, style: Style) -> io::Result<()> {
        let would = if self.dry_run { "would be " } else { "" };
        let mut told = Vec::new();
        match (&self.sealed, self.left) {
            (Some(SealedReport::Done(sealed)), _) => {
                told.push(format!("sealed {} ({})", sealed.file, size(sealed.bytes)));
            }
            (Some(SealedReport::Would { bytes }), _) => {
                told.push(format!("{} would be sealed", size(*bytes)));
            }
            (None, Some(left)) if asked_for || left == NotRotated::Foreign => {
                told.push(format!("left as it is: {left}"));
            }
            (None, _) => {}
        }
        for one in &self.compressed {
            let from = size(one.bytes);
            told.push(match one.compressed_bytes.map(size) {
                Some(to) => format!("compressed {} ({from} to {to})", one.file),
                None => format!("{from} would be compressed to {}", one.file),
            });
        }
        if !self.dropped.is_empty() {
            let bytes = self.dropped.iter().map(|one| one.bytes).sum();
            let segments = count(self.dropped.len() as u64, "segment");
            told.push(format!("{segments} {would}dropped ({})", size(bytes)));
        }
        for line in told {
            let run = style.paint(Role::Faint, self.run_id.as_str());
            writeln!(out, "{run}  {line}")?;
        }
        Ok(())
    }
}
