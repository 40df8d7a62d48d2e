//! A process that does the work of a bench on demand, and reports how long each piece took.
//!
//! It reads lines from stdin, `VERB N`, and answers each with one line: the nanoseconds, the
//! count, and its peak memory in KiB. Every contender therefore runs in a separate process, is
//! timed by the same code, and can run in lockstep with the others.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::thread;
use std::time::{Duration, Instant};

/// The result of a benchmark.
pub type Done<T = ()> = Result<T, Box<dyn Error>>;

/// A contender that can be measured.
pub trait Server {
    /// Does `verb` with the number `n`, and returns how many pieces of work it did.
    ///
    /// # Errors
    /// The work failed.
    fn does(&mut self, verb: &str, n: u64) -> Done<u64>;
}

/// Serves stdin until it ends.
///
/// # Errors
/// A piece of work failed, so the benchmark is void.
pub fn serve(server: &mut dyn Server) -> Done {
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["pace", events, period_us] => {
                let (events, period) = (events.parse()?, period_us.parse()?);
                let (all, each) = pace(server, events, Duration::from_micros(period))?;
                write!(out, "{}", all.as_nanos())?;
                for took in each {
                    write!(out, " {}", took.as_nanos())?;
                }
                writeln!(out)?;
            }
            [verb, n] => {
                let n = n.parse()?;
                let begin = Instant::now();
                let count = server.does(verb, n)?;
                let took = begin.elapsed().as_nanos();
                writeln!(out, "{took} {count} {}", peak_kib()?)?;
            }
            _ => return Err(format!("not understood: {line}").into()),
        }
        out.flush()?;
    }
    Ok(())
}

/// Appends an event per `period`. A late event is followed by the next one at once.
fn pace(server: &mut dyn Server, events: u32, period: Duration) -> Done<(Duration, Vec<Duration>)> {
    let begin = Instant::now();
    let mut each = Vec::new();
    for number in 0..events {
        let due = begin + period * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let called = Instant::now();
        if server.does("append", 1)? != 1 {
            return Err("an event was not taken".into());
        }
        each.push(called.elapsed());
    }
    Ok((begin.elapsed(), each))
}

/// Returns the peak memory of this process, in KiB.
///
/// # Errors
/// The kernel does not report it.
fn peak_kib() -> Done<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let line = line.ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
