//! Row 2: sixteen events in one batch.

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Line, Mode, Unit, interleave};
use crate::serve::Done;

pub struct InBatches;

impl Row for InBatches {
    fn number(&self) -> u8 {
        2
    }

    fn work(&self) -> &'static str {
        "append of 16 events as one batch"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let (rounds, n) = (context.n(41, 5), context.n(4096, 512));
        let (root, bare) = (many::volume(scratch, "ours")?, scratch.file("bare"));
        let mut ours = many::ours(&root)?;
        let mut floor = many::floor(&bare)?;
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| ours.each("batch", n)),
            Box::new(|| floor.each("append", n)),
        ];
        let samples = interleave(rounds, &mut modes)?;
        drop(modes);
        let all = n * (rounds as u64 + 1);
        for log in [many::log_of(&root, many::RUN), bare] {
            many::expect_lines(&log, all)?;
        }
        let [ours, floor] = samples.as_slice() else {
            return Err("two modes".into());
        };
        let what = "an event of a batch of 16";
        Ok(vec![Line::times(
            what,
            Unit::Time,
            ours,
            ("write(2) of each", floor),
            AtMost(1.3),
        )])
    }
}
