//! One process: `/proc/<pid>/stat` and `/proc/<pid>/io`.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::OnceLock;
use std::{fs, io, process};

use rustix::fs::{CWD, Mode, OFlags, RawDir, open, openat};

use super::units::{clamp_exact, page_bytes};

/// The number of bytes of names to read at a time.
const LIST_BYTES: usize = 32 << 10;
/// Longer than a line of `/proc/<pid>/stat`: 52 numbers and a short name.
const MAX_STAT_BYTES: usize = 2048;

/// Returns whether `/proc` has the pids of this process. In a new pid namespace without its own
/// `/proc` (`unshare --pid`), the same numbers there stand for other processes.
pub fn proc_has_own_pids() -> bool {
    static HAS_OWN_PIDS: OnceLock<bool> = OnceLock::new();
    *HAS_OWN_PIDS.get_or_init(|| {
        let own = fs::read_link("/proc/self").ok();
        own.and_then(|pid| parse_number(pid.as_os_str().as_bytes())) == Some(process::id())
    })
}

/// `/proc`, held open.
#[derive(Debug)]
pub(super) struct ProcDir(OwnedFd);

impl ProcDir {
    /// Opens `/proc`.
    ///
    /// # Errors
    /// It cannot be opened, or has other pids.
    pub(super) fn open() -> io::Result<Self> {
        if !proc_has_own_pids() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open("/proc", flags, Mode::empty())?))
    }

    /// Lists all visible processes once.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub(super) fn pids(&self) -> io::Result<Vec<u32>> {
        let mut buf = vec![MaybeUninit::uninit(); LIST_BYTES];
        let mut names = RawDir::new(&self.0, &mut buf);
        let mut pids = Vec::new();
        while let Some(entry) = names.next() {
            pids.extend(parse_number::<u32>(entry?.file_name().to_bytes()));
        }
        Ok(pids)
    }

    /// Reads the process `pid`, dead or alive. Returns `None` if it does not exist or is hidden.
    pub(super) fn read(&self, pid: u32) -> Option<Stat> {
        read_stat(self.0.as_fd(), &format!("{pid}/stat"))
    }
}

fn read_stat(dir: BorrowedFd<'_>, path: &str) -> Option<Stat> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(dir, path, flags, Mode::empty()).ok()?;
    let mut buf = [MaybeUninit::uninit(); MAX_STAT_BYTES];
    // One read returns the whole line.
    let (line, _) = rustix::io::read(file, &mut buf).ok()?;
    Stat::parse(line)
}

/// The fields of `proc_pid_stat(5)` that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    /// The program name, which may contain any bytes.
    comm: Box<[u8]>,
    state: u8,
    pub(super) ppid: u32,
    /// The process group.
    pub(super) group: u32,
    /// The session.
    pub(super) session: u32,
    /// The CPU time of the process itself, user and system, in clock ticks.
    pub(super) own_ticks: u64,
    /// The CPU time of the children that the process has waited for, in clock ticks.
    pub(super) reaped_ticks: u64,
    threads: u64,
    /// When the process started, in clock ticks since boot.
    pub(super) start_ticks: u64,
    /// The resident memory in bytes.
    pub(super) rss_bytes: u64,
}

impl Stat {
    /// Reads the process `pid`, dead or alive; `None` if it does not exist or is hidden from
    /// runlog.
    pub(super) fn read(pid: u32) -> Option<Self> {
        if !proc_has_own_pids() {
            return None;
        }
        read_stat(CWD, &format!("/proc/{pid}/stat"))
    }

    /// Reads all visible processes, except those that end in the meantime.
    pub(super) fn read_all() -> io::Result<Vec<Self>> {
        let proc = ProcDir::open()?;
        let pids = proc.pids()?;
        Ok(pids.into_iter().filter_map(|pid| proc.read(pid)).collect())
    }

    /// Parses a line of `/proc/<pid>/stat`.
    ///
    /// The name is in parentheses and may itself contain parentheses, spaces and newlines. It
    /// ends at the last `)`, because only numbers and one letter follow.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let open = memchr::memchr(b'(', line)?;
        let close = memchr::memrchr(b')', line)?;
        let pid = parse_number(line.get(..open)?)?;
        let comm = line.get(open + 1..close)?.into();
        let mut fields = line
            .get(close + 1..)?
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());
        // Field numbers are those of the manual page; `nth` skips the fields in between.
        let state = *fields.next()?.first()?; // 3: state
        let parent = parse_number(fields.next()?)?; // 4: ppid
        let group = parse_number(fields.next()?)?; // 5: pgrp
        let session = parse_number(fields.next()?)?; // 6: session
        let user: u64 = parse_number(fields.nth(7)?)?; // 14: utime
        let system: u64 = parse_number(fields.next()?)?; // 15: stime
        let reaped_user = parse_signed(fields.next()?)?; // 16: cutime
        let reaped_system = parse_signed(fields.next()?)?; // 17: cstime
        let threads = parse_signed(fields.nth(2)?)?; // 20: num_threads
        let start_ticks = parse_number(fields.nth(1)?)?; // 22: starttime
        let rss_pages = parse_signed(fields.nth(1)?)?; // 24: rss
        Some(Self {
            pid,
            comm,
            state,
            ppid: parent,
            group,
            session,
            own_ticks: user.saturating_add(system),
            reaped_ticks: reaped_user.saturating_add(reaped_system),
            threads,
            start_ticks,
            rss_bytes: clamp_exact(rss_pages.saturating_mul(page_bytes())),
        })
    }

    /// Returns whether the process is dead: a zombie that has not been waited for.
    ///
    /// A process whose first thread has ended also appears as a zombie while its other threads
    /// run. The number of threads distinguishes the two.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == b'R'
    }

    /// Returns the program name without changes.
    pub(super) fn comm(&self) -> &[u8] {
        &self.comm
    }

    /// Returns the program name, with bytes that are not UTF-8 replaced.
    pub(super) fn name(&self) -> String {
        String::from_utf8_lossy(&self.comm).into_owned()
    }
}

