//! The dependencies of a job: the probes of `runlog run --probe`.
//!
//! A reading runs no command and sends no network traffic: it only reads `/proc` or a file
//! system. If a fact cannot be determined, the reading is `None`, never `Some(false)`.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::host::free_disk_bytes;
use super::snapshot::Readings;
use super::stat::Stat;

/// The maximum length of a program name in bytes (`proc_pid_comm(5)`).
const MAX_COMM_BYTES: usize = 15;
/// The first process, which every user sees unless `/proc` hides the processes of other users
/// (`hidepid` of `proc(5)`).
const INIT_PID: u32 = 1;
/// `TCP_LISTEN` in the column `st` of `/proc/net/tcp`.
const LISTENING: &str = "0A";
/// `__SO_ACCEPTCON` in the column `Flags` of `/proc/net/unix`: the socket is listening.
const ACCEPTS_CONNECTIONS: u64 = 1 << 16;
/// `SOCK_DGRAM` in the column `Type` of `/proc/net/unix`: such a socket receives as soon as it
/// has a name.
const DATAGRAM: &[u8] = b"0002";

/// A dependency of a job, under the name of its probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of the probe.
    pub name: String,
    /// The target, as the user wrote it.
    pub spec: String,
    /// The target.
    pub target: Target,
}

/// The target of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A process listens on this TCP port, on any address of runlog's network namespace.
    Tcp(u16),
    /// A process listens on the Unix socket with this path; `@NAME` is an abstract one.
    Unix(PathBuf),
    /// A process with this program name is running.
    Process(String),
    /// This path exists.
    File(PathBuf),
    /// An unprivileged user can still use at least this many bytes of a path's file system.
    Free {
        /// The path.
        path: PathBuf,
        /// The minimum in bytes.
        bytes: u64,
    },
}

impl Dependency {
    /// Resolves relative paths in `dir`.
    #[must_use]
    pub fn resolved_in(mut self, dir: &Path) -> Self {
        match &mut self.target {
            Target::Unix(path) if path.as_os_str().as_bytes().starts_with(b"@") => {}
            Target::Unix(path) | Target::File(path) | Target::Free { path, .. } => {
                *path = dir.join(&path);
            }
            Target::Tcp(_) | Target::Process(_) => {}
        }
        self
    }
}

impl Target {
    /// Returns whether the dependency is available; `None` if that cannot be determined.
    pub fn read(&self) -> Option<bool> {
        match self {
            Self::Tcp(port) => tcp_listens(*port),
            Self::Unix(path) => unix_listens(path),
            Self::Process(name) => process_runs(name),
            Self::File(path) => exists(path),
            Self::Free { path, bytes } => free_disk_bytes(path).ok().map(|free| free >= *bytes),
        }
    }
}

/// Reads all probes.
pub(super) fn read_all(dependencies: &[Dependency]) -> Readings {
    let read = |it: &Dependency| (it.name.clone(), it.target.read());
    dependencies.iter().map(read).collect()
}

/// Returns readings of `None` for all probes.
pub(super) fn unread(dependencies: &[Dependency]) -> Readings {
    let unread = |it: &Dependency| (it.name.clone(), None);
    dependencies.iter().map(unread).collect()
}

