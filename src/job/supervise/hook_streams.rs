//! The stdin and the output of a hook.

use std::fs::File;
use std::io;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::retry_on_intr;

use super::control::JobControl;
use crate::job::process::discard;
use crate::job::process::poll::is_hung_up;
use crate::job::redact::stream_masker::StreamMasker;

/// How long to wait for a hook's output after its end. A process that it left behind may keep
/// the output open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// The output of a hook, which a thread prints to runlog's stderr.
pub(super) struct HookOutput {
    pipe: Arc<OwnedFd>,
    /// Whether the rest is discarded.
    is_abandoned: Arc<AtomicBool>,
    /// Hangs up when everything is printed.
    ended: mpsc::Receiver<()>,
}

impl HookOutput {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system allows no more threads.
    pub(super) fn copy(pipe: OwnedFd, mut masker: Option<StreamMasker>) -> io::Result<Self> {
        let (done, ended) = mpsc::channel::<()>();
        let output = Self {
            pipe: Arc::new(pipe),
            is_abandoned: Arc::default(),
            ended,
        };
        let (pipe, is_abandoned) = (Arc::clone(&output.pipe), Arc::clone(&output.is_abandoned));
        let copy = move || {
            let mut buf = [0; 4096];
            let mut text = Vec::new();
            loop {
                let n = retry_on_intr(|| rustix::io::read(&pipe, &mut buf)).unwrap_or(0);
                if is_abandoned.load(Ordering::Relaxed) {
                    break;
                }
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
            drop(done);
        };
        std::thread::Builder::new()
            .name("hook output".to_owned())
            .spawn(copy)?;
        Ok(output)
    }

    /// Waits until everything is printed, unless a signal asks for the end or the deadline for the
    /// reader has passed. If a process that the hook left behind holds the output open, the wait is
    /// short, and that process gets a reader that discards the rest, so that it is not harmed.
    pub(super) fn finish(self, control: &mut JobControl, deadline: Option<Instant>) {
        while self.ended.recv_timeout(OUTPUT_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            if !is_hung_up(self.pipe.as_fd()) {
                // The thread would miss parts of the rest, and could print a part of a secret.
                self.is_abandoned.store(true, Ordering::Relaxed);
                if let Ok(pid) = discard::spawn_reader(&[self.pipe.as_fd()]) {
                    control.page.record_reader(pid);
                }
                return;
            }
            let is_late = deadline.is_some_and(|at| Instant::now() >= at);
            if is_late || control.shutdown_requested().is_some() {
                return;
            }
        }
    }
}

/// Returns a file with this content, positioned at its start.
pub(super) fn stdin(content: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("runlog-hook", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}
