//! The stdin and the output of a hook.

use std::fs::File;
use std::io;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::mpsc;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::job::redact::stream_masker::StreamMasker;

/// Prints the output of a hook to runlog's stderr. Returns a channel that hangs up when
/// everything is printed.
pub(super) fn copy_output(
    pipe: OwnedFd,
    mut masker: Option<StreamMasker>,
) -> io::Result<mpsc::Receiver<()>> {
    let (done, ended) = mpsc::channel();
    let copy = move || {
        let mut pipe = File::from(pipe);
        let mut buf = [0; 4096];
        let mut text = Vec::new();
        loop {
            let n = pipe.read(&mut buf).unwrap_or(0);
            let mut shown = buf.get(..n).unwrap_or_default();
            if let Some(masker) = &mut masker {
                text.clear();
                match n {
                    0 => masker.finish(&mut text),
                    _ => masker.push(shown, &mut text),
                }
                shown = &text;
            }
            // Output that cannot be printed is dropped.
            drop(io::stderr().write_all(shown));
            if n == 0 {
                break;
            }
        }
        drop::<mpsc::Sender<()>>(done);
    };
    std::thread::Builder::new()
        .name("hook output".to_owned())
        .spawn(copy)?;
    Ok(ended)
}

/// Returns a file with this content, positioned at its start.
pub(super) fn stdin(content: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("runlog-hook", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}
