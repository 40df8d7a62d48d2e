//! Events that could not be written to the log yet.
//!
//! They come first in the next batch: without them, the events after them would contradict the
//! log.

use crate::log::format::event_type::SpaceClaim;
use crate::log::{AppendError, Appended, Draft, Durability, EventType, RunLog, StorageError};

/// The events, in order.
#[derive(Debug, Default)]
pub(crate) struct Unwritten(Vec<Draft>);

impl Unwritten {
    /// Adds an event.
    pub(crate) fn push(&mut self, draft: Draft) {
        self.0.push(draft);
    }

    /// Returns whether all events are in the log.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the events.
    pub(crate) fn drafts(&self) -> Vec<Draft> {
        self.0.clone()
    }

    /// Removes the events of this type, because they are not true if they are not in the log.
    pub(crate) fn discard(&mut self, kind: EventType) {
        self.0.retain(|draft| draft.kind() != kind);
    }

    /// Appends the events; see [`RunLog::append_with_callback`].
    ///
    /// # Errors
    /// See [`AppendError`].
    pub(crate) fn append(
        &mut self,
        log: &RunLog,
        written: impl FnOnce() -> Durability,
    ) -> Result<Appended, AppendError> {
        let appended = log.append_with_callback(&self.0, written);
        self.remove_written(&appended);
        if let Err(AppendError::NotWritten(StorageError::NoSpace { .. })) = &appended {
            // They must not take the space of the job's end.
            self.0.retain(|draft| draft.space() == SpaceClaim::Last);
        }
        appended
    }

    /// Removes the events that are in the log after a batch that started with them.
    pub(crate) fn remove_written(&mut self, appended: &Result<Appended, AppendError>) {
        let written = match appended {
            Ok(_) | Err(AppendError::NotDurable(_)) => self.0.len(),
            Err(AppendError::Partial { written, .. }) => *written,
            Err(_) => 0,
        };
        self.0.drain(..written.min(self.0.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn only_written_events_are_removed() {
        let run = "it".parse().unwrap();
        let mut unwritten = Unwritten::default();
        for name in ["a", "b"] {
            unwritten.push(Draft::note(&run, None, name, &()).unwrap());
        }
        let refused = StorageError::NoSpace {
            path: PathBuf::new(),
            source: io::ErrorKind::StorageFull.into(),
        };
        unwritten.remove_written(&Err(refused.into()));
        assert_eq!(unwritten.drafts().len(), 2);
        unwritten.remove_written(&Err(AppendError::Partial {
            path: PathBuf::new(),
            written: 1,
            total: 2,
            source: io::ErrorKind::StorageFull.into(),
        }));
        assert_eq!(unwritten.drafts().len(), 1);
        // The close of the run was written too.
        unwritten.remove_written(&Err(AppendError::Partial {
            path: PathBuf::new(),
            written: 2,
            total: 3,
            source: io::ErrorKind::StorageFull.into(),
        }));
        assert!(unwritten.is_empty());
    }
}
