//! Row 11: the time that `run` adds to a job that does nothing, in lockstep.

use std::fs;
use std::process::Command;

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Figure, Line, Mode, Samples, Unit, lockstep};
use crate::process::time_silent;
use crate::serve::Done;

/// The maximum added time with every stage, durable and with its snapshots, in nanoseconds.
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
        let ours = || {
            let mut run = Command::new(&program);
            time_silent(run.arg("-C").arg(&root).args(["run", "--", "true"]))
        };
        let bare = || time_silent(&mut Command::new("true"));
        let of_runtimo = || {
            let mut run = Command::new(&runtimo);
            run.args(["run", "-c", "ShellExec", "-a", r#"{"cmd":"true"}"#]);
            run.current_dir(&home)
                .env("HOME", &home)
                .env("XDG_DATA_HOME", &home);
            time_silent(&mut run)
        };
        let mut alone: [Mode<'_>; 2] = [Box::new(ours), Box::new(bare)];
        let alone = lockstep(rounds, operations, &mut alone)?;
        // Separate from the others: it works for 40 ms, so whatever comes next finds cold
        // caches.
        let mut beside: [Mode<'_>; 3] = [Box::new(ours), Box::new(bare), Box::new(of_runtimo)];
        let beside = lockstep(rounds, operations, &mut beside)?;
        let all = 2 * rounds * (operations + 1);
        let runs = fs::read_dir(root.join(".omne/var/runs"))?.count();
        if runs != all {
            return Err(format!("{runs} runs on disk, not {all}").into());
        }
        for run in fs::read_dir(root.join(".omne/var/runs"))? {
            // Opened, submitted, validated, started, completed, closed.
            many::expect_lines(&run?.path().join("events.jsonl"), 6)?;
        }
        let ([ours, bare], [again, bare_again, runtimo]) = (alone.as_slice(), beside.as_slice())
        else {
            return Err("two modes and three".into());
        };
        let ours = added(ours, bare);
        let (again, runtimo) = (added(again, bare_again), added(runtimo, bare_again));
        let what = "added to true";
        let median = Figure(ours.median(), Unit::Time);
        Ok(vec![
            Line::limit(what, median, AtMost(ADDED)),
            Line::times(
                what,
                Unit::Time,
                &again,
                ("runtimo run 0.10.3", &runtimo),
                AtMost(0.25),
            ),
        ])
    }
}

/// Returns how much longer than the bare command each round took.
fn added(all: &Samples, bare: &Samples) -> Samples {
    let added = all.0.iter().zip(&bare.0).map(|(all, bare)| all - bare);
    Samples(added.collect())
}
