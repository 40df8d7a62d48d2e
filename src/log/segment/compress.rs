//! Compression of sealed segments to `.jsonl.gz`, outside the run's lock.
//!
//! Each segment is compressed under the lock of its own file, into a new file that is synced,
//! read back, compared and renamed. Then the directory is synced, and only then is the plain
//! file removed. If both files exist, the plain one counts, so a crash at any point loses
//! nothing.

use std::fs::File;
use std::io;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use serde::Serialize;

use super::gzip::GzipReader;
use super::line_reader::FileSpan;
use super::segment_file::{Segment, SegmentFile};
use super::segment_set;
use crate::log::error::StorageError;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::volume::{Dir, FileKey, IoContext, copy_access, layout};

/// The number of bytes to read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// How long a writer that has not yet noticed the rotation may keep the segment locked.
const WRITER_GRACE: Duration = Duration::from_millis(50);

/// A segment that was compressed, or that a dry run would compress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compressed {
    /// The name of the compressed file.
    pub file: String,
    /// The length before compression, in bytes.
    pub bytes: u64,
    /// The length after compression, in bytes; `None` in a dry run.
    pub compressed_bytes: Option<u64>,
}

/// Compresses the plain sealed segments of the run in `dir`.
///
/// Skips a segment that another process has locked, and one that grew after it was sealed: the
/// program that appended to it may do so again.
///
/// # Errors
/// A segment cannot be read, or its compressed file cannot be written. The plain file remains.
pub fn compress_sealed(dir: &Dir) -> Result<Vec<Compressed>, StorageError> {
    remove_unfinished(dir)?;
    let mut done = Vec::new();
    for segment in eligible_segments(&segment_set::open_segments(dir)?) {
        done.extend(compress(dir, segment)?);
    }
    Ok(done)
}

/// Lists the segments of the run in `dir` that [`compress_sealed`] would compress.
///
/// # Errors
/// A segment cannot be read.
pub fn plan_compression(dir: &Dir) -> Result<Vec<Compressed>, StorageError> {
    let segments = segment_set::open_segments(dir)?;
    let planned = |segment: &Segment| Compressed {
        file: layout::compressed(&segment.name),
        bytes: segment.len,
        compressed_bytes: None,
    };
    Ok(eligible_segments(&segments).map(planned).collect())
}

fn eligible_segments(segments: &[Segment]) -> impl Iterator<Item = &Segment> {
    let pairs = segments.iter().zip(segments.iter().skip(1));
    // Without a checkpoint after the segment, its sealed length is unknown.
    let is_unchanged = |(segment, next): &(&Segment, &Segment)| {
        let plain = segment.first_seq.is_some() && !segment.compressed;
        plain && next.sealed_bytes() == Some(segment.len)
    };
    pairs.filter(is_unchanged).map(|(segment, _)| segment)
}

