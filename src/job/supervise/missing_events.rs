//! Events of a job that could not be logged: the first one is reported with its reason, the others
//! with their number.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::job::capture::stream::OnWarning;
use crate::log::AppendError;
use crate::volume::error_chain;

/// Counts the events of a job that are not in its log, apart from its last ones.
pub(crate) struct MissingEvents {
    on_warning: OnWarning,
    count: AtomicU64,
}

impl MissingEvents {
    pub(crate) fn new(on_warning: OnWarning) -> Self {
        Self {
            on_warning,
            count: AtomicU64::new(0),
        }
    }

    /// Reports an event, such as "a sample", unless another one was reported before.
    pub(crate) fn report(&self, what: &str, e: &AppendError) {
        if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            let chain = error_chain(e);
            (self.on_warning)(&format!("{what} is not in the log: {chain}"));
        }
    }

    /// Reports how many others there were.
    pub(crate) fn finish(&self) {
        let count = self.count.swap(0, Ordering::Relaxed);
        match count.saturating_sub(1) {
            0 => {}
            1 => (self.on_warning)("1 more event of the job is not in the log"),
            n => (self.on_warning)(&format!("{n} more events of the job are not in the log")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::log::StorageError;

    #[test]
    fn missing_events_are_reported_once_and_counted() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let on_warning: OnWarning =
            Arc::new(move |text| sink.lock().unwrap().push(text.to_owned()));
        let missing = MissingEvents::new(on_warning);
        let full = AppendError::NotWritten(StorageError::NoSpace {
            path: PathBuf::from("log"),
            source: io::ErrorKind::StorageFull.into(),
        });
        for _ in 0..3 {
            missing.report("a sample", &full);
        }
        missing.finish();
        missing.finish();
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("a sample is not in the log: "),
            "{told:?}"
        );
        assert_eq!(told[1], "2 more events of the job are not in the log");
    }
}
