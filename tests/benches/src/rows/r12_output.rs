//! Row 12: a job that prints a GiB in writes of 64 KiB.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::{self, AtMost};
use crate::measure::{Line, Mode, Unit, interleave};
use crate::process::time;
use crate::serve::Done;

pub struct Output;

impl Row for Output {
    fn number(&self) -> u8 {
        12
    }

    fn work(&self) -> &'static str {
        "a job that prints 1 GiB through run"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let bytes: u64 = context.n(1 << 30, 32 << 20);
        let bench = std::env::current_exe()?;
        let program = context.program("runlog");
        let root = many::volume(scratch, "ours")?;
        let direct = scratch.file("direct");
        let print = || {
            let mut job = Command::new(&bench);
            job.args(["--serve", "print", &bytes.to_string()]);
            job.stdin(Stdio::null());
            job
        };
        let run = |options: &[&str]| {
            let mut run = Command::new(&program);
            run.arg("-C")
                .arg(&root)
                .arg("run")
                .args(options)
                .arg("--")
                .arg(&bench);
            run.args(["--serve", "print", &bytes.to_string()]);
            run.stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            run
        };
        let masked = |options: &[&str]| {
            let mut run = run(options);
            for secret in 0..8 {
                let name = format!("BENCH_{secret}_TOKEN");
                run.env(name, format!("s3cret-{secret}-{secret}-ofTheBench"));
            }
            run
        };
        let mut modes: [Mode<'_>; 7] = [
            Box::new(|| {
                let took = time(print().stdout(File::create(&direct)?))?;
                expect_len(&direct, bytes)?;
                fs::remove_file(&direct)?;
                Ok(took)
            }),
            Box::new(|| captured(&root, bytes, || time(&mut run(&[])))),
            Box::new(|| captured(&root, bytes, || piped(&mut run(&[]), bytes))),
            Box::new(|| piped(&mut print(), bytes)),
            Box::new(|| captured(&root, bytes, || time(&mut run(&["--quiet"])))),
            Box::new(|| captured(&root, bytes, || time(&mut masked(&["--quiet"])))),
            Box::new(|| {
                captured(&root, bytes, || {
                    let begin = Instant::now();
                    time(&mut run(&["--detach"]))?;
                    let mut wait = Command::new(&program);
                    wait.arg("-C")
                        .arg(&root)
                        .args(["status", "latest", "--wait"]);
                    time(wait.stdout(Stdio::null()))?;
                    Ok(begin.elapsed().as_nanos() as f64)
                })
            }),
        ];
        let samples = interleave(context.n(7, 3), &mut modes)?;
        drop(modes);
        let [direct, passed, piped, bare, quiet, masked, detached] = samples.as_slice() else {
            return Err("seven modes".into());
        };
        let size = bytes >> 20;
        let to_pipe = "passed on to a pipe that is read";
        let line = |how: &str, ours, limit| {
            let what = format!("{size} MiB, {how}");
            let peer = ("the job writes to the file", direct);
            Line::times(&what, Unit::Time, ours, peer, AtMost(limit))
        };
        Ok(vec![
            line("passed on to /dev/null", passed, 1.7),
            line(to_pipe, piped, 2.0),
            Line::times(
                &format!("{size} MiB, {to_pipe}"),
                Unit::Time,
                piped,
                ("that pipe without runlog", bare),
                Target::None,
            ),
            line("--quiet", quiet, 1.3),
            line("--detach", detached, 1.3),
            Line::times(
                &format!("{size} MiB, --quiet, eight secrets"),
                Unit::Time,
                masked,
                ("--quiet", quiet),
                AtMost(2.0),
            ),
        ])
    }
}

/// Measures one run, whose output must be stored in full. The run is removed afterward.
fn captured(root: &Path, bytes: u64, run: impl FnOnce() -> Done<f64>) -> Done<f64> {
    let took = run()?;
    let runs = root.join(".omne/var/runs");
    let mut found = 0;
    for run in fs::read_dir(&runs)? {
        let run = run?.path();
        for job in fs::read_dir(run.join("jobs"))? {
            let job = job?.path();
            if job.extension().is_some_and(|e| e == "out") {
                expect_len(&job, bytes)?;
                found += 1;
            }
        }
        fs::remove_dir_all(run)?;
    }
    if found != 1 {
        return Err(format!("{found} outputs were stored").into());
    }
    Ok(took)
}

fn expect_len(path: &Path, bytes: u64) -> Done {
    match fs::metadata(path)?.len() {
        len if len == bytes => Ok(()),
        len => Err(format!("{}: {len} bytes, not {bytes}", path.display()).into()),
    }
}

/// Measures a command whose output is read.
fn piped(command: &mut Command, bytes: u64) -> Done<f64> {
    let begin = Instant::now();
    let mut running = command.stdout(Stdio::piped()).spawn()?;
    drain(&mut running.stdout.take().ok_or("no stdout")?, bytes)?;
    if !running.wait()?.success() {
        return Err("the job failed".into());
    }
    Ok(begin.elapsed().as_nanos() as f64)
}

/// Reads `bytes` bytes and then the end of the stream.
fn drain(from: &mut impl Read, bytes: u64) -> io::Result<()> {
    let mut buf = vec![0; 256 << 10];
    let mut left = bytes;
    loop {
        match from.read(&mut buf)? as u64 {
            0 if left == 0 => return Ok(()),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => left = left.saturating_sub(n),
        }
    }
}
