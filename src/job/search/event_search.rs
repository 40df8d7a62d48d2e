//! A search in the events of a run.

use std::collections::VecDeque;
use std::io;

use grep_matcher::Matcher as _;

use super::line_search::{FoundLine, LineKind, LineOrigin, LineSearch, OnFound, SearchItem};
use crate::log::{DamageList, EventHead, Item, Reader};
use crate::volume::Dir;

/// The name for events among the streams of jobs.
const EVENTS: &str = "events";

/// The lines around matches.
struct Context {
    before: usize,
    after: usize,
    /// The last lines that were not passed on, at most as many as are shown before a match.
    held: VecDeque<(LineOrigin, Vec<u8>)>,
    /// The number of further lines to show after a match.
    left: usize,
    /// Whether lines were omitted since the last one that was passed on.
    is_behind_gap: bool,
    has_found: bool,
}

/// Searches the stored lines of the run in `dir` that `wants` accepts, and passes found lines to
/// `each`. Returns the damage that was skipped.
///
/// # Errors
/// The log cannot be read, or `each` fails.
pub fn search_events(
    dir: &Dir,
    search: &LineSearch,
    wants: &dyn Fn(&[u8]) -> bool,
    each: &mut OnFound<'_>,
) -> io::Result<DamageList> {
    let mut damage = DamageList::default();
    let mut context = Context {
        before: search.searcher.before_context(),
        after: search.searcher.after_context(),
        held: VecDeque::new(),
        left: 0,
        is_behind_gap: false,
        has_found: false,
    };
    let mut reader = Reader::open(dir).map_err(io::Error::other)?;
    while let Some((position, item)) = reader.next_with_position().map_err(io::Error::other)? {
        let line = match item {
            Item::Event(_, line) | Item::Foreign(_, line) => line,
            Item::Damage(one) => {
                damage.push(one);
                continue;
            }
            Item::Dropped(_) => continue,
        };
        if !wants(line) {
            continue;
        }
        let origin = || {
            let head = EventHead::parse(line);
            let file = position.file.file_name().unwrap_or_default();
            LineOrigin {
                ts: head.as_ref().and_then(|head| head.ts),
                job: head.and_then(|head| head.job),
                stream: Some(EVENTS),
                file: file.to_string_lossy().into_owned(),
                offset: position.offset,
            }
        };
        // This matcher cannot fail.
        if search.pattern.0.is_match(line).unwrap_or(false) {
            context.matched(origin(), line, each)?;
        } else {
            context.passed(origin, line, each)?;
        }
    }
    Ok(damage)
}

impl Context {
    /// Passes on a line that matches, after those before it.
    fn matched(
        &mut self,
        origin: LineOrigin,
        line: &[u8],
        each: &mut OnFound<'_>,
    ) -> io::Result<()> {
        if self.has_found && self.is_behind_gap && self.before + self.after > 0 {
            each(SearchItem::Break)?;
        }
        for (origin, held) in self.held.drain(..) {
            each(found(origin, &held, LineKind::Context))?;
        }
        self.left = self.after;
        self.is_behind_gap = false;
        self.has_found = true;
        each(found(origin, line, LineKind::Match))
    }

    /// Passes on or holds a line that does not match, if it may be close to one that does.
    fn passed(
        &mut self,
        origin: impl Fn() -> LineOrigin,
        line: &[u8],
        each: &mut OnFound<'_>,
    ) -> io::Result<()> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return each(found(origin(), line, LineKind::Context));
        }
        if self.before > 0 {
            self.held.push_back((origin(), line.to_vec()));
        }
        if self.before == 0 || self.held.len() > self.before {
            self.held.pop_front();
            self.is_behind_gap = true;
        }
        Ok(())
    }
}

fn found(origin: LineOrigin, bytes: &[u8], kind: LineKind) -> SearchItem<'_> {
    SearchItem::Line(FoundLine {
        origin,
        bytes,
        kind,
    })
}
