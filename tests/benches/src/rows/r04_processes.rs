//! Row 4: several processes append durable events to one run.

use std::time::Instant;

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::{self, AtLeast};
use crate::measure::{Line, Mode, Unit, interleave};
use crate::process::Contender;
use crate::serve::Done;

pub struct Processes;

impl Row for Processes {
    fn number(&self) -> u8 {
        4
    }

    fn work(&self) -> &'static str {
        "durable append, several processes on one run"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let mut lines = Vec::new();
        for processes in [2, 4, 8, 16] {
            let root = many::volume(scratch, &format!("ours-{processes}"))?;
            let bare = scratch.file(&format!("bare-{processes}"));
            let wal = scratch.file(&format!("wal-{processes}.jsonl"));
            let mut ours = many::group(processes, || many::ours(&root))?;
            let mut floor = many::group(processes, || many::floor(&bare))?;
            let mut new = many::group(processes, || many::runtimo(context, "runtimo-new", &wal))?;
            let (rounds, all) = (context.rounds(), context.n(320, 32));
            let each = all / processes;
            let mut modes: [Mode<'_>; 3] = [
                Box::new(|| together(&mut ours, &format!("durable {each}"))),
                Box::new(|| together(&mut floor, &format!("locked {each}"))),
                Box::new(|| together(&mut new, &format!("append {each}"))),
            ];
            let samples = interleave(rounds, &mut modes)?;
            drop(modes);
            let written = each * processes * (rounds as u64 + 1);
            many::expect_lines(&many::log_of(&root, many::RUN), written)?;
            many::expect_lines(&bare, written)?;
            // Each process starts with a marker.
            many::expect_lines(&wal, written + processes)?;
            let [ours, floor, new] = samples.as_slice() else {
                return Err("three modes".into());
            };
            let line = |peer, target| {
                let what = format!("{processes} processes, each event");
                Line::faster(&what, Unit::Time, ours, peer, target)
            };
            let new_target = if processes < 4 {
                Target::None
            } else {
                AtLeast(2.0)
            };
            lines.push(line(
                ("flock + write, then fdatasync", floor),
                AtLeast(0.95),
            ));
            lines.push(line(("runtimo 0.10.3", new), new_target));
        }
        Ok(lines)
    }
}

/// Runs all at once. Returns nanoseconds per event, from the first start to the last end.
fn together(contenders: &mut [Contender], what: &str) -> Done<f64> {
    let begin = Instant::now();
    contenders.iter_mut().try_for_each(|c| c.send(what))?;
    let mut events = 0;
    for contender in contenders {
        events += contender.answer()?.count;
    }
    Ok(begin.elapsed().as_nanos() as f64 / events as f64)
}
