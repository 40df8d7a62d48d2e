//! The terminal in full-screen mode: the alternate screen, no cursor, and keys that are read
//! one by one and not echoed.

use std::fs::File;
use std::io;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::job::{Interrupts, ShutdownSignal};

/// Switches to the alternate screen, without a cursor and without wrapping (xterm's private
/// modes 1049, 25, and 7; a terminal ignores those that it does not know).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Reverts [`ENTER`].
const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// Columns and rows if the size is unknown, as on a serial line.
const DEFAULT_SIZE: (usize, usize) = (80, 24);
/// Ctrl-L, from `ascii(7)`.
const CTRL_L: u8 = 12;

/// What a key or a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyAction {
    /// Quit.
    Quit,
    /// Exit by this signal.
    Signal(i32),
}

/// The terminal in full-screen mode; it is restored on drop.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Stdout, without a buffer: a frame is one write.
    tty: File,
    /// The original modes of stdin, if it is a terminal.
    original_modes: Option<Termios>,
    signals: Option<Interrupts>,
    /// The lines on the screen; `None` if unknown.
    shown: Option<Vec<String>>,
}

impl Screen {
    /// Switches the terminal on stdout to full-screen mode.
    ///
    /// # Errors
    ///
    /// Returns an error if signals cannot be blocked, or the terminal cannot be written.
    pub(crate) fn enter() -> Result<Self> {
        let tty = io::stdout().as_fd().try_clone_to_owned();
        let mut screen = Self {
            tty: File::from(tty.context("cannot use stdout")?),
            original_modes: None,
            signals: None,
            shown: None,
        };
        screen.acquire()?;
        Ok(screen)
    }

    fn acquire(&mut self) -> Result<()> {
        let signals = Interrupts::block_terminal_stops();
        self.signals = Some(signals.context("cannot block signals")?);
        let stdin = io::stdin();
        if stdin.is_terminal()
            && let Ok(original) = tcgetattr(&stdin)
        {
            let mut modes = original.clone();
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            // A read returns what is available and does not block, termios(3).
            modes.special_codes[SpecialCodeIndex::VMIN] = 0;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
            if tcsetattr(&stdin, OptionalActions::Now, &modes).is_ok() {
                self.original_modes = Some(original);
            }
        }
        self.shown = None;
        self.tty.write_all(ENTER).context("cannot write to stdout")
    }

    fn restore(&mut self) {
        // The terminal may be closed.
        drop(self.tty.write_all(LEAVE));
        if let Some(original) = self.original_modes.take() {
            tcsetattr(io::stdin(), OptionalActions::Now, &original).ok();
        }
    }

    /// Returns the number of columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(&self.tty) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), usize::from(size.ws_row))
            }
            _ => DEFAULT_SIZE,
        }
    }

    /// Shows lines, none of which may be wider than the screen. Only lines that changed are
    /// written, in one write.
    ///
    /// # Errors
    ///
    /// Returns an error if the terminal cannot be written.
    pub(crate) fn draw(&mut self, lines: Vec<String>) -> Result<()> {
        let mut frame = String::new();
        if self.shown.is_none() {
            frame.push_str(CLEAR);
        }
        let shown = self.shown.take().unwrap_or_default();
        for (row, line) in lines.iter().enumerate() {
            if shown.get(row) != Some(line) {
                // Erase first: after a line as wide as the screen, the cursor is still in its
                // last column.
                frame.extend(["\x1b[", &(row + 1).to_string(), ";1H\x1b[2K", line]);
            }
        }
        if shown.len() > lines.len() {
            frame.extend(["\x1b[", &(lines.len() + 1).to_string(), ";1H\x1b[J"]);
        }
        self.shown = Some(lines);
        let written = self.tty.write_all(frame.as_bytes());
        written.context("cannot write to stdout")
    }

    /// Returns the descriptors that become readable on signals and keys.
    pub(crate) fn wakers(&self) -> Vec<BorrowedFd<'_>> {
        let mut wakers: Vec<_> = self.signals.iter().map(Interrupts::fd).collect();
        if self.original_modes.is_some() {
            wakers.push(rustix::stdio::stdin());
        }
        wakers
    }

    /// Returns what keys and signals asked for since the last call.
    ///
    /// # Errors
    ///
    /// Returns an error if full-screen mode cannot be resumed after a stop.
    pub(crate) fn key_action(&mut self) -> Result<Option<KeyAction>> {
        while let Some(asked) = self.signals.as_ref().and_then(Interrupts::pending_shutdown) {
            match asked {
                ShutdownSignal::Redraw => self.shown = None,
                ShutdownSignal::Stop(signal) => {
                    self.restore();
                    if let Some(signals) = self.signals.take() {
                        signals.reraise(signal);
                    }
                    // The process was continued after a stop.
                    self.acquire()?;
                }
                ShutdownSignal::End(signal) => return Ok(Some(KeyAction::Signal(signal))),
            }
        }
        if self.original_modes.is_none() {
            return Ok(None);
        }
        let mut keys = [0; 64];
        match rustix::io::read(io::stdin(), &mut keys) {
            Ok(n) => {
                let keys = keys.get(..n).unwrap_or_default();
                if keys.contains(&CTRL_L) {
                    self.shown = None;
                }
                let quits = keys.iter().any(|key| matches!(key, b'q' | b'Q'));
                Ok(quits.then_some(KeyAction::Quit))
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(None),
            // The terminal is closed.
            Err(_) => Ok(Some(KeyAction::Quit)),
        }
    }

    /// Restores the terminal; returns the signals that are still blocked.
    pub(crate) fn leave_screen(mut self) -> Option<Interrupts> {
        self.signals.take()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.restore();
    }
}
