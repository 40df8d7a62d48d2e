//! Following a run while it grows, over rotations and compressions: nothing is left
//! out, and nothing is given out twice.

use super::LogError;
use super::reader::{Item, Position, Reader};
use super::segments::open_segments;
use super::sequence::Sequence;
use crate::volume::Dir;

/// Goes on where a reader ended.
#[derive(Debug)]
pub struct Follower<'a> {
    dir: &'a Dir,
    position: Option<Position>,
    sequence: Option<Sequence>,
}

impl<'a> Follower<'a> {
    /// Goes on behind `reader`, which has reached the end of the run in `dir`.
    pub fn behind(reader: &Reader, dir: &'a Dir) -> Self {
        let (sequence, position) = reader.progress();
        Self {
            dir,
            position,
            sequence,
        }
    }

    /// Gives out what has come since, in order; says whether anything has.
    ///
    /// # Errors
    /// A segment cannot be read, or what `each` ended with.
    pub fn news<E: From<LogError>>(
        &mut self,
        mut each: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut segments = open_segments(self.dir)?;
        if self.dir.is_gone() {
            let path = self.dir.path().to_owned();
            return Err(LogError::RunGone { path }.into());
        }
        let mut offset = 0;
        if let Some(last) = self.position {
            // The file as it was, or what became of it: sealed, then compressed.
            let at = segments.iter().position(|s| s.key == last.key).or_else(|| {
                segments
                    .iter()
                    .position(|s| s.first_event() == last.first_seq)
            });
            match at {
                Some(at) => {
                    segments.drain(..at);
                    offset = last.offset;
                }
                // It is gone: what came behind it is left, and the gap is told.
                None => segments.retain(|s| s.first_event() > last.first_seq),
            }
        }
        let mut reader = Reader::starting(segments, offset, self.sequence);
        let mut any = false;
        while let Some(item) = reader.next_item()? {
            any = true;
            each(item)?;
        }
        let (sequence, position) = reader.progress();
        self.sequence = sequence;
        self.position = position.or(self.position);
        Ok(any)
    }
}
