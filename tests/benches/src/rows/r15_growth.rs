//! Row 15: times do not grow with the log.

use runlog::volume::Volume;

use super::{Row, many};
use crate::contenders;
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Figure, Line, Mode, Unit, interleave, lockstep};
use crate::process::Contender;
use crate::serve::Done;

/// The maximum ratio that noise alone can explain.
const FLAT: f64 = 1.2;
/// The maximum memory of a writer, in bytes.
const MEMORY: f64 = 16e6;

pub struct Growth;

impl Row for Growth {
    fn number(&self) -> u8 {
        15
    }

    fn work(&self) -> &'static str {
        "growth"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let sizes: [u64; 3] = context.n([10, 100_000, 10_000_000], [10, 1000, 10_000]);
        let mut open = Vec::new();
        let mut closed = Vec::new();
        for size in sizes {
            let root = scratch.sub(&format!("open-{size}"))?;
            contenders::write_run(&Volume::create(&root)?, &many::RUN.parse()?, size, false)?;
            many::expect_lines(&many::log_of(&root, many::RUN), size)?;
            open.push(root);
            let root = scratch.sub(&format!("closed-{size}"))?;
            // A tenth is enough to show growth, and other programs need the disk too.
            let size = (size / 10).max(10);
            contenders::write_run(&Volume::create(&root)?, &many::RUN.parse()?, size, true)?;
            closed.push(root);
        }
        let mut writers = start(&open)?;
        let mut readers = start(&closed)?;
        let mut peak: f64 = 0.0;
        let each = context.n(200, 20);
        let mut modes: Vec<Mode<'_>> = Vec::new();
        for writer in &mut writers {
            modes.push(Box::new(move || writer.each("append", each)));
        }
        let appends = lockstep(context.rounds(), context.n(20, 3), &mut modes)?;
        drop(modes);
        let mut modes: Vec<Mode<'_>> = Vec::new();
        for reader in &mut readers {
            modes.push(Box::new(move || Ok(reader.ask("summary", 1)?.ns)));
        }
        let summaries = lockstep(context.rounds(), context.n(20, 3), &mut modes)?;
        drop(modes);
        // A writer that joins must find the end of the log.
        let mut modes: Vec<Mode<'_>> = Vec::new();
        for root in &open {
            modes.push(Box::new(|| many::ours(root)?.each("append", 1)));
        }
        let joins = interleave(context.rounds(), &mut modes)?;
        drop(modes);
        for contender in writers.iter_mut().chain(&mut readers) {
            peak = peak.max(contender.ask("append", 0)?.peak);
        }
        let mut lines = Vec::new();
        for (what, samples, part) in [
            ("append at", &appends, 1),
            ("first append of a process at", &joins, 1),
            ("state of a finished run of", &summaries, 10),
        ] {
            let [small, rest @ ..] = samples.as_slice() else {
                return Err("no sizes".into());
            };
            for (size, samples) in sizes.iter().skip(1).zip(rest) {
                let what = format!("{what} {} events", size / part);
                let peer = ("the same at 10 events", small);
                lines.push(Line::times(&what, Unit::Time, samples, peer, AtMost(FLAT)));
            }
        }
        let memory = Figure(peak, Unit::Memory);
        lines.push(Line::limit(
            "memory of a writer, of a reader of the end",
            memory,
            AtMost(MEMORY),
        ));
        Ok(lines)
    }
}

fn start(roots: &[std::path::PathBuf]) -> Done<Vec<Contender>> {
    roots.iter().map(|root| many::ours(root)).collect()
}
