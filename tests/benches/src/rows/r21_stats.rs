//! Row 21: statistics of ten thousand finished runs.

use std::process::Command;

use runlog::volume::Volume;

use super::{Row, many};
use crate::contenders;
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Line, Mode, Unit, interleave};
use crate::process::time_silent;
use crate::serve::Done;

pub struct Stats;

impl Row for Stats {
    fn number(&self) -> u8 {
        21
    }

    fn work(&self) -> &'static str {
        "statistics of 10,000 finished runs"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let runs = context.n(10_000, 300);
        let root = many::volume(scratch, "ours")?;
        let volume = Volume::create(&root)?;
        for number in 0..runs {
            let run = format!("bench-01kp8a{number:020}").parse()?;
            contenders::write_run(&volume, &run, 20, true)?;
        }
        let program = context.program("runlog");
        let status = |option: Option<&str>| {
            let mut command = Command::new(&program);
            command.arg("status").args(option).arg("-C").arg(&root);
            command
        };
        let shown = String::from_utf8(status(Some("--stats")).output()?.stdout)?;
        if !shown.contains(&format!(" {runs} ")) {
            return Err(format!("not all runs were counted: {shown}").into());
        }
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| time_silent(&mut status(Some("--stats")))),
            Box::new(|| time_silent(&mut status(None))),
        ];
        let samples = interleave(context.rounds(), &mut modes)?;
        drop(modes);
        let [stats, list] = samples.as_slice() else {
            return Err("two modes".into());
        };
        let what = format!("status --stats, {runs} runs of 20 events");
        let peer = ("status", list);
        Ok(vec![Line::times(
            &what,
            Unit::Time,
            stats,
            peer,
            AtMost(1.3),
        )])
    }
}
