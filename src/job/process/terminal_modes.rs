//! The modes of a terminal, as shown by `stty(1)`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use super::syscall::check;

/// The number of words of modes in shared memory.
const WORDS: usize = 3 + libc::NCCS / 4;

/// How a terminal handles input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TerminalModes {
    pub input: u32,
    pub output: u32,
    pub local: u32,
    pub chars: [u8; libc::NCCS],
}

impl TerminalModes {
    /// Reads the modes of a terminal.
    ///
    /// # Errors
    /// The descriptor is not a terminal, or the terminal no longer exists.
    pub(crate) fn read(terminal: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_termios(&get(terminal)?))
    }

    /// Sets the modes of a terminal.
    ///
    /// # Errors
    /// The descriptor is not a terminal, or the terminal no longer exists.
    pub(crate) fn write(&self, terminal: impl AsFd) -> io::Result<()> {
        let mut all = get(&terminal)?;
        all.c_iflag = self.input;
        all.c_oflag = self.output;
        all.c_lflag = self.local;
        all.c_cc = self.chars;
        set(terminal, &all)
    }

    fn from_termios(all: &libc::termios) -> Self {
        Self {
            input: all.c_iflag,
            output: all.c_oflag,
            local: all.c_lflag,
            chars: all.c_cc,
        }
    }

    /// Returns these modes for a pseudo-terminal whose output goes to a terminal that processes
    /// it, and whose input another terminal has processed.
    pub(crate) fn passed_through(mut self) -> Self {
        self.output &= !libc::OPOST;
        self.local |= libc::EXTPROC;
        self
    }

    /// Returns the new modes of the real terminal: its own modes, with those changes of a
    /// pseudo-terminal's modes between `base` and `changed`.
    pub(crate) fn with_changes(self, base: &Self, changed: &Self) -> Self {
        let flags = |own: u32, before: u32, now: u32, fixed: u32| {
            let differ = (before ^ now) & !fixed;
            own & !differ | now & differ
        };
        let mut chars = self.chars;
        for ((own, before), now) in chars.iter_mut().zip(base.chars).zip(changed.chars) {
            if before != now {
                *own = now;
            }
        }
        let mut modes = Self {
            input: flags(self.input, base.input, changed.input, 0),
            output: flags(self.output, base.output, changed.output, libc::OPOST),
            local: flags(self.local, base.local, changed.local, libc::EXTPROC),
            chars,
        };
        // `OPOST` is always off in the pseudo-terminal, so a change to raw mode does not show in it.
        match (base.is_raw(), changed.is_raw()) {
            (_, true) => modes.output &= !libc::OPOST,
            (true, false) => modes.output |= libc::OPOST,
            (false, false) => {}
        }
        modes
    }

    /// Returns whether processes in the background stop when they print.
    pub(crate) fn stops_output(&self) -> bool {
        self.local & libc::TOSTOP != 0
    }

    /// Returns whether these are the modes of `cfmakeraw(3)`.
    fn is_raw(&self) -> bool {
        let input = libc::ICRNL | libc::INLCR | libc::IGNCR | libc::IXON | libc::BRKINT;
        let local = libc::ECHO | libc::ICANON | libc::ISIG | libc::IEXTEN;
        self.input & input == 0 && self.local & local == 0
    }

    fn words(&self) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        let chars = self.chars.chunks_exact(4).map(|four| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(four);
            u32::from_ne_bytes(bytes)
        });
        let flags = [self.input, self.output, self.local];
        for (word, value) in words.iter_mut().zip(flags.into_iter().chain(chars)) {
            *word = value;
        }
        words
    }

    fn from_words(words: [u32; WORDS]) -> Self {
        let [input, output, local, chars @ ..] = words;
        let mut bytes = [0; libc::NCCS];
        for (four, word) in bytes.chunks_exact_mut(4).zip(chars) {
            four.copy_from_slice(&word.to_ne_bytes());
        }
        Self {
            input,
            output,
            local,
            chars: bytes,
        }
    }
}

/// Copies all attributes of one terminal to another.
///
/// # Errors
/// One of the descriptors is not a terminal.
pub(super) fn copy_attributes(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    set(to, &get(from)?)
}

fn get(terminal: impl AsFd) -> io::Result<libc::termios> {
    let mut all = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: the call fills in the struct; zeroed, it is valid.
    unsafe {
        check(libc::tcgetattr(
            terminal.as_fd().as_raw_fd(),
            all.as_mut_ptr(),
        ))?;
        Ok(all.assume_init())
    }
}

fn set(terminal: impl AsFd, all: &libc::termios) -> io::Result<()> {
    // SAFETY: the struct is valid, and only read.
    let done = unsafe { libc::tcsetattr(terminal.as_fd().as_raw_fd(), libc::TCSANOW, all) };
    check(done).map(drop)
}

/// The changes to the modes of a terminal, in the page that outlives every supervisor.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ModesRecord {
    /// Which of the other fields are known: a set of [`BASE`], [`ORIGINAL`] and [`APPLIED`].
    known: AtomicU32,
    base: [AtomicU32; WORDS],
    original: [AtomicU32; WORDS],
    applied: [AtomicU32; WORDS],
}

