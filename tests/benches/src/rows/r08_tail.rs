//! Row 8: the last ten lines of a GiB.

use std::process::Command;

use runlog::volume::Volume;

use super::{Row, many};
use crate::contenders::{self, EVENT};
use crate::context::{Context, Scratch};
use crate::measure::Target::{AtLeast, AtMost};
use crate::measure::{Line, Mode, Unit, interleave, lockstep};
use crate::process::time_silent;
use crate::serve::Done;

pub struct Tail;

impl Row for Tail {
    fn number(&self) -> u8 {
        8
    }

    fn work(&self) -> &'static str {
        "tail -n 10 of 1 GiB"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let bytes: u64 = context.n(1 << 30, 16 << 20);
        let events = bytes / EVENT as u64;
        let root = scratch.sub("ours")?;
        contenders::write_run(&Volume::create(&root)?, &many::RUN.parse()?, events, false)?;
        let log = many::log_of(&root, many::RUN);
        many::expect_lines(&log, events)?;
        let wal = scratch.file("wal.jsonl");
        many::runtimo(context, "runtimo-old", &wal)?.each("fill", events)?;

        let ours = || {
            let mut tail = Command::new(context.program("runlog"));
            tail.arg("-C")
                .arg(&root)
                .args(["tail", many::RUN, "-n", "10", "--json"]);
            tail
        };
        let theirs = || {
            let mut tail = Command::new("tail");
            tail.args(["-n", "10"]).arg(&log);
            tail
        };
        if ours().output()?.stdout != theirs().output()?.stdout {
            return Err("the two tails differ".into());
        }
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| time_silent(&mut ours())),
            Box::new(|| time_silent(&mut theirs())),
        ];
        let commands = lockstep(context.rounds(), context.n(20, 5), &mut modes)?;
        drop(modes);
        // Each in a separate process, from its start to its end.
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| time_silent(&mut ours())),
            Box::new(|| {
                many::runtimo(context, "runtimo-old", &wal)?
                    .each("tail", 10)
                    .map(|ns| ns * 10.0)
            }),
        ];
        let libraries = interleave(context.n(7, 3), &mut modes)?;
        drop(modes);
        let ([ours, coreutils], [again, runtimo]) = (commands.as_slice(), libraries.as_slice())
        else {
            return Err("two modes".into());
        };
        let what = format!("tail -n 10 of {} MiB", bytes >> 20);
        Ok(vec![
            Line::times(
                &what,
                Unit::Time,
                ours,
                ("tail of coreutils", coreutils),
                AtMost(1.5),
            ),
            Line::faster(
                &what,
                Unit::Time,
                again,
                ("runtimo 0.1.4 tail(10)", runtimo),
                AtLeast(1000.0),
            ),
        ])
    }
}
