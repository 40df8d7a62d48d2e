//! The pager for output that is longer than the terminal.

use std::io;
use std::io::{IsTerminal as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::pipe::fcntl_getpipe_size;

use super::exit;
use super::exit::Code;
use super::terminal_style::is_dumb_terminal;
use crate::job::Interrupts;

/// The maximum number of bytes to hold before starting a pager.
const MAX_HELD_BYTES: usize = 1 << 20;

/// Whether to show long output in a pager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paging {
    /// Never.
    Off,
    /// From its start.
    FromStart,
    /// From its end, where the newest of a list is. Only the default pager does this.
    FromEnd,
}

/// Prints text to stdout, through a pager if it does not fit on the terminal. Returns `code`,
/// whatever the pager returns.
///
/// The pager is `RUNLOG_PAGER`, otherwise `PAGER`, otherwise `less`; an empty value and `cat`
/// mean none. If the pager cannot be started, the text is printed without it.
pub(crate) fn print(text: &[u8], paging: Paging, code: Code) -> Result<Code> {
    let mut out = PagedOutput::new(paging);
    match out.write_all(text).and_then(|()| out.finish()) {
        // The user left the pager before its end.
        Err(_) if out.pager.is_some() => Ok(code),
        printed => exit::answered(printed.context("cannot write to stdout"), code),
    }
}

/// Stdout, through a pager as soon as the text no longer fits on the terminal. Text that keeps
/// coming is shown while it is written.
#[derive(Debug)]
pub(crate) struct PagedOutput {
    paging: Paging,
    /// What was written so far, while it may fit on the terminal.
    held: Option<Vec<u8>>,
    pager: Option<RunningPager>,
}

#[derive(Debug)]
struct RunningPager {
    child: Child,
    /// `None` once all was written.
    input: Option<ChildStdin>,
    /// What was written, while all of it may still be in the pipe: a shell that cannot start
    /// the pager reads nothing.
    unread: Option<Vec<u8>>,
    /// Ctrl-C is for the pager: without us, the shell would read from its terminal.
    interrupts: Option<Interrupts>,
}

impl RunningPager {
    fn start(mut pager: Command) -> io::Result<Self> {
        let mut child = pager.stdin(Stdio::piped()).spawn()?;
        Ok(Self {
            input: child.stdin.take(),
            child,
            unread: Some(Vec::new()),
            interrupts: Interrupts::block_signals().ok(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(input) = &mut self.input else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let n = input.write(bytes)?;
        if let Some(unread) = &mut self.unread {
            unread.extend(bytes.iter().take(n));
            if fcntl_getpipe_size(input).is_ok_and(|size| unread.len() > size) {
                self.unread = None;
            }
        }
        Ok(n)
    }

    /// Waits until the user leaves the pager. Returns the text if there was no pager.
    fn wait(&mut self) -> Option<Vec<u8>> {
        drop(self.input.take());
        let code = self.child.wait().ok()?.code();
        // A shell that cannot execute or find a program returns these codes. The others are
        // those of the pager, and do not matter.
        if !matches!(code, Some(126 | 127)) {
            return None;
        }
        if let Some(interrupts) = self.interrupts.take() {
            interrupts.unblock();
        }
        self.unread.take()
    }
}

impl PagedOutput {
    pub(crate) fn new(paging: Paging) -> Self {
        let pages = paging != Paging::Off && is_capable_terminal();
        Self {
            paging,
            held: pages.then(Vec::new),
            pager: None,
        }
    }

    /// Writes the held text, and waits until the user leaves the pager.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Some(held) = self.held.take() {
            io::stdout().lock().write_all(&held)?;
        }
        self.leave_pager()?;
        self.pager = None;
        io::stdout().lock().flush()
    }

    /// Waits until the user leaves the pager; without a pager, writes its text to stdout.
    fn leave_pager(&mut self) -> io::Result<()> {
        match self.pager.as_mut().and_then(RunningPager::wait) {
            Some(unread) => {
                self.pager = None;
                io::stdout().lock().write_all(&unread)
            }
            None => Ok(()),
        }
    }

    /// Starts the pager with the held text; without a pager, writes it to stdout.
    fn start(&mut self) -> io::Result<()> {
        let held = self.held.take().unwrap_or_default();
        self.pager = pager(self.paging).and_then(|pager| RunningPager::start(pager).ok());
        self.write_all(&held)
    }
}

impl io::Write for PagedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(bytes);
            if held.len() > MAX_HELD_BYTES || is_longer_than_terminal(held) {
                self.start()?;
            }
            return Ok(bytes.len());
        }
        let Some(pager) = &mut self.pager else {
            return io::stdout().lock().write(bytes);
        };
        match pager.write(bytes) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.leave_pager()?;
                match &self.pager {
                    Some(_) => Err(e),
                    None => io::stdout().lock().write(bytes),
                }
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match (&self.held, &self.pager) {
            (None, None) => io::stdout().lock().flush(),
            _ => Ok(()),
        }
    }
}

impl Drop for PagedOutput {
    fn drop(&mut self) {
        // The error was reported by `finish`, or the command has another one.
        drop(self.leave_pager());
    }
}

fn is_capable_terminal() -> bool {
    io::stdout().is_terminal() && !is_dumb_terminal()
}

fn is_longer_than_terminal(text: &[u8]) -> bool {
    if !is_capable_terminal() {
        return false;
    }
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    let lines = memchr::memchr_iter(b'\n', text).count();
    // The prompt of the shell needs a line as well.
    rows > 0 && lines >= usize::from(rows)
}

fn pager(paging: Paging) -> Option<Command> {
    let variable = |name| std::env::var_os(name);
    let mut command = match variable("RUNLOG_PAGER").or_else(|| variable("PAGER")) {
        Some(pager) if pager.is_empty() || pager == "cat" => return None,
        Some(pager) => {
            let mut command = Command::new("sh");
            command.arg("-c").arg(pager);
            command
        }
        None => {
            let mut command = Command::new("less");
            command.args((paging == Paging::FromEnd).then_some("+G"));
            command
        }
    };
    // Show colors, leave the text on the screen, and quit if it fits (less(1)).
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    Some(command)
}
