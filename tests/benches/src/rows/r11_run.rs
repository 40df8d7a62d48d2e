//! Row 11: the time that `run` adds to a job that does nothing, in lockstep.

use std::fs;
use std::process::Command;

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::{self, AtMost};
use crate::measure::{Figure, Line, Mode, Samples, Unit, lockstep};
use crate::process::time_silent;
use crate::serve::Done;

/// The maximum added time with every stage, durable and with its snapshots, besides three syncs,
/// in nanoseconds.
const ADDED: f64 = 4e6;
/// The minimum number of syncs that the stages need.
const SYNCS: f64 = 3.0;

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
        let mut floor = many::floor(&scratch.file("bare"))?;
        let sync = || floor.each("durable", 1);
        let mut alone: [Mode<'_>; 3] = [Box::new(ours), Box::new(bare), Box::new(sync)];
        let samples = lockstep(rounds, operations, &mut alone)?;
        drop(alone);
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
        let ([ours, bare, sync], [again, bare_again, runtimo]) =
            (samples.as_slice(), beside.as_slice())
        else {
            return Err("three modes each".into());
        };
        let ours = added(ours, bare);
        let syncs = Samples(sync.0.iter().map(|sync| SYNCS * sync).collect());
        let besides = added(&ours, &syncs);
        let (again, runtimo) = (added(again, bare_again), added(runtimo, bare_again));
        let what = "added to true";
        let median = |samples: &Samples| Figure(samples.median(), Unit::Time);
        Ok(vec![
            Line::limit(what, median(&ours), Target::None),
            Line::limit(
                "added to true, without three syncs",
                median(&besides),
                AtMost(ADDED),
            ),
            Line::times(
                what,
                Unit::Time,
                &again,
                ("runtimo run 0.10.3", &runtimo),
                AtMost(0.2),
            ),
        ])
    }
}

/// Returns how much longer than the bare command each round took.
fn added(all: &Samples, bare: &Samples) -> Samples {
    let added = all.0.iter().zip(&bare.0).map(|(all, bare)| all - bare);
    Samples(added.collect())
}
