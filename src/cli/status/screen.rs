//! The terminal while it is ours: another screen than that of the shell, without a cursor,
//! and keys that come one by one and are not shown.

use std::fs::File;
use std::io;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::job::{Interrupts, ShutdownSignal};

/// The other screen, no cursor, no wrapping (xterm's control sequences, private modes 1049,
/// 25 and 7; a terminal that does not know one passes over it).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All of it back.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Empties the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// Where the size is not known, as on a serial line: columns and rows.
const SIZE: (usize, usize) = (80, 24);
/// Ctrl-L, as `ascii(7)` has it.
const CTRL_L: u8 = 12;

/// What the user or the system wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyAction {
    /// To end.
    Quit,
    /// To end by this signal.
    Signal(i32),
}

/// The terminal while it is ours; dropped, it is as it was before.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Our stdout, without a buffer: a frame goes out in one write.
    tty: File,
    /// How stdin was, where it is a terminal.
    before: Option<Termios>,
    signals: Option<Interrupts>,
    /// What stands on the screen; `None` where that is not known.
    shown: Option<Vec<String>>,
}

impl Screen {
    /// Takes the terminal on stdout.
    ///
    /// # Errors
    /// Signals cannot be held back, or the terminal cannot be written.
    pub(crate) fn enter() -> Result<Self> {
        let tty = io::stdout().as_fd().try_clone_to_owned();
        let mut screen = Self {
            tty: File::from(tty.context("stdout cannot be used")?),
            before: None,
            signals: None,
            shown: None,
        };
        screen.take_input()?;
        Ok(screen)
    }

    fn take_input(&mut self) -> Result<()> {
        let signals = Interrupts::block_terminal_stops();
        self.signals = Some(signals.context("signals cannot be held back")?);
        let stdin = io::stdin();
        if stdin.is_terminal()
            && let Ok(before) = tcgetattr(&stdin)
        {
            let mut ours = before.clone();
            ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            // A read takes what is there and does not wait, termios(3).
            ours.special_codes[SpecialCodeIndex::VMIN] = 0;
            ours.special_codes[SpecialCodeIndex::VTIME] = 0;
            if tcsetattr(&stdin, OptionalActions::Now, &ours).is_ok() {
                self.before = Some(before);
            }
        }
        self.shown = None;
        self.tty
            .write_all(ENTER)
            .context("stdout cannot be written")
    }

    fn restore(&mut self) {
        // Who reads the terminal may be gone.
        drop(self.tty.write_all(LEAVE));
        if let Some(before) = self.before.take() {
            tcsetattr(io::stdin(), OptionalActions::Now, &before).ok();
        }
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(&self.tty) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), usize::from(size.ws_row))
            }
            _ => SIZE,
        }
    }

    /// Shows these lines, none of which is wider than the screen: those that are new are
    /// written over the old ones, all at once.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub(crate) fn draw(&mut self, lines: Vec<String>) -> Result<()> {
        let mut frame = String::new();
        if self.shown.is_none() {
            frame.push_str(CLEAR);
        }
        let shown = self.shown.take().unwrap_or_default();
        for (row, line) in lines.iter().enumerate() {
            if shown.get(row) != Some(line) {
                frame.extend(["\x1b[", &(row + 1).to_string(), ";1H", line, "\x1b[K"]);
            }
        }
        if shown.len() > lines.len() {
            frame.extend(["\x1b[", &(lines.len() + 1).to_string(), ";1H\x1b[J"]);
        }
        self.shown = Some(lines);
        let written = self.tty.write_all(frame.as_bytes());
        written.context("stdout cannot be written")
    }

    /// What tells of signals and of keys.
    pub(crate) fn wakers(&self) -> Vec<BorrowedFd<'_>> {
        let mut wakers: Vec<_> = self.signals.iter().map(Interrupts::fd).collect();
        if self.before.is_some() {
            wakers.push(rustix::stdio::stdin());
        }
        wakers
    }

    /// What was asked for since the last time.
    ///
    /// # Errors
    /// The terminal cannot be taken again after we were stopped.
    pub(crate) fn key_action(&mut self) -> Result<Option<KeyAction>> {
        while let Some(asked) = self.signals.as_ref().and_then(Interrupts::pending_shutdown) {
            match asked {
                ShutdownSignal::Redraw => self.shown = None,
                ShutdownSignal::Stop(signal) => {
                    self.restore();
                    if let Some(signals) = self.signals.take() {
                        signals.reraise(signal);
                    }
                    // It is over: we were told to go on.
                    self.take_input()?;
                }
                ShutdownSignal::End(signal) => return Ok(Some(KeyAction::Signal(signal))),
            }
        }
        if self.before.is_none() {
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
            // The terminal is gone.
            Err(_) => Ok(Some(KeyAction::Quit)),
        }
    }

    /// Gives the terminal back; with the signals that are still held.
    pub(crate) fn leave_screen(mut self) -> Option<Interrupts> {
        self.signals.take()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.restore();
    }
}
