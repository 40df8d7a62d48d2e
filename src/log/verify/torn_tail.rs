//! The last line of a log without a `\n`: torn, or still being written.

use crate::log::error::StorageError;
use crate::log::lock::file_lock;
use crate::log::segment::segment_file::Segment;
use crate::volume::{Dir, FileKey, layout};

/// The bytes after the last `\n` of the active segment.
pub(crate) struct UnfinishedLine {
    /// The active segment.
    pub segment: Segment,
    /// The offset of the first of these bytes.
    pub offset: u64,
}

impl UnfinishedLine {
    /// Returns the unfinished line of an active segment whose last whole line ends at `end`.
    pub(crate) fn find(active: Option<&Segment>, end: Option<u64>) -> Option<Self> {
        let (active, offset) = (active?, end?);
        (offset < active.len).then(|| Self {
            segment: active.clone(),
            offset,
        })
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> u64 {
        self.segment.len - self.offset
    }

    /// Returns whether no process is writing the line.
    ///
    /// Takes shared locks, which cannot be held together with a writer's.
    pub(crate) fn is_torn(&self, dir: &Dir) -> Result<bool, StorageError> {
        let lock_file = dir.read(layout::LOCK)?;
        let lock_path = dir.path().join(layout::LOCK);
        let _run_lock = match &lock_file {
            None => None,
            Some(file) => match file_lock::try_shared(file, &lock_path)? {
                None => return Ok(false),
                guard => guard,
            },
        };
        let segment = &self.segment;
        let file = segment.open()?.file;
        let Some(_segment_lock) = file_lock::try_shared(&*file, &segment.path)? else {
            return Ok(false);
        };
        is_unchanged(dir, Some(segment))
    }
}

/// Returns whether the active segment is still the file that was read, with the same length.
pub(crate) fn is_unchanged(dir: &Dir, active: Option<&Segment>) -> Result<bool, StorageError> {
    let now = dir.stat(layout::ACTIVE)?;
    Ok(match (now, active) {
        (Some(stat), Some(read)) => {
            FileKey::from(&stat) == read.key && stat.st_size as u64 == read.len
        }
        (None, None) => true,
        _ => false,
    })
}
