//! Where to start in a run that existed when `tail` started.

use anyhow::Result;

use super::follow::Tailer;
use super::select::StartPoint;
use super::until::Until;
use crate::cli::tail::args::{DEFAULT_LINES, LineCount};
use crate::log::{FollowStart, Item, Reader};
use crate::volume::RunId;

impl Tailer<'_> {
    /// Returns where to start in such a run.
    pub(crate) fn start_point(&self, run: &RunId) -> Result<StartPoint> {
        let args = self.args;
        let awaits_event = matches!(args.until, Some(Until::Type(_))) && !args.all;
        let (start, skip) = match (self.cursors.cursor_of(run), args.n) {
            (Some(cursor), _) => (FollowStart::After(cursor.clone()), 0),
            // Other runs were read before, so this one is new.
            (None, _) if self.cursors.is_resumed() => (StartPoint::new_run(args).start, 0),
            (None, Some(LineCount::All)) => (FollowStart::Beginning, 0),
            (None, Some(LineCount::From(n))) => (FollowStart::Beginning, n.saturating_sub(1)),
            (None, Some(LineCount::Last(n))) => (FollowStart::Last(n), 0),
            (None, None) if args.cursor_file.is_some() => (FollowStart::Beginning, 0),
            (None, None) if awaits_event => {
                // The event may be older than the lines to show.
                let lines = self.lines_until_event(run)?;
                (FollowStart::Beginning, lines.saturating_sub(DEFAULT_LINES))
            }
            (None, None) => (FollowStart::Last(DEFAULT_LINES), 0),
        };
        Ok(StartPoint {
            start,
            skip,
            existed: true,
        })
    }

    /// Returns the number of matching lines of a run up to the event that ends `tail`, or up to
    /// the end of the log if it has no such event yet.
    fn lines_until_event(&self, run: &RunId) -> Result<usize> {
        let Some(dir) = self.open(run)? else {
            return Ok(0);
        };
        let mut lines = 0;
        let mut reader = Reader::open(&dir)?;
        while let Some(item) = reader.next_item()? {
            if let Item::Event(_, line) | Item::Foreign(_, line) = item {
                let matched = self.filter.matches(line);
                lines += usize::from(matched.shown);
                if matched.last {
                    break;
                }
            }
        }
        Ok(lines)
    }
}
