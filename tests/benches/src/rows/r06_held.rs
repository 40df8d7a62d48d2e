//! Row 6: another process holds the lock for 99 ms of every 100.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::{self, AtMost};
use crate::measure::{Figure, Line, Unit};
use crate::process::Contender;
use crate::serve::Done;

/// The number of processes that try to append at the same time.
const PROCESSES: u64 = 4;

pub struct Held;

impl Row for Held {
    fn number(&self) -> u8 {
        6
    }

    fn work(&self) -> &'static str {
        "the lock held by another for 99% of the time"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let rounds = context.n(7, 1);
        let (our_root, omne_root) = (
            many::volume(scratch, "ours")?,
            many::volume(scratch, "omne")?,
        );
        let mut ours = many::group(PROCESSES, || many::ours(&our_root))?;
        let mut omne = many::group(PROCESSES, || many::omne(&omne_root))?;
        let our_log = many::log_of(&our_root, many::RUN);
        let omne_log = many::log_of(&omne_root, many::RUN);
        // Make sure that the log exists and its end is known.
        let first = ours.first_mut().ok_or("no process")?;
        first.each("append", 1)?;
        let (mut taken, mut taken_of_omne) = (0, 0);
        for _ in 0..rounds {
            taken += attempts(&our_log.with_file_name("lock"), &mut ours)?;
            taken_of_omne += attempts(&omne_log, &mut omne)?;
        }
        many::expect_lines(&our_log, taken + 1)?;
        many::expect_lines(&omne_log, taken_of_omne)?;
        let all = rounds * PROCESSES;
        let line = |who: &str, taken, target| {
            let what = format!("time-outs of {who} in {all} attempts");
            Line::limit(&what, Figure((all - taken) as f64, Unit::Count), target)
        };
        Ok(vec![
            line("runlog", taken, AtMost(0.0)),
            line("omne", taken_of_omne, Target::None),
        ])
    }
}

/// Returns how many of the processes appended their event while another one holds the lock.
fn attempts(lock: &Path, group: &mut [Contender]) -> Done<u64> {
    let _holder = Contender::own("hold", &[lock])?;
    for contender in group.iter_mut() {
        contender.send("try 1")?;
        // Start them at different moments of the 100 ms.
        thread::sleep(Duration::from_millis(23));
    }
    let mut taken = 0;
    for contender in group {
        taken += contender.answer()?.count;
    }
    Ok(taken)
}