fn tcp_listens(port: u16) -> Option<bool> {
    let mut is_known = false;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match any_line(table, |line| listening_port(line) == Some(port)) {
            Ok(true) => return Some(true),
            Ok(false) => is_known = true,
            // A kernel without IPv6 has no such table.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    is_known.then_some(false)
}

/// Returns the port of a listening socket in a line of `/proc/net/tcp`.
fn listening_port(line: &[u8]) -> Option<u16> {
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let (_, port) = local.rsplit_once(':')?;
    (state == LISTENING).then(|| u16::from_str_radix(port, 16).ok())?
}

fn unix_listens(path: &Path) -> Option<bool> {
    let wanted = path.as_os_str();
    let real = path.canonicalize().ok();
    let mut is_unsure = false;
    let found = any_line("/proc/net/unix", |line| {
        let Some(bound) = receiving_socket(line) else {
            return false;
        };
        if bound == wanted {
            return true;
        }
        let bound = Path::new(bound);
        if bound.file_name() != path.file_name() {
            return false;
        }
        // The socket was bound to a path that only its process can resolve.
        is_unsure |= bound.is_relative() && !bound.as_os_str().as_bytes().starts_with(b"@");
        bound.is_absolute() && real.is_some() && bound.canonicalize().ok() == real
    });
    match found.ok()? {
        false if is_unsure && real.is_some() => None,
        found => Some(found),
    }
}

/// Returns the name of a socket that listens or receives datagrams, from a line of
/// `/proc/net/unix`: `Num: RefCount Protocol Flags Type St Inode Path`.
fn receiving_socket(line: &[u8]) -> Option<&OsStr> {
    let mut fields = line.splitn(7, |byte| *byte == b' ');
    let flags = std::str::from_utf8(fields.nth(3)?).ok()?;
    let kind = fields.next()?;
    // Spaces pad a short inode.
    let inode_and_path = fields.nth(1)?.trim_ascii_start();
    let path = inode_and_path.splitn(2, |byte| *byte == b' ').nth(1)?;
    let listens = u64::from_str_radix(flags, 16).ok()? & ACCEPTS_CONNECTIONS != 0;
    (listens || kind == DATAGRAM).then(|| OsStr::from_bytes(path))
}

fn process_runs(name: &str) -> Option<bool> {
    let wanted = name.as_bytes();
    let wanted = wanted.get(..MAX_COMM_BYTES).unwrap_or(wanted);
    let mut live = Stat::read_all()
        .ok()?
        .into_iter()
        .filter(|it| !it.is_dead());
    if live.any(|process| process.comm() == wanted) {
        return Some(true);
    }
    Stat::read(INIT_PID).map(|_| false)
}

fn exists(path: &Path) -> Option<bool> {
    match path.try_exists() {
        Ok(exists) => Some(exists),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Some(false),
        Err(_) => None,
    }
}

/// Returns whether `matches` holds for any line of a file of `/proc`.
fn any_line(path: &str, mut matches: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        if matches(line.strip_suffix(b"\n").unwrap_or(&line)) {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn listening_tcp_port_is_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(Target::Tcp(port).read(), Some(true), "{address}");
            drop(listener);
            assert_eq!(Target::Tcp(port).read(), Some(false), "{address}");
        }
    }

    #[test]
    fn only_listening_sockets_count() {
        let line = |state| format!("   0: 0100007F:1538 00000000:0000 {state} 00000000:00000000");
        assert_eq!(listening_port(line("0A").as_bytes()), Some(0x1538));
        assert_eq!(listening_port(line("01").as_bytes()), None);
        for odd in [
            "",
            "  sl  local_address rem_address   st",
            "0: x y 0A",
            "\u{fffd}",
        ] {
            assert_eq!(listening_port(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn unix_sockets_are_found_by_any_path() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a b.sock");
        let link = tmp.path().join("link");
        symlink(tmp.path(), &link).unwrap();
        let read = |path: &Path| Target::Unix(path.to_owned()).read();
        assert_eq!(read(&path), Some(false));
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(read(&path), Some(true));
        assert_eq!(read(&link.join("a b.sock")), Some(true));
        drop(listener);
        // The file remains, but no process listens.
        assert_eq!(read(&path), Some(false));
        let log = tmp.path().join("log");
        let datagrams = UnixDatagram::bind(&log).unwrap();
        assert_eq!(read(&log), Some(true));
        drop(datagrams);
        assert_eq!(read(&log), Some(false));
    }

    #[test]
    fn padded_socket_lines_are_parsed() {
        let path = |line: &'static str| receiving_socket(line.as_bytes()).map(OsStr::as_bytes);
        let listening = "ffff0: 00000002 00000000 00010000 0001 01 17 /run/a b";
        assert_eq!(path(listening), Some(&b"/run/a b"[..]));
        let padded = "ffff0: 00000002 00000000 00010000 0001 01    17 /run/a";
        assert_eq!(path(padded), Some(&b"/run/a"[..]));
        let connected = "ffff0: 00000003 00000000 00000000 0001 03 17 /run/a";
        assert_eq!(path(connected), None);
        let unnamed = "ffff0: 00000002 00000000 00010000 0001 01 17";
        assert_eq!(path(unnamed), None);
    }

    #[test]
    fn process_is_found_by_name() {
        let name = Stat::read(std::process::id()).unwrap().name();
        assert_eq!(Target::Process(name.clone()).read(), Some(true));
        let longer = format!("{name:-<15} and what the kernel does not keep");
        let is_cut = name.len() == MAX_COMM_BYTES;
        assert_eq!(Target::Process(longer).read(), Some(is_cut));
    }

    #[test]
    fn missing_and_hidden_files_differ() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("file");
        let read = |path: &Path| Target::File(path.to_owned()).read();
        assert_eq!(read(&file), Some(false));
        std::fs::write(&file, "").unwrap();
        assert_eq!(read(&file), Some(true));
        assert_eq!(read(&file.join("below")), Some(false));
        // A loop of links cannot be resolved.
        let around = tmp.path().join("around");
        symlink(&around, &around).unwrap();
        assert_eq!(read(&around), None);
    }

    #[test]
    fn free_space_is_compared() {
        let free = |path: &str, bytes| {
            let path = path.into();
            Target::Free { path, bytes }.read()
        };
        assert_eq!(free("/", 0), Some(true));
        assert_eq!(free("/", u64::MAX), Some(false));
        assert_eq!(free("/no/such/path", 0), None);
    }

    #[test]
    fn relative_paths_count_from_directory() {
        let resolved = |target| {
            let [name, spec] = ["a", "b"].map(str::to_owned);
            let it = Dependency { name, spec, target };
            it.resolved_in("/dir".as_ref()).target
        };
        assert_eq!(
            resolved(Target::File("x".into())),
            Target::File("/dir/x".into())
        );
        assert_eq!(
            resolved(Target::File("/x".into())),
            Target::File("/x".into())
        );
        let abstract_socket = Target::Unix("@x".into());
        assert_eq!(resolved(abstract_socket.clone()), abstract_socket);
    }
}
