//! Row 3: one process appends durable events, in lockstep.

use super::{Row, many};
use crate::context::{Context, Scratch};
use crate::measure::Target::AtLeast;
use crate::measure::{Line, Mode, Unit, lockstep};
use crate::serve::Done;

/// The number of events that the WAL of 0.1.4 already has.
const FILLED: u64 = 10_000;

pub struct Durable;

impl Row for Durable {
    fn number(&self) -> u8 {
        3
    }

    fn work(&self) -> &'static str {
        "durable append, one process"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        let (rounds, operations) = (context.rounds(), context.n(60, 5));
        let root = many::volume(scratch, "ours")?;
        let (bare, new_wal, old_wal) = (
            scratch.file("bare"),
            scratch.file("new.jsonl"),
            scratch.file("old.jsonl"),
        );
        let mut ours = many::ours(&root)?;
        let mut floor = many::floor(&bare)?;
        let mut new = many::runtimo(context, "runtimo-new", &new_wal)?;
        let mut old = many::runtimo(context, "runtimo-old", &old_wal)?;
        old.each("fill", FILLED)?;
        let mut modes: [Mode<'_>; 3] = [
            Box::new(|| ours.each("durable", 1)),
            Box::new(|| floor.each("durable", 1)),
            Box::new(|| new.each("append", 1)),
        ];
        let samples = lockstep(rounds, operations, &mut modes)?;
        drop(modes);
        // Separate from the others: it rewrites 4 MB for each event, which slows down whatever
        // comes next.
        let mut modes: [Mode<'_>; 2] = [
            Box::new(|| ours.each("durable", 1)),
            Box::new(|| old.each("append", 1)),
        ];
        let samples_old = lockstep(rounds, operations, &mut modes)?;
        drop(modes);
        let all = (rounds * (operations + 1)) as u64;
        many::expect_lines(&many::log_of(&root, many::RUN), 2 * all)?;
        many::expect_lines(&bare, all)?;
        // The WAL starts with a marker.
        many::expect_lines(&new_wal, all + 1)?;
        // Each append leaves an empty line after the previous one.
        if many::lines(&old_wal)? < FILLED + all {
            return Err("0.1.4 did not append".into());
        }
        let ([ours, floor, new], [again, old]) = (samples.as_slice(), samples_old.as_slice())
        else {
            return Err("three modes and two".into());
        };
        let line =
            |ours, peer, target| Line::faster("durable append", Unit::Time, ours, peer, target);
        Ok(vec![
            line(ours, ("write + fdatasync", floor), AtLeast(0.95)),
            line(ours, ("runtimo 0.10.3", new), AtLeast(1.0)),
            line(again, ("runtimo 0.1.4, 10,000 events", old), AtLeast(20.0)),
        ])
    }
}
