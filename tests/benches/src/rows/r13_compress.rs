//! Row 13: a log of 128 MiB is sealed and compressed, while another process writes to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use runlog::volume::Volume;

use super::{Row, many};
use crate::contenders::{self, EVENT};
use crate::context::{Context, Scratch};
use crate::measure::Target::{self, AtMost};
use crate::measure::{Figure, Line, Mode, Samples, Unit, interleave};
use crate::process::time;
use crate::serve::Done;

/// The time between two events of the writer, in microseconds.
const PERIOD_US: u64 = 1000;
/// The maximum delay of a writer in nanoseconds: a tenth of the compression time.
const HELD_UP: f64 = 200e6;

pub struct Compress;

impl Row for Compress {
    fn number(&self) -> u8 {
        13
    }

    fn work(&self) -> &'static str {
        "sealing and compressing 128 MiB"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let bytes: u64 = context.n(128 << 20, 8 << 20);
        let events = bytes / EVENT as u64;
        let name: runlog::volume::RunId = many::RUN.parse()?;
        let program = context.program("runlog");
        let mut whole = scratch.sub("whole")?;
        contenders::write_run(&Volume::create(&whole)?, &name, events, false)?;
        whole = many::log_of(&whole, many::RUN);
        many::expect_lines(&whole, events)?;

        let mut waits = Samples::default();
        let mut modes: [Mode<'_>; 3] = [
            Box::new(|| {
                let root = copy(scratch, &whole)?;
                rotate(&program, &root, events)
            }),
            Box::new(|| {
                let zipped = File::create(scratch.file("zipped"))?;
                time(
                    Command::new("gzip")
                        .args(["-6", "-c"])
                        .arg(&whole)
                        .stdout(zipped),
                )
            }),
            // Again with a writer, which uses part of a CPU too.
            Box::new(|| {
                let root = copy(scratch, &whole)?;
                let mut writer = many::ours(&root)?;
                writer.each("append", 1)?;
                writer.send(&format!("pace {} {PERIOD_US}", context.n(2000, 200)))?;
                let took = rotate(&program, &root, events)?;
                let waited = Samples(writer.numbers()?.split_off(1));
                waits.0.push(waited.at(1.0));
                Ok(took)
            }),
        ];
        let samples = interleave(context.n(7, 2), &mut modes)?;
        drop(modes);
        let [ours, gzip, beside] = samples.as_slice() else {
            return Err("three modes".into());
        };
        let what = format!("rotate --compress of {} MiB", bytes >> 20);
        let with_writer = format!("{what}, beside a writer");
        let peer = ("gzip -6", gzip);
        Ok(vec![
            Line::times(&what, Unit::Time, ours, peer, AtMost(1.0)),
            Line::times(&with_writer, Unit::Time, beside, peer, Target::None),
            Line::limit(
                "longest append meanwhile",
                Figure(waits.median(), Unit::Time),
                AtMost(HELD_UP),
            ),
        ])
    }
}

/// Creates a new volume with the run.
fn copy(scratch: &Scratch, whole: &Path) -> Done<PathBuf> {
    let root = many::volume(scratch, "ours")?;
    fs::remove_dir_all(&root)?;
    let log = many::log_of(&root, many::RUN);
    fs::create_dir_all(log.parent().ok_or("no directory")?)?;
    fs::copy(whole, log)?;
    Ok(root)
}

/// Seals and compresses the run. The compressed segment must have all of its events.
fn rotate(program: &Path, root: &Path, events: u64) -> Done<f64> {
    let mut rotate = Command::new(program);
    rotate
        .arg("-C")
        .arg(root)
        .args(["rotate", many::RUN, "--force", "--compress"]);
    let took = time(rotate.stdout(Stdio::null()))?;
    let sealed = format!("events-{:020}.jsonl.gz", 0);
    let sealed = many::log_of(root, many::RUN).with_file_name(sealed);
    let plain = Command::new("gzip")
        .arg("-dc")
        .arg(&sealed)
        .output()?
        .stdout;
    let lines = memchr::memchr_iter(b'\n', &plain).count() as u64;
    if lines < events {
        return Err(format!("{lines} of {events} events were compressed").into());
    }
    Ok(took)
}
