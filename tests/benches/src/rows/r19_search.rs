//! Row 19: a search in the output of ten thousand runs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use runlog::volume::Volume;

use super::{Row, many};
use crate::contenders;
use crate::context::{Context, Scratch};
use crate::measure::Target::AtLeast;
use crate::measure::{Line, Mode, Unit, interleave};
use crate::process::time_silent;
use crate::serve::Done;

/// How many runs there are per run with a matching line.
const RUNS_PER_MATCH: usize = 100;
/// Two searches that find the same lines: a word, and a pattern without a word.
const PATTERNS: [(&str, &str); 2] = [
    ("a word", "quota exceeded"),
    ("a pattern", r"[a-z]+: quota [a-z]+ed$"),
];

pub struct Search;

impl Row for Search {
    fn number(&self) -> u8 {
        19
    }

    fn work(&self) -> &'static str {
        "a search in 1 GiB of output of 10,000 runs"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let runs = context.n(10_000, 300);
        let bytes = context.n(1 << 30, 32 << 20) / runs;
        let root = many::volume(scratch, "ours")?;
        fill(&root, runs, bytes)?;
        let program = context.program("runlog");
        let directory = root.join(".omne/var/runs");
        let ours = |pattern| {
            let mut command = Command::new(&program);
            command.args(["tail", "--all", "--output", "--grep", pattern]);
            command.arg("-C").arg(&root);
            command
        };
        let rg = |pattern| {
            let mut command = Command::new("rg");
            command.args(["--no-config", "-uu", "-g", "*.out", pattern]);
            command.arg(&directory);
            command
        };
        let mut lines = Vec::new();
        for (what, pattern) in PATTERNS {
            for mut command in [ours(pattern), rg(pattern)] {
                let found = count(&mut command)?;
                if found != runs / RUNS_PER_MATCH {
                    return Err(format!("{found} lines: {command:?}").into());
                }
            }
            let mut modes: [Mode<'_>; 2] = [
                Box::new(|| time_silent(&mut ours(pattern))),
                Box::new(|| time_silent(&mut rg(pattern))),
            ];
            let samples = interleave(context.rounds(), &mut modes)?;
            drop(modes);
            let [ours, rg] = samples.as_slice() else {
                return Err("two modes".into());
            };
            let what = format!(
                "tail --grep of {what}, {runs} runs, {} MiB",
                (runs * bytes) >> 20
            );
            lines.push(Line::faster(
                &what,
                Unit::Time,
                ours,
                ("rg", rg),
                AtLeast(0.7),
            ));
        }
        Ok(lines)
    }
}

/// Creates runs with `bytes` bytes of output each.
fn fill(root: &Path, runs: usize, bytes: usize) -> Done {
    let volume = Volume::create(root)?;
    let mut output = String::new();
    for line in 0.. {
        writeln!(
            output,
            "[{line:>6}] Building object src/log/append.o: all fine so far"
        )?;
        if output.len() > bytes {
            break;
        }
    }
    let with_match = output.replacen("[   100]", "disk: quota exceeded\n[   100]", 1);
    for number in 0..runs {
        let run = format!("bench-01kp8a{number:020}");
        contenders::write_run(&volume, &run.parse()?, 20, true)?;
        let jobs = root.join(".omne/var/runs").join(&run).join("jobs");
        fs::create_dir_all(&jobs)?;
        let text = match number % RUNS_PER_MATCH {
            0 => &with_match,
            _ => &output,
        };
        fs::write(jobs.join("bench.out"), text)?;
        let index = format!(
            "{{\"end\":{},\"stream\":\"stdout\",\"ts\":\"2026-11-22T04:54:59.252588Z\"}}\n",
            text.len()
        );
        fs::write(jobs.join("bench.out.idx"), index)?;
    }
    Ok(())
}

/// Returns the number of lines that a command prints.
fn count(command: &mut Command) -> Done<usize> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    Ok(memchr::memchr_iter(b'\n', &output.stdout).count())
}
