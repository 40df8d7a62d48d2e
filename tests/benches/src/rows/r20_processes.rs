//! Row 20: `run -- true` on a host with many processes.

use std::process::{Child, Command};

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Line, Mode, Samples, Unit, lockstep};
use crate::process::time_silent;
use crate::serve::Done;

pub struct ManyProcesses;

impl Row for ManyProcesses {
    fn number(&self) -> u8 {
        20
    }

    fn work(&self) -> &'static str {
        "run -- true on a host with 2,000 processes"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let root = many::volume(scratch, "ours")?;
        let program = context.program("runlog");
        let measure = || -> Done<Samples> {
            let ours = || {
                let mut run = Command::new(&program);
                time_silent(run.arg("-C").arg(&root).args(["run", "--", "true"]))
            };
            let mut modes: [Mode<'_>; 1] = [Box::new(ours)];
            let samples = lockstep(context.rounds(), context.n(20, 3), &mut modes)?;
            drop(modes);
            Ok(samples.into_iter().next().unwrap_or_default())
        };
        let few = measure()?;
        let sleepers = Sleepers::start(context.n(1_900, 100))?;
        let crowded = measure()?;
        drop(sleepers);
        Ok(vec![Line::times(
            "run -- true with 2,000 processes",
            Unit::Time,
            &crowded,
            ("with those of the host alone", &few),
            AtMost(1.5),
        )])
    }
}

/// Processes that sleep until this is dropped.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn start(n: usize) -> Done<Self> {
        let mut sleepers = Self(Vec::with_capacity(n));
        for _ in 0..n {
            sleepers.0.push(Command::new("sleep").arg("3600").spawn()?);
        }
        Ok(sleepers)
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for sleeper in &mut self.0 {
            drop(sleeper.kill());
            drop(sleeper.wait());
        }
    }
}
