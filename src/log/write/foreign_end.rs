//! The end of a run that another program started and closed.
//!
//! omne-cli ends a run with a line that no line of runlog repeats, so all lines of other
//! programs have to be searched. Each is searched once.

use std::sync::Arc;

use super::active_segment::ActiveSegment;
use super::handle::RunHandle;
use crate::log::error::StorageError;
use crate::log::format::classify::LineClass;
use crate::log::format::event_head::EventHead;
use crate::log::format::event_type::EventType;
use crate::log::segment::line_reader::{FileSpan, LineReader, classify_raw};
use crate::log::segment::segment_set;
use crate::volume::IoContext;

/// The types of the lines that end a run of omne-cli.
const END_TYPES: [&str; 2] = ["pipe.completed", "pipe.aborted"];

/// The search for the end of a run in the lines of other programs.
#[derive(Debug, Default)]
pub(crate) struct ForeignEnd {
    /// Whether another program started the run, once that is known.
    is_foreign_run: Option<bool>,
    /// The end of the searched part of the segment, in bytes.
    searched: u64,
    found: bool,
}

impl ForeignEnd {
    /// Returns whether another program started the run and closed it, according to the whole
    /// lines of `segment` up to `end`; `None` if more than `limit` bytes would have to be read.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn search(
        &mut self,
        handle: &RunHandle,
        segment: &ActiveSegment,
        end: u64,
        limit: u64,
    ) -> Result<Option<bool>, StorageError> {
        if end < self.searched {
            *self = Self::default();
        }
        let is_foreign_run = match self.is_foreign_run {
            Some(known) => known,
            None => *self.is_foreign_run.insert(is_foreign_run(handle, segment)?),
        };
        if !is_foreign_run || self.found {
            return Ok(Some(self.found));
        }
        if end - self.searched > limit {
            return Ok(None);
        }
        let span = FileSpan::new(Arc::clone(segment.file()), self.searched, end);
        let mut lines = LineReader::from_span(span);
        while let Some(line) = lines.next_line().at("read", handle.active_path())? {
            if !line.whole {
                break;
            }
            self.found |= ends_run(line.bytes);
            self.searched = line.end();
        }
        Ok(Some(self.found))
    }
}

fn ends_run(line: &[u8]) -> bool {
    // Most lines need not be parsed.
    let may_end = |kind: &&str| memchr::memmem::find(line, kind.as_bytes()).is_some();
    END_TYPES.iter().any(may_end)
        && EventHead::parse(line)
            .is_some_and(|head| head.ts.is_some() && END_TYPES.contains(&head.kind.as_str()))
}

/// Returns whether the first event of the run belongs to another program. A log with sealed
/// segments was started by runlog, because no other log is rotated.
fn is_foreign_run(handle: &RunHandle, segment: &ActiveSegment) -> Result<bool, StorageError> {
    if segment_set::names(handle.dir())?.len() > 1 {
        return Ok(false);
    }
    let span = FileSpan::new(Arc::clone(segment.file()), 0, u64::MAX);
    let mut lines = LineReader::from_span(span);
    while let Some(line) = lines.next_line().at("read", handle.active_path())? {
        match classify_raw(&line) {
            LineClass::Ours(env) if env.kind == EventType::LogRepaired => {}
            LineClass::Ours(_) => return Ok(false),
            LineClass::Foreign(_) => return Ok(true),
            LineClass::Damage(_) => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;
    use crate::log::test_log::{PLAIN, TestLog, written};
    use crate::log::*;
    use crate::volume::layout;

    fn omne(kind: &str, more: &str) -> Vec<u8> {
        format!(
            "{{\"type\":\"{kind}\",\"id\":\"01k0000000000000000000000a\",\
             \"ts\":\"2026-04-15T12:00:00.000000Z\",\"run_id\":\"r\"{more}}}\n"
        )
        .into_bytes()
    }

    fn started() -> Vec<u8> {
        omne("pipe.started", r#","pipe":"p""#)
    }

    /// Returns more lines than are read under the locks.
    fn many() -> Vec<u8> {
        let line = omne("node.started", r#","node_id":"n","kind":"bash""#);
        line.repeat((2 << 20) / line.len())
    }

    fn emit(lines: &[Vec<u8>]) -> Result<Appended, AppendError> {
        let it = TestLog::new();
        let log = it.log().foreign_policy(ForeignPolicy::Accept);
        fs::write(it.active(), lines.concat()).unwrap();
        log.append(&[it.note(1)], Durability::Process)
    }

    #[test]
    fn end_by_another_program_is_found_anywhere() {
        let end = omne("pipe.completed", "");
        let is_closed = |lines: &[Vec<u8>]| match emit(lines) {
            Ok(_) => false,
            Err(AppendError::Refused(Refusal::Closed { .. })) => true,
            Err(e) => panic!("{e}"),
        };
        assert!(is_closed(&[started(), end.clone()]));
        assert!(is_closed(&[started(), end.clone(), many()]));
        assert!(is_closed(&[started(), many(), end.clone(), many()]));
        assert!(!is_closed(&[started(), many()]));
        // The name of the type alone does not end a run, nor does a pipe in a run of runlog.
        let node = omne("node.started", r#","node_id":"pipe.completed","kind":"x""#);
        assert!(!is_closed(&[started(), node]));
        let ours = written(0, PLAIN);
        assert!(!is_closed(&[ours.clone(), started(), end.clone(), many()]));
        assert!(!is_closed(&[ours, many(), end]));
    }

    #[test]
    fn lines_are_searched_once_within_limit() {
        let it = TestLog::new();
        let log = it.log();
        fs::write(it.active(), [started(), many()].concat()).unwrap();
        let len = fs::metadata(it.active()).unwrap().len();
        let file = Arc::new(fs::File::open(it.active()).unwrap());
        let segment = ActiveSegment::new(file, &it.active()).unwrap();
        let mut end = ForeignEnd::default();
        let mut search = |len, limit| end.search(log.handle(), &segment, len, limit).unwrap();
        assert_eq!(search(len, 1 << 20), None);
        assert_eq!(search(len, u64::MAX), Some(false));
        assert_eq!(search(len, 0), Some(false));
        let mut active = fs::File::options().append(true).open(it.active()).unwrap();
        active.write_all(&omne("pipe.aborted", "")).unwrap();
        let len = fs::metadata(it.path(layout::ACTIVE)).unwrap().len();
        assert_eq!(search(len, 1 << 20), Some(true));
    }
}