/// Returns the bytes that a process, and the children it has waited for, read from and wrote to
/// storage (`proc_pid_io(5)`); `None` if runlog lacks the permission.
pub(super) fn io_bytes(pid: u32) -> Option<(u64, u64)> {
    parse_io(&fs::read(format!("/proc/{pid}/io")).ok()?)
}

fn parse_io(text: &[u8]) -> Option<(u64, u64)> {
    let value = |key: &[u8]| {
        text.split(|&b| b == b'\n')
            .find_map(|line| parse_number(line.strip_prefix(key)?.trim_ascii()))
    };
    Some((value(b"read_bytes:")?, value(b"write_bytes:")?))
}

/// Parses a decimal number, with optional spaces around it.
pub(super) fn parse_number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    str::from_utf8(field).ok()?.trim().parse().ok()
}

/// Parses a number that the kernel prints signed. Negative values become zero.
fn parse_signed(field: &[u8]) -> Option<u64> {
    parse_number::<i64>(field).map(|n| n.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REST: &str = "S 7 42 42 0 -1 4194560 100 200 3 4 11 22 33 44 20 0 5 0 98765 \
                        8192000 250 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0";

    fn parse_named(name: &[u8]) -> Option<Stat> {
        Stat::parse(&[b"42 (", name, b") ", REST.as_bytes(), b"\n"].concat())
    }

    #[test]
    fn stat_fields_match_manual_page() {
        let stat = parse_named(b"cargo").unwrap();
        assert_eq!((stat.pid, stat.ppid, stat.state), (42, 7, b'S'));
        assert_eq!((stat.group, stat.session), (42, 42));
        assert_eq!((stat.own_ticks, stat.reaped_ticks), (33, 77));
        assert_eq!((stat.threads, stat.start_ticks), (5, 98765));
        assert_eq!(stat.rss_bytes, 250 * page_bytes());
        assert_eq!(stat.name(), "cargo");
    }

    #[test]
    fn stat_name_may_contain_parentheses() {
        for name in [
            "",
            " ",
            ")",
            "(",
            ") Z 1 (",
            "a b)",
            "((sd-pam))",
            "x\n1 (y) R 0",
            "\t)\n)",
        ] {
            let stat = parse_named(name.as_bytes()).unwrap();
            assert_eq!(stat.name(), name);
            assert_eq!((stat.state, stat.ppid), (b'S', 7));
        }
        assert_eq!(
            parse_named(b"\xff\xfe)").unwrap().name(),
            "\u{fffd}\u{fffd})"
        );
    }

    #[test]
    fn malformed_stat_lines_are_none() {
        for line in [
            "",
            "42",
            "42 (a",
            "42 )a(",
            "42 (a)",
            "42 (a) S",
            "(a) S 1",
            "-1 (a) S 1 2",
            "42 (a) S 1 2 3 4 5 6 7 8 9 10 99999999999999999999999 1 1 1 1 1 1 1 1 1 1",
        ] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn negative_stat_values_are_zero() {
        let line = "1 (a) R 0 0 0 0 0 0 0 0 0 0 1 1 -5 -5 0 0 1 0 9 0 -3";
        let stat = Stat::parse(line.as_bytes()).unwrap();
        assert_eq!((stat.reaped_ticks, stat.rss_bytes), (0, 0));
    }

    #[test]
    fn zombie_leader_with_threads_is_alive() {
        let line = |threads| format!("1 (a) Z 0 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 {threads} 0 9 0 0");
        assert!(Stat::parse(line(1).as_bytes()).unwrap().is_dead());
        assert!(!Stat::parse(line(2).as_bytes()).unwrap().is_dead());
    }

    #[test]
    fn io_counters_are_parsed() {
        let text = b"rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\n\
                     cancelled_write_bytes: 5\n";
        assert_eq!(parse_io(text), Some((4096, 8192)));
        assert_eq!(parse_io(b"read_bytes: x\n"), None);
        assert_eq!(parse_io(b""), None);
    }

    proptest! {
        #[test]
        fn stat_parser_never_panics(bytes: Vec<u8>, name: Vec<u8>) {
            drop(Stat::parse(&bytes));
            parse_io(&bytes);
            prop_assert!(parse_named(&name).is_some());
        }
    }
}