fn compress(dir: &Dir, segment: &Segment) -> Result<Option<Compressed>, StorageError> {
    let plain = match segment.open() {
        Ok(SegmentFile {
            file,
            compressed: false,
            ..
        }) => file,
        // The segment was compressed or pruned after it was listed.
        Ok(_) => return Ok(None),
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(_lock) = file_lock::exclusive_within(&*plain, &segment.path, WRITER_GRACE)? else {
        return Ok(None);
    };
    let unchanged = dir.stat(&segment.name)?.is_some_and(|stat| {
        FileKey::from(&stat) == segment.key && stat.st_size as u64 == segment.len
    });
    if !unchanged {
        return Ok(None);
    }
    let name = layout::compressed(&segment.name);
    let unfinished = layout::temp_segment_name(&name, &fresh_ulid());
    let file = Arc::new(dir.create_new(&unfinished)?);
    let path = dir.path().join(&unfinished);
    // This lock shows other processes that the file is still being written.
    let _in_progress = file_lock::try_exclusive(&*file, &path)?;
    match copy_access(&plain, &file) {
        // Leave another user's segment plain, so that its owner can still read it.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            dir.remove_file(&unfinished)?;
            return Ok(None);
        }
        copied => copied.at("copy the owner and mode of the segment to", &path)?,
    }
    let made = write_compressed(FileSpan::new(Arc::clone(&plain), 0, segment.len), &file)
        .and_then(|written| Ok((written, read_back(&file)?)))
        .at("compress to", &path);
    let checked = made.and_then(|(written, read)| {
        if written != read || written.0 != segment.len {
            let mismatch = io::Error::other("the compressed file reads back differently");
            return Err(mismatch).at("compress to", &path);
        }
        // A process that died before it removed the plain file may have left a compressed one.
        dir.remove_file(&name)?;
        dir.rename_to(&unfinished, dir, &name)?;
        dir.sync()
    });
    if let Err(e) = checked {
        drop(dir.remove_file(&unfinished));
        return Err(e.into());
    }
    if !remove_plain(dir, segment)? {
        return Ok(None);
    }
    dir.sync()?;
    let compressed_bytes = file.metadata().at("stat", &path)?.len();
    Ok(Some(Compressed {
        file: name,
        bytes: segment.len,
        compressed_bytes: Some(compressed_bytes),
    }))
}

/// Removes the plain file under the lock of the run, so that the caller holds both locks.
///
/// Returns `false` if another process kept that lock. Both files then remain, and the plain one
/// counts.
fn remove_plain(dir: &Dir, segment: &Segment) -> Result<bool, StorageError> {
    let lock = dir.append(layout::LOCK)?;
    let path = dir.path().join(layout::LOCK);
    let Some(_run_lock) = file_lock::exclusive_within(&lock, &path, LOCK_TIMEOUT)? else {
        return Ok(false);
    };
    dir.remove_file(&segment.name)?;
    Ok(true)
}

/// Writes the compressed segment and syncs it. Returns the length and the checksum of the
/// plain bytes.
fn write_compressed(mut plain: FileSpan<Arc<File>>, file: &File) -> io::Result<(u64, u32)> {
    let mut gz = GzEncoder::new(file, Compression::default());
    let sum = checksum(&mut plain, |chunk| gz.write_all(chunk))?;
    gz.finish()?.sync_all()?;
    Ok(sum)
}

fn read_back(file: &Arc<File>) -> io::Result<(u64, u32)> {
    let span = FileSpan::new(Arc::clone(file), 0, u64::MAX);
    checksum(&mut GzipReader::new(span), |_| Ok(()))
}

/// Returns the length and the CRC-32 of a stream, and passes each chunk to `each`.
fn checksum(
    from: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(u64, u32)> {
    let mut sum = Crc::new();
    let mut bytes = 0;
    let mut buf = vec![0; CHUNK_BYTES];
    loop {
        let n = match from.read(&mut buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let chunk = buf.get(..n).unwrap_or_default();
        if chunk.is_empty() {
            return Ok((bytes, sum.sum()));
        }
        sum.update(chunk);
        bytes += n as u64;
        each(chunk)?;
    }
}

/// The minimum age of an unfinished file to remove: a new one may not be locked yet.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// Removes the unfinished files of interrupted rotations and compressions.
fn remove_unfinished(dir: &Dir) -> Result<(), StorageError> {
    for name in dir.names()? {
        if !name.ends_with(layout::TEMP_SUFFIX) {
            continue;
        }
        let Some(file) = dir.read(&name)? else {
            continue;
        };
        let path = dir.path().join(&name);
        let age = file.metadata().at("stat", &path)?.modified();
        let age = age.ok().and_then(|at| at.elapsed().ok());
        if age.is_none_or(|age| age < STALE_AFTER) {
            continue;
        }
        if let Some(_lock) = file_lock::try_exclusive(&file, &path)? {
            dir.remove_file(&name)?;
        }
    }
    Ok(())
}
