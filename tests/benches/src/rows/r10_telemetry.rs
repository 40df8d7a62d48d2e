//! Row 10: the time of a snapshot of the machine.

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::{AtLeast, AtMost};
use crate::measure::{Figure, Line, Mode, Unit, interleave};
use crate::serve::Done;

/// The maximum time of a snapshot of the host, in nanoseconds.
const HOST: f64 = 200e3;

pub struct Telemetry;

impl Row for Telemetry {
    fn number(&self) -> u8 {
        10
    }

    fn work(&self) -> &'static str {
        "host snapshot, process snapshot"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let root = many::volume(scratch, "ours")?;
        let mut ours = many::ours(&root)?;
        let mut floor = many::floor(&scratch.file("bare"))?;
        let wal = scratch.file("wal.jsonl");
        let mut old = many::runtimo(context, "runtimo-old", &wal)?;
        let n = context.n(50, 5);
        let mut modes: [Mode<'_>; 3] = [
            Box::new(|| ours.each("processes", n)),
            Box::new(|| floor.each("processes", n)),
            Box::new(|| {
                let answer = old.ask("processes", 1)?;
                if answer.count == 0 {
                    return Err("no processes".into());
                }
                Ok(answer.ns)
            }),
        ];
        let processes = interleave(context.rounds(), &mut modes)?;
        drop(modes);
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| ours.each("host", n)),
            // It caches its answer for 30 s, so use a new process each time.
            Box::new(|| many::runtimo(context, "runtimo-old", &wal)?.each("telemetry", 1)),
        ];
        let host = interleave(context.n(7, 2), &mut modes)?;
        drop(modes);
        let ([ours, floor, old], [our_host, old_host]) = (processes.as_slice(), host.as_slice())
        else {
            return Err("three modes and two".into());
        };
        let (host, processes) = ("host snapshot", "process snapshot");
        Ok(vec![
            Line::limit(host, Figure(our_host.median(), Unit::Time), AtMost(HOST)),
            Line::faster(
                host,
                Unit::Time,
                our_host,
                ("runtimo 0.1.4 Telemetry", old_host),
                AtLeast(200.0),
            ),
            Line::times(
                processes,
                Unit::Time,
                ours,
                ("reading /proc/*/stat", floor),
                AtMost(4.0),
            ),
            Line::faster(
                processes,
                Unit::Time,
                ours,
                ("runtimo 0.1.4 ProcessSnapshot", old),
                AtLeast(4.0),
            ),
        ])
    }
}
