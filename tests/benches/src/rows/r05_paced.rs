//! Row 5: eight processes append to one run, each with an event per millisecond.

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::{AtLeast, AtMost};
use crate::measure::{Line, Mode, Samples, Unit, interleave};
use crate::process::Contender;
use crate::serve::Done;

const PROCESSES: u64 = 8;
/// The time between two events of one process, in microseconds.
const PERIOD_US: u64 = 1000;

pub struct Paced;

impl Row for Paced {
    fn number(&self) -> u8 {
        5
    }

    fn work(&self) -> &'static str {
        "8 processes, an event a millisecond each"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let (rounds, events) = (context.rounds(), context.n(1000, 200));
        let (our_root, omne_root) = (
            many::volume(scratch, "ours")?,
            many::volume(scratch, "omne")?,
        );
        let mut ours = many::group(PROCESSES, || many::ours(&our_root))?;
        let mut omne = many::group(PROCESSES, || many::omne(&omne_root))?;
        // The share of the rate that was reached, in each round after the first.
        let (mut our_rate, mut omne_rate) = (Samples::default(), Samples::default());
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| pace(&mut ours, events, &mut our_rate)),
            Box::new(|| pace(&mut omne, events, &mut omne_rate)),
        ];
        let samples = interleave(rounds, &mut modes)?;
        drop(modes);
        let all = events * PROCESSES * (rounds as u64 + 1);
        for root in [&our_root, &omne_root] {
            many::expect_lines(&many::log_of(root, many::RUN), all)?;
        }
        let asked = Samples(vec![
            PROCESSES as f64 * 1e6 / PERIOD_US as f64;
            our_rate.0.len()
        ]);
        let [ours, omne] = samples.as_slice() else {
            return Err("two modes".into());
        };
        let line = |what, unit, ours, peer, target| Line::times(what, unit, ours, peer, target);
        Ok(vec![
            line(
                "events a second",
                Unit::Rate,
                &our_rate,
                ("asked for", &asked),
                AtLeast(0.99),
            ),
            line(
                "99th percentile of an append",
                Unit::Time,
                ours,
                ("omne append", omne),
                AtMost(0.01),
            ),
        ])
    }
}

/// Returns the 99th percentile of all appends in nanoseconds, and adds the rate to `rate`.
fn pace(group: &mut [Contender], events: u64, rate: &mut Samples) -> Done<f64> {
    let what = format!("pace {events} {PERIOD_US}");
    group.iter_mut().try_for_each(|c| c.send(&what))?;
    let mut each = Samples::default();
    let mut longest: f64 = 0.0;
    for contender in group {
        let mut numbers = contender.numbers()?.into_iter();
        longest = longest.max(numbers.next().ok_or("no time")?);
        each.0.extend(numbers);
    }
    // The last event is due one period before its process ends.
    let took = longest + PERIOD_US as f64 * 1e3;
    rate.0.push(each.0.len() as f64 * 1e9 / took);
    Ok(each.at(0.99))
}