/// The bit for known initial modes of the pseudo-terminal.
const BASE: u32 = 1;
/// The bit for known original modes of the real terminal.
const ORIGINAL: u32 = 2;
/// The bit for known new modes of the real terminal.
const APPLIED: u32 = 4;

impl ModesRecord {
    /// Records the initial modes of a pseudo-terminal, and those of the real one if the job
    /// could already use it.
    pub(crate) fn begin(&self, base: &TerminalModes, original: Option<&TerminalModes>) {
        self.known.store(0, Ordering::Release);
        store(&self.base, base);
        self.known.store(BASE, Ordering::Release);
        if let Some(original) = original {
            self.record_original(original);
        }
    }

    fn record_original(&self, original: &TerminalModes) {
        store(&self.original, original);
        self.known.fetch_or(ORIGINAL, Ordering::AcqRel);
    }

    /// Records the modes that the real terminal, which has the modes `now`, is about to get.
    pub(crate) fn apply(&self, now: &TerminalModes, modes: &TerminalModes) {
        if self.original().is_none() {
            self.record_original(now);
        }
        self.known.fetch_and(!APPLIED, Ordering::AcqRel);
        store(&self.applied, modes);
        self.known.fetch_or(APPLIED, Ordering::AcqRel);
    }

    /// Records that the real terminal no longer has any modes of the job.
    pub(crate) fn clear(&self) {
        self.known.fetch_and(!APPLIED, Ordering::AcqRel);
    }

    /// Returns the initial modes of the pseudo-terminal.
    pub(crate) fn base(&self) -> Option<TerminalModes> {
        self.load(BASE, &self.base)
    }

    /// Returns the original modes of the real terminal.
    pub(crate) fn original(&self) -> Option<TerminalModes> {
        self.load(ORIGINAL, &self.original)
    }

    /// Returns the modes that were set on the real terminal.
    pub(crate) fn applied(&self) -> Option<TerminalModes> {
        self.load(APPLIED, &self.applied)
    }

    fn load(&self, which: u32, from: &[AtomicU32; WORDS]) -> Option<TerminalModes> {
        (self.known.load(Ordering::Acquire) & which != 0).then(|| load(from))
    }
}

fn store(to: &[AtomicU32; WORDS], modes: &TerminalModes) {
    for (slot, word) in to.iter().zip(modes.words()) {
        slot.store(word, Ordering::Relaxed);
    }
}

fn load(from: &[AtomicU32; WORDS]) -> TerminalModes {
    TerminalModes::from_words(from.each_ref().map(|word| word.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cooked() -> TerminalModes {
        let mut chars = [0; libc::NCCS];
        for (at, slot) in (0..).zip(&mut chars) {
            *slot = at;
        }
        TerminalModes {
            input: libc::ICRNL | libc::IXON | libc::IUTF8,
            output: libc::OPOST | libc::ONLCR,
            local: libc::ISIG | libc::ICANON | libc::ECHO | libc::IEXTEN,
            chars,
        }
    }

    #[test]
    fn words_keep_all_modes() {
        let modes = cooked();
        assert_eq!(TerminalModes::from_words(modes.words()), modes);
    }

    #[test]
    fn unchanged_modes_leave_terminal_as_it_is() {
        let real = cooked();
        let base = real.passed_through();
        assert_eq!(real.with_changes(&base, &base), real);
    }

    #[test]
    fn only_changed_modes_are_copied() {
        let mut real = cooked();
        let base = real.passed_through();
        // Changed directly on the real terminal.
        real.local &= !libc::ECHO;
        let mut changed = base;
        changed.local &= !libc::ICANON;
        changed.output &= !libc::ONLCR;
        changed.chars[libc::VMIN] = 1;
        let set = real.with_changes(&base, &changed);
        assert_eq!(set.local, libc::ISIG | libc::IEXTEN);
        assert_eq!(set.output, libc::OPOST);
        assert_eq!(set.input, real.input);
        assert_eq!(set.chars[libc::VMIN], 1);
    }

    #[test]
    fn raw_modes_also_end_processing_of_output() {
        let real = cooked();
        let base = real.passed_through();
        let mut raw = base;
        raw.input = 0;
        raw.local = libc::EXTPROC;
        let set = real.with_changes(&base, &raw);
        assert_eq!((set.output, set.local), (libc::ONLCR, 0));
        assert_eq!(set.with_changes(&raw, &base), real);
    }

    #[test]
    fn record_is_read_as_written() {
        // SAFETY: all fields are integers, for which zero is valid.
        let record: ModesRecord = unsafe { std::mem::zeroed() };
        assert_eq!((record.base(), record.applied()), (None, None));
        let base = cooked().passed_through();
        record.begin(&base, None);
        assert_eq!((record.base(), record.original()), (Some(base), None));
        record.apply(&cooked(), &base);
        record.apply(&base, &base);
        assert_eq!(record.original(), Some(cooked()));
        assert_eq!(record.applied(), Some(base));
        record.clear();
        assert_eq!((record.base(), record.applied()), (Some(base), None));
    }
}
