//! Row 7: a whole run is read and folded, and every checksum is checked.

use std::path::Path;
use std::process::Command;

use runlog::volume::Volume;

use super::{Row, many};
use crate::contenders::{self, EVENT};
use crate::context::{Context, Scratch};
use crate::measure::Target::{self, AtLeast, AtMost};
use crate::measure::{Figure, Line, Mode, Samples, Unit, interleave};
use crate::process::{Answer, Contender, time_silent};
use crate::serve::Done;

/// The maximum memory of a reader at any size, in bytes.
const MEMORY: f64 = 16e6;

pub struct Reading;

impl Row for Reading {
    fn number(&self) -> u8 {
        7
    }

    fn work(&self) -> &'static str {
        "reading a whole run"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let mut lines = measure(
            context,
            &scratch.sub("small")?,
            context.n(128 << 20, 8 << 20),
            true,
        )?;
        lines.extend(measure(
            context,
            &scratch.sub("large")?,
            context.n(1 << 30, 16 << 20),
            false,
        )?);
        Ok(lines)
    }
}

/// Measures with a log of `bytes` bytes. `with_slow` includes the slowest two contenders, which
/// would take minutes for a GiB.
fn measure(context: &Context, dir: &Path, bytes: u64, with_slow: bool) -> Done<Vec<Line>> {
    let events = bytes / EVENT as u64;
    let root = dir.join("ours");
    std::fs::create_dir(&root)?;
    let volume = Volume::create(&root)?;
    contenders::write_run(&volume, &many::RUN.parse()?, events, false)?;
    let log = many::log_of(&root, many::RUN);
    many::expect_lines(&log, events)?;
    let omne_root = dir.join("omne");
    contenders::write_run_of_omne(&omne_root, many::RUN, events)?;
    let wal = dir.join("wal.jsonl");
    many::runtimo(context, "runtimo-new", &wal)?.each("fill", events)?;

    // A separate process for each round: allocating and freeing its memory is part of the work.
    let mut peak: f64 = 0.0;
    let mut peak_of_omne: f64 = 0.0;
    let whole = |answer: Answer| match answer.count {
        count if count == events => Ok(answer.ns),
        count => Err(format!("{count} of {events} events read")),
    };
    let mut modes: Vec<Mode<'_>> = vec![
        Box::new(|| {
            let answer = many::ours(&root)?.ask("fold", 1)?;
            peak = peak.max(answer.peak);
            Ok(whole(answer)?)
        }),
        Box::new(|| Ok(whole(many::ours(&root)?.ask("read", 1)?)?)),
        Box::new(|| Ok(whole(many::floor(&log)?.ask("lines", 1)?)?)),
        Box::new(|| {
            let answer = many::omne(&omne_root)?.ask("load", 1)?;
            peak_of_omne = peak_of_omne.max(answer.peak);
            Ok(whole(answer)?)
        }),
        Box::new(|| Ok(whole(runtimo(context, "runtimo-new", &wal)?)?)),
    ];
    if with_slow {
        modes.push(Box::new(|| {
            Ok(whole(runtimo(context, "runtimo-old", &wal)?)?)
        }));
        modes.push(Box::new(|| {
            time_silent(Command::new("jq").args(["-c", "."]).arg(&log))
        }));
    }
    let samples = interleave(context.n(7, 3), &mut modes)?;
    drop(modes);
    let rates: Vec<Samples> = samples.iter().map(|s| rates(s, bytes)).collect();
    let [fold, read, floor, omne, new, slow @ ..] = rates.as_slice() else {
        return Err("five modes".into());
    };
    let size = format!("{} MiB", bytes >> 20);
    let line = |what: &str, ours, peer, target: Target| {
        let what = format!("{what} of {size}");
        // For rates, the multiple is how much faster runlog is.
        Line::times(&what, Unit::Bandwidth, ours, peer, target)
    };
    let mut lines = vec![
        line("fold", fold, ("memchr line count", floor), AtLeast(0.35)),
        line("fold", fold, ("omne read_run", omne), AtLeast(8.0)),
        line("fold", fold, ("runtimo 0.10.3 load", new), AtLeast(4.5)),
        line(
            "read without the fold",
            read,
            ("omne read_run", omne),
            Target::None,
        ),
    ];
    if let [old, jq] = slow {
        lines.push(line(
            "fold",
            fold,
            ("runtimo 0.1.4 load", old),
            AtLeast(4.5),
        ));
        lines.push(line("fold", fold, ("jq -c .", jq), AtLeast(25.0)));
    }
    let what = format!("memory of a fold of {size}");
    lines.push(Line::limit(
        &what,
        Figure(peak, Unit::Memory),
        AtMost(MEMORY),
    ));
    let what = format!("memory of omne's read_run of {size}");
    lines.push(Line::limit(
        &what,
        Figure(peak_of_omne, Unit::Memory),
        Target::None,
    ));
    Ok(lines)
}

fn runtimo(context: &Context, program: &str, wal: &Path) -> Done<Answer> {
    let mut runtimo: Contender = many::runtimo(context, program, wal)?;
    runtimo.ask("load", 1)
}

fn rates(times: &Samples, bytes: u64) -> Samples {
    Samples(times.0.iter().map(|ns| bytes as f64 * 1e9 / ns).collect())
}
