//! The pager for output that is longer than the terminal.

use std::fs::File;
use std::io;
use std::io::{IsTerminal as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::fs::{MemfdFlags, memfd_create};

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

/// Prints text to stdout, through a pager if it does not fit on the terminal.
///
/// The pager is `RUNLOG_PAGER`, otherwise `PAGER`, otherwise `less`; an empty value and `cat`
/// mean none. If the pager cannot be started, the text is printed without it.
pub(crate) fn print(text: &[u8], paging: Paging, code: Code) -> Result<Code> {
    if paging != Paging::Off
        && is_longer_than_terminal(text)
        && let Some(pager) = pager(paging)
        && let Ok(file) = input(text)
        && run(pager, file, code).is_ok()
    {
        return Ok(code);
    }
    let mut out = io::stdout().lock();
    out.write_all(text)
        .and_then(|()| out.flush())
        .context("cannot write to stdout")?;
    Ok(code)
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
    /// Ctrl-C is for the pager: without us, the shell would read from its terminal.
    _interrupts: Option<Interrupts>,
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
        self.leave_pager();
        io::stdout().lock().flush()
    }

    fn leave_pager(&mut self) {
        if let Some(mut pager) = self.pager.take() {
            drop(pager.input.take());
            // The user decides when it ends, so its exit code does not matter.
            drop(pager.child.wait());
        }
    }

    /// Starts the pager with the held text; without a pager, writes it to stdout.
    fn start(&mut self) -> io::Result<()> {
        let held = self.held.take().unwrap_or_default();
        if let Some(mut pager) = pager(self.paging)
            && let Ok(mut child) = pager.stdin(Stdio::piped()).spawn()
        {
            self.pager = Some(RunningPager {
                input: child.stdin.take(),
                child,
                _interrupts: Interrupts::block_signals().ok(),
            });
        }
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
        match self.pager.as_mut().and_then(|pager| pager.input.as_mut()) {
            Some(input) => input.write(bytes),
            None => io::stdout().lock().write(bytes),
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
        self.leave_pager();
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

/// Returns the text as a file: unlike a pipe, it needs no process to write it.
fn input(text: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("runlog", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file)
}

/// Runs the pager.
///
/// On success, the pager replaces this process, so that Ctrl-C cannot end one without the other.
/// This process waits for the pager only if it has to return another exit code.
fn run(mut pager: Command, input: File, code: Code) -> io::Result<()> {
    pager.stdin(input);
    if code == Code::Ok {
        return Err(pager.exec());
    }
    pager.status().map(drop)
}
