//! Contenders in separate processes, and commands.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::serve::Done;

/// The result of a piece of work.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// How long it took, in nanoseconds.
    pub ns: f64,
    /// The number of pieces that were done.
    pub count: u64,
    /// The peak memory of the process, in bytes.
    pub peak: f64,
}

/// A process that does work on demand; killed when it is dropped.
pub struct Contender {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Contender {
    pub fn start(command: &mut Command) -> Done<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut contender = Self {
            child,
            input,
            output,
        };
        match contender.line()?.as_str() {
            "ready" => Ok(contender),
            other => Err(format!("not ready: {other}").into()),
        }
    }

    /// Starts a contender of this package, see `contenders`.
    pub fn own<S: AsRef<OsStr>>(what: &str, args: &[S]) -> Done<Self> {
        let exe = std::env::current_exe()?;
        Self::start(Command::new(exe).args(["--serve", what]).args(args))
    }

    /// Starts the work; [`Contender::answer`] waits for its end.
    pub fn send(&mut self, what: &str) -> Done {
        Ok(writeln!(self.input, "{what}")?)
    }

    pub fn answer(&mut self) -> Done<Answer> {
        let numbers = self.numbers()?;
        let [ns, count, peak_kib] = *numbers.as_slice() else {
            return Err("not an answer".into());
        };
        let (count, peak) = (count as u64, peak_kib * 1024.0);
        Ok(Answer { ns, count, peak })
    }

    /// Returns the numbers of an answer of any length.
    pub fn numbers(&mut self) -> Done<Vec<f64>> {
        let line = self.line()?;
        let numbers: Result<_, _> = line.split(' ').map(str::parse).collect();
        Ok(numbers.map_err(|e| format!("{e}: {line}"))?)
    }

    pub fn ask(&mut self, verb: &str, n: u64) -> Done<Answer> {
        self.send(&format!("{verb} {n}"))?;
        self.answer()
    }

    /// Returns nanoseconds per piece, for `n` pieces that must all be done.
    pub fn each(&mut self, verb: &str, n: u64) -> Done<f64> {
        let answer = self.ask(verb, n)?;
        if answer.count != n {
            return Err(format!("{} of {n} done: {verb}", answer.count).into());
        }
        Ok(answer.ns / n as f64)
    }

    fn line(&mut self) -> Done<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            return Err(format!("a contender ended early: {status}").into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a command to its end and returns the time in nanoseconds.
pub fn time(command: &mut Command) -> Done<f64> {
    let begin = Instant::now();
    let status = command.status()?;
    let took = begin.elapsed();
    if !status.success() {
        return Err(format!("{status}: {command:?}").into());
    }
    Ok(took.as_nanos() as f64)
}

/// Runs a command with its stdin and output discarded, and returns the time in nanoseconds.
pub fn time_silent(command: &mut Command) -> Done<f64> {
    time(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}
