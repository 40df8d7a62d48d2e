//! Processes that create conditions for a benchmark.

use std::fs::File;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::serve::Done;

/// Holds the lock of `file` for 99 ms of every 100, until it is killed.
pub fn hold(file: &str) -> Done {
    let file = File::options().append(true).create(true).open(file)?;
    let mut out = io::stdout();
    fs2::FileExt::lock_exclusive(&file)?;
    writeln!(out, "ready")?;
    out.flush()?;
    loop {
        thread::sleep(Duration::from_millis(99));
        fs2::FileExt::unlock(&file)?;
        thread::sleep(Duration::from_millis(1));
        fs2::FileExt::lock_exclusive(&file)?;
    }
}

/// Prints `bytes` bytes in lines, in writes of 64 KiB, like a job.
pub fn print(bytes: usize) -> Done {
    let block: Vec<u8> =
        b"[ 42%] Building object src/log/append.o: all fine so far, going on ...\n"
            .iter()
            .copied()
            .cycle()
            .take(64 << 10)
            .collect();
    let mut out = File::from(bare_stdout()?);
    let mut left = bytes;
    while left > 0 {
        let n = left.min(block.len());
        out.write_all(&block[..n])?;
        left -= n;
    }
    Ok(())
}

/// Returns stdout without std's line buffer.
fn bare_stdout() -> Done<std::os::fd::OwnedFd> {
    use std::os::fd::AsFd;
    Ok(io::stdout().as_fd().try_clone_to_owned()?)
}
