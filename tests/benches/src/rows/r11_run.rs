//! Row 11: what `run` adds to a job that does nothing. In lockstep.

use std::fs;
use std::process::Command;

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Figure, Line, Mode, Samples, Unit, lockstep};
use crate::process::time_silent;
use crate::serve::Done;

/// Nanoseconds that every stage, durable and with its snapshots, may add.
const ADDED: f64 = 6e6;

pub struct RunTrue;

impl Row for RunTrue {
    fn number(&self) -> u8 {
        11
    }

    fn work(&self) -> &'static str {
        "run -- true, every stage durable"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let root = many::volume(scratch, "ours")?;
        let home = scratch.sub("home")?;
        let (program, runtimo) = (context.program("runlog"), context.runtimo()?);
        let (rounds, operations) = (context.rounds(), context.n(20, 3));
        let mut modes: [Mode<'_>; 3] = [
            Box::new(|| {
                let mut run = Command::new(&program);
                time_silent(run.arg("-C").arg(&root).args(["run", "--", "true"]))
            }),
            Box::new(|| time_silent(&mut Command::new("true"))),
            Box::new(|| {
                let mut run = Command::new(&runtimo);
                run.args(["run", "-c", "ShellExec", "-a", r#"{"cmd":"true"}"#]);
                run.current_dir(&home)
                    .env("HOME", &home)
                    .env("XDG_DATA_HOME", &home);
                time_silent(&mut run)
            }),
        ];
        let samples = lockstep(rounds, operations, &mut modes)?;
        drop(modes);
        let all = rounds * (operations + 1);
        let runs = fs::read_dir(root.join(".omne/var/runs"))?.count();
        if runs != all {
            return Err(format!("{runs} runs on disk, not {all}").into());
        }
        for run in fs::read_dir(root.join(".omne/var/runs"))? {
            // Opened, submitted, validated, started, completed, closed.
            many::expect_lines(&run?.path().join("events.jsonl"), 6)?;
        }
        let [ours, bare, runtimo] = samples.as_slice() else {
            return Err("three modes".into());
        };
        let added = |all: &Samples| {
            let added = all.0.iter().zip(&bare.0).map(|(all, bare)| all - bare);
            Samples(added.collect())
        };
        let (ours, runtimo) = (added(ours), added(runtimo));
        let what = "added to true";
        let median = Figure(ours.median(), Unit::Time);
        Ok(vec![
            Line::limit(what, median, AtMost(ADDED)),
            Line::times(
                what,
                Unit::Time,
                &ours,
                ("runtimo run 0.10.3", &runtimo),
                AtMost(0.25),
            ),
        ])
    }
}
