//! Row 1: one process appends without syncs.

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::AtMost;
use crate::measure::{Line, Mode, Unit, interleave};
use crate::serve::Done;

pub struct Append;

impl Row for Append {
    fn number(&self) -> u8 {
        1
    }

    fn work(&self) -> &'static str {
        "append, not durable, one process"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let (rounds, n) = (context.n(41, 5), context.n(2000, 500));
        let (our_root, omne_root) = (
            many::volume(scratch, "ours")?,
            many::volume(scratch, "omne")?,
        );
        let bare = scratch.file("bare");
        let mut ours = many::ours(&our_root)?;
        let mut omne = many::omne(&omne_root)?;
        let mut floor = many::floor(&bare)?;
        let mut modes: [Mode<'_>; 3] = [
            Box::new(|| ours.each("append", n)),
            Box::new(|| omne.each("append", n)),
            Box::new(|| floor.each("append", n)),
        ];
        let samples = interleave(rounds, &mut modes)?;
        drop(modes);
        let all = n * (rounds as u64 + 1);
        for log in [
            many::log_of(&our_root, many::RUN),
            many::log_of(&omne_root, many::RUN),
            bare,
        ] {
            many::expect_lines(&log, all)?;
        }
        let [ours, omne, floor] = samples.as_slice() else {
            return Err("three modes".into());
        };
        let what = "append";
        Ok(vec![
            Line::times(what, Unit::Time, ours, ("omne append", omne), AtMost(1.0)),
            Line::times(what, Unit::Time, ours, ("write(2)", floor), AtMost(3.5)),
        ])
    }
}
