//! Row 14: ten thousand runs are removed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use runlog::volume::Volume;

use super::Row;
use crate::contenders;
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Line, Mode, Unit, interleave};
use crate::process::time;
use crate::serve::Done;

pub struct Removal;

impl Row for Removal {
    fn number(&self) -> u8 {
        14
    }

    fn work(&self) -> &'static str {
        "gc of 10,000 runs"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let runs = context.n(10_000, 300);
        let program = context.program("runlog");
        let (root, other) = (scratch.sub("ours")?, scratch.sub("rm")?);
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| {
                fill(context, &root, runs)?;
                let mut gc = Command::new(&program);
                gc.arg("-C").arg(&root).args(["gc", "--max-runs", "0"]);
                let took = time(gc.stdout(Stdio::null()))?;
                match count(&root)? {
                    0 => Ok(took),
                    left => Err(format!("{left} runs are left").into()),
                }
            }),
            Box::new(|| {
                fill(context, &other, runs)?;
                let begin = Instant::now();
                time(Command::new("rm").arg("-r").arg(other.join(".omne")))?;
                Ok(begin.elapsed().as_nanos() as f64)
            }),
        ];
        let samples = interleave(context.n(7, 2), &mut modes)?;
        drop(modes);
        let [ours, rm] = samples.as_slice() else {
            return Err("two modes".into());
        };
        let what = format!("gc of {runs} runs of 20 events");
        Ok(vec![Line::times(
            &what,
            Unit::Time,
            ours,
            ("rm -r", rm),
            AtMost(1.2),
        )])
    }
}

fn fill(context: &Context, root: &Path, runs: usize) -> Done {
    let volume = Volume::create(root)?;
    for number in 0..runs {
        let run = format!("bench-01kp8a{number:020}");
        contenders::write_run(&volume, &run.parse()?, 20, true)?;
    }
    // Otherwise the first sync of gc, but never rm, would write pending data to the disk.
    context.settle()?;
    match count(root)? {
        found if found == runs => Ok(()),
        found => Err(format!("{found} runs, not {runs}").into()),
    }
}

fn count(root: &Path) -> Done<usize> {
    Ok(fs::read_dir(root.join(".omne/var/runs"))?.count())
}
