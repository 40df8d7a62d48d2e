//! Sealed segments become `.jsonl.gz`, outside of the run's lock.
//!
//! Each under a lock of its own file: into a new file, synced, read back and compared,
//! renamed, its name synced; only then is the plain one removed. Where both are there
//! the plain one counts, so that a crash at any moment loses nothing.

use std::fs::File;
use std::io;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use serde::Serialize;

use super::line_reader::FileSpan;
use super::segment_set;
use super::segment_set::Segment;
use crate::log::error::LogError;
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::volume::{Dir, FileKey, IoContext, layout};

/// What is read at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// So long a writer may hold the lock of the segment who has yet to see that it is sealed.
const WRITER_GRACE: Duration = Duration::from_millis(50);

/// A segment that was compressed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compressed {
    /// Its name now.
    pub file: String,
    /// Its length before, in bytes.
    pub bytes: u64,
    /// Its length now, in bytes; `None` where it only would be.
    pub compressed_bytes: Option<u64>,
}

/// Compresses the sealed segments of the run in `dir` that are not yet. One that another
/// process is at is passed over, and so is one that grew after it was sealed: who wrote
/// to it may do so again.
///
/// # Errors
/// A segment could not be read, or its compressed file not be written; the plain one
/// stands then.
pub fn compress_sealed(dir: &Dir) -> Result<Vec<Compressed>, LogError> {
    remove_unfinished(dir)?;
    let mut done = Vec::new();
    for segment in eligible_segments(&segment_set::open_segments(dir)?) {
        done.extend(compress(dir, segment)?);
    }
    Ok(done)
}

/// The sealed segments of the run in `dir` that [`compress_sealed`] would compress.
///
/// # Errors
/// A segment cannot be read.
pub fn plan_compression(dir: &Dir) -> Result<Vec<Compressed>, LogError> {
    let segments = segment_set::open_segments(dir)?;
    let would = |segment: &Segment| Compressed {
        file: layout::compressed(&segment.name),
        bytes: segment.len,
        compressed_bytes: None,
    };
    Ok(eligible_segments(&segments).map(would).collect())
}

fn eligible_segments(segments: &[Segment]) -> impl Iterator<Item = &Segment> {
    let pairs = segments.iter().zip(segments.iter().skip(1));
    // One whose checkpoint does not tell its length is left as it is, too.
    let whole = |(segment, next): &(&Segment, &Segment)| {
        let plain = segment.first_seq.is_some() && !segment.compressed;
        plain && next.sealed_bytes() == Some(segment.len)
    };
    pairs.filter(whole).map(|(segment, _)| segment)
}

fn compress(dir: &Dir, segment: &Segment) -> Result<Option<Compressed>, LogError> {
    let Some(_lock) = file_lock::exclusive_within(&segment.file, &segment.path, WRITER_GRACE)?
    else {
        return Ok(None);
    };
    let unchanged = dir.stat(&segment.name)?.is_some_and(|stat| {
        FileKey::from(&stat) == segment.key && stat.st_size as u64 == segment.len
    });
    if !unchanged {
        return Ok(None);
    }
    let name = layout::compressed(&segment.name);
    let unfinished = layout::unfinished(&name, &fresh_ulid());
    let file = Arc::new(dir.create_new(&unfinished)?);
    let path = dir.path().join(&unfinished);
    // Tells others that somebody is at it.
    let _at_it = file_lock::try_exclusive(&file, &path)?;
    let made = write(segment, &file)
        .and_then(|written| Ok((written, read_back(&file)?)))
        .at("compress to", &path);
    let checked = made.and_then(|(written, read)| {
        if written != read || written.0 != segment.len {
            let other = io::Error::other("what was read back is not what was written");
            return Err(other).at("compress to", &path);
        }
        // Left by somebody who died before he removed the plain one.
        dir.remove_file(&name)?;
        dir.rename_to(&unfinished, dir, &name)?;
        dir.sync()
    });
    if let Err(e) = checked {
        drop(dir.remove_file(&unfinished));
        return Err(e.into());
    }
    dir.remove_file(&segment.name)?;
    dir.sync()?;
    let compressed_bytes = file.metadata().at("look at", &path)?.len();
    Ok(Some(Compressed {
        file: name,
        bytes: segment.len,
        compressed_bytes: Some(compressed_bytes),
    }))
}

/// Writes the compressed segment and syncs it; gives the length and the checksum of
/// what went in.
fn write(segment: &Segment, file: &File) -> io::Result<(u64, u32)> {
    let mut from = FileSpan::new(Arc::clone(&segment.file), 0, segment.len);
    let mut gz = GzEncoder::new(file, Compression::default());
    let sum = sum_of(&mut from, |block| gz.write_all(block))?;
    gz.finish()?.sync_all()?;
    Ok(sum)
}

fn read_back(file: &Arc<File>) -> io::Result<(u64, u32)> {
    let span = FileSpan::new(Arc::clone(file), 0, u64::MAX);
    sum_of(&mut MultiGzDecoder::new(span), |_| Ok(()))
}

fn sum_of(
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
        let block = buf.get(..n).unwrap_or_default();
        if block.is_empty() {
            return Ok((bytes, sum.sum()));
        }
        sum.update(block);
        bytes += n as u64;
        each(block)?;
    }
}

/// How old what a killed process left must be to be removed: one that was made just now
/// may not be locked yet.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// Removes what a rotation or compression left that was killed.
fn remove_unfinished(dir: &Dir) -> Result<(), LogError> {
    for name in dir.names()? {
        if !name.ends_with(layout::UNFINISHED) {
            continue;
        }
        let Some(file) = dir.read(&name)? else {
            continue;
        };
        let path = dir.path().join(&name);
        let age = file.metadata().at("look at", &path)?.modified();
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
