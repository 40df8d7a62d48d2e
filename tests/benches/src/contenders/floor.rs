//! The best performance that the machine allows.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

use super::EVENT;
use crate::serve::{Done, Server};

/// A line of [`EVENT`] bytes.
pub const LINE: [u8; EVENT] = {
    let mut line = [b'x'; EVENT];
    line[EVENT - 1] = b'\n';
    line
};

/// Bare system calls on one file, or on the files of a directory.
pub struct Floor {
    path: String,
    file: File,
}

impl Floor {
    pub fn open(path: &str) -> Done<Self> {
        let file = if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
            File::open(path)?
        } else {
            OpenOptions::new()
                .create(true)
                .read(true)
                .append(true)
                .open(path)?
        };
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    fn write(&mut self) -> Done {
        // A single call: a short write would be a failure of the benchmark.
        match self.file.write(&LINE)? {
            EVENT => Ok(()),
            _ => Err("a short write".into()),
        }
    }

    /// Reads the file in chunks of 256 KiB and counts its lines.
    fn lines(&mut self) -> Done<u64> {
        let mut buf = vec![0; 256 << 10];
        let mut count = 0;
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            match self.file.read(&mut buf)? {
                0 => return Ok(count),
                n => count += memchr::memchr_iter(b'\n', &buf[..n]).count() as u64,
            }
        }
    }

    /// Reads the last 4 KiB of each run's log.
    fn last_blocks(&self) -> Done<u64> {
        let mut buf = [0; 4096];
        let mut count = 0;
        for entry in fs::read_dir(&self.path)? {
            let file = File::open(entry?.path().join("events.jsonl"))?;
            let begin = file.metadata()?.len().saturating_sub(4096);
            count += u64::from(file.read_at(&mut buf, begin)? > 0);
        }
        Ok(count)
    }

    /// Reads `/proc/<pid>/stat` of all processes and splits it into its fields.
    fn processes() -> Done<u64> {
        let mut count = 0;
        let mut buf = Vec::with_capacity(1024);
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
            // The process may have ended in the meantime.
            if let Some(pid) = pid
                && let Ok(mut file) = File::open(format!("/proc/{pid}/stat"))
            {
                buf.clear();
                if file.read_to_end(&mut buf).is_ok() {
                    let fields = buf.split(|b| *b == b' ').count();
                    count += u64::from(fields > 20);
                }
            }
        }
        Ok(count)
    }
}

impl Server for Floor {
    fn does(&mut self, verb: &str, n: u64) -> Done<u64> {
        match verb {
            "append" => {
                for _ in 0..n {
                    self.write()?;
                }
            }
            "durable" => {
                for _ in 0..n {
                    self.write()?;
                    self.file.sync_data()?;
                }
            }
            "locked" => {
                for _ in 0..n {
                    fs2::FileExt::lock_exclusive(&self.file)?;
                    let written = self.write();
                    fs2::FileExt::unlock(&self.file)?;
                    written?;
                    self.file.sync_data()?;
                }
            }
            "lines" => return self.lines(),
            "last-blocks" => return self.last_blocks(),
            "processes" => {
                for _ in 0..n {
                    if Self::processes()? == 0 {
                        return Err("no processes".into());
                    }
                }
            }
            _ => return Err("unknown verb".into()),
        }
        Ok(n)
    }
}
