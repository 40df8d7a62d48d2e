//! Row 18: the private memory of the two processes of `run`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::{self, AtMost};
use crate::measure::{Figure, Line, Unit};
use crate::serve::Done;

/// The maximum private memory of the front process, in bytes.
const FRONT: f64 = 1024.0 * 1024.0;

pub struct TwoProcesses;

impl Row for TwoProcesses {
    fn number(&self) -> u8 {
        18
    }

    fn work(&self) -> &'static str {
        "private memory of the two processes of run"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let root = many::volume(scratch, "ours")?;
        let mut front = Command::new(context.program("runlog"))
            .arg("-C")
            .arg(&root)
            // The job prints the pid of its parent, and exits at the end of its input.
            .args(["run", "--", "sh", "-c", "echo $PPID; read _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut supervisor = String::new();
        let stdout = front.stdout.as_mut().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut supervisor)?;
        let of_front = private_bytes(&front.id().to_string());
        let of_supervisor = private_bytes(supervisor.trim());
        drop(front.stdin.take());
        front.wait()?;
        let line = |what, bytes, target| Line::limit(what, Figure(bytes, Unit::Memory), target);
        Ok(vec![
            line("private memory of the front", of_front?, AtMost(FRONT)),
            line(
                "private memory of the supervisor",
                of_supervisor?,
                Target::None,
            ),
        ])
    }
}

/// Returns the private memory of a process, in bytes: its anonymous pages, where a page that is
/// shared after a fork counts in part (`proc_pid_smaps(5)`). The pages of the program's file are
/// in the page cache once, however many processes run it.
fn private_bytes(pid: &str) -> Done<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with("Pss_Anon:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .ok_or("no Pss_Anon")?;
    Ok(kib * 1024.0)
}
