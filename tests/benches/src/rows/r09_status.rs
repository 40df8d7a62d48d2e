//! Row 9: the state of ten thousand finished runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use runlog::volume::Volume;

use super::{Row, many};
use crate::contenders;
use crate::context::{Context, Scratch};
use crate::measure::Target::{AtLeast, AtMost};
use crate::measure::{Line, Mode, Samples, Unit, interleave};
use crate::process::time_silent;
use crate::serve::Done;

pub struct Status;

impl Row for Status {
    fn number(&self) -> u8 {
        9
    }

    fn work(&self) -> &'static str {
        "status of 10,000 finished runs"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let runs = context.n(10_000, 300);
        let mut lines = measure(context, &scratch.sub("short")?, runs, 20, 1, 4.0)?;
        // omne reads 8 GB here, which takes minutes per round, so it gets a twentieth of the
        // runs.
        lines.extend(measure(
            context,
            &scratch.sub("long")?,
            runs,
            2000,
            20,
            200.0,
        )?);
        Ok(lines)
    }
}

fn name(number: usize) -> String {
    format!("bench-01kp8a{number:020}")
}

/// Measures. omne gets only one of `part` runs, and its time is multiplied by `part`.
fn measure(
    context: &Context,
    dir: &Path,
    runs: usize,
    events: u64,
    part: usize,
    target: f64,
) -> Done<Vec<Line>> {
    let (root, omne_root) = (dir.join("ours"), dir.join("omne"));
    fs::create_dir(&root)?;
    let volume = Volume::create(&root)?;
    for number in 0..runs {
        // Forty runs share one file. Otherwise the long ones would take 8 GB twice.
        let first = number - number % 40;
        let run = name(number);
        if events > 100 && number != first {
            let from = many::log_of(&root, &name(first));
            link(&from, &many::log_of(&root, &run))?;
        } else {
            contenders::write_run(&volume, &run.parse()?, events, true)?;
        }
        if number < runs / part {
            contenders::write_run_of_omne(&omne_root, &run, events)?;
        }
    }
    let (program, omne) = (context.program("runlog"), context.program("omne"));
    let count = |command: &mut Command| -> Done<usize> {
        let output = command.stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text
            .lines()
            .filter(|line| line.contains("completed"))
            .count())
    };
    let status = || {
        let mut command = Command::new(&program);
        command.args(["status", "--json", "-C"]).arg(&root);
        command
    };
    let status_of_omne = || {
        let mut command = Command::new(&omne);
        command.arg("status").current_dir(&omne_root);
        command
    };
    if count(&mut status())? != runs || count(&mut status_of_omne())? != runs / part {
        return Err("not all runs were listed".into());
    }
    let directory = root.join(".omne/var/runs");
    let mut modes: [Mode<'_>; 4] = [
        Box::new(|| time_silent(&mut status())),
        Box::new(|| time_silent(Command::new(&program).args(["status", "-C"]).arg(&root))),
        Box::new(|| Ok(many::floor(&directory)?.each("last-blocks", runs as u64)? * runs as f64)),
        Box::new(|| Ok(time_silent(&mut status_of_omne())? * part as f64)),
    ];
    let samples = interleave(context.rounds(), &mut modes)?;
    drop(modes);
    let [json, table, floor, omne] = samples.as_slice() else {
        return Err("four modes".into());
    };
    let line = |how: &str, ours: &Samples, floor| {
        let what = format!("status{how}, {runs} runs of {events} events");
        Line::times(
            &what,
            Unit::Time,
            ours,
            ("readdir, open, read 4 KiB", floor),
            AtMost(1.3),
        )
    };
    let what = format!("status --json, {runs} runs of {events} events");
    let omne_what = match part {
        1 => "omne status".to_owned(),
        part => format!("omne status (1/{part} × {part})"),
    };
    Ok(vec![
        line(" --json", json, floor),
        line("", table, floor),
        Line::faster(&what, Unit::Time, json, (&omne_what, omne), AtLeast(target)),
    ])
}

/// Creates a run directory whose log is that of another run.
fn link(from: &Path, to: &Path) -> Done {
    let dir = to.parent().ok_or("no directory")?;
    fs::create_dir_all(dir)?;
    Ok(fs::hard_link(from, to)?)
}
