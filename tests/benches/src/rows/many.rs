//! Operations that several rows share.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::context::{Context, Scratch};
use crate::process::Contender;
use crate::serve::Done;

/// The run to measure.
pub const RUN: &str = "bench-01kp8a0000000000000000000a";

/// Creates the volume of a contender, with the directory of runs.
pub fn volume(scratch: &Scratch, name: &str) -> Done<PathBuf> {
    let root = scratch.sub(name)?;
    std::fs::create_dir_all(root.join(".omne/var/runs"))?;
    Ok(root)
}

/// Returns the log of a run.
pub fn log_of(root: &Path, run: &str) -> PathBuf {
    root.join(".omne/var/runs").join(run).join("events.jsonl")
}

/// Starts a runlog that appends to the run in a volume.
pub fn ours(root: &Path) -> Done<Contender> {
    Contender::own("ours", &[root.as_os_str(), RUN.as_ref()])
}

/// Starts an omne that appends to the run in a volume.
pub fn omne(root: &Path) -> Done<Contender> {
    Contender::own("omne", &[root.as_os_str(), RUN.as_ref()])
}

/// Starts `n` contenders.
pub fn group(n: u64, start: impl Fn() -> Done<Contender>) -> Done<Vec<Contender>> {
    (0..n).map(|_| start()).collect()
}

/// Starts bare system calls on a file.
pub fn floor(file: &Path) -> Done<Contender> {
    Contender::own("floor", &[file])
}

/// Starts a version of runtimo-core on a WAL.
pub fn runtimo(context: &Context, program: &str, wal: &Path) -> Done<Contender> {
    Contender::start(Command::new(context.program(program)).arg(wal))
}

/// Returns the number of lines in a file.
pub fn lines(path: &Path) -> Done<u64> {
    let mut lines = 0;
    let mut file = File::open(path)?;
    let mut buf = vec![0; 256 << 10];
    loop {
        match std::io::Read::read(&mut file, &mut buf)? {
            0 => return Ok(lines),
            n => lines += memchr::memchr_iter(b'\n', &buf[..n]).count() as u64,
        }
    }
}

/// Checks that a file has as many lines as were acknowledged.
pub fn expect_lines(path: &Path, expected: u64) -> Done {
    match lines(path)? {
        found if found == expected => Ok(()),
        found => Err(format!("{}: {found} lines, not {expected}", path.display()).into()),
    }
}
