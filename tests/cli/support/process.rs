//! Processes that a test starts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::contract::Promise;
use crate::support::env::wait_until;

/// How a process ended and what it printed.
pub(crate) struct Output {
    /// The exit code, or 1000 + N for signal N.
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    fn new(status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        let code = status
            .code()
            .unwrap_or_else(|| 1000 + status.signal().unwrap());
        Self {
            code,
            stdout,
            stderr,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// Returns the id in `run_id=…` on stderr.
    #[track_caller]
    pub(crate) fn run_id(&self) -> String {
        let stderr = self.stderr();
        let id = stderr.lines().find_map(|l| l.strip_prefix("run_id="));
        id.unwrap_or_else(|| panic!("no run id: {stderr}"))
            .to_owned()
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Output {
    Background::new(command).end()
}

/// A process that runs in the background and is killed when the test ends.
pub(crate) struct Background {
    child: Child,
    promise: Option<Promise>,
    /// Whether the stdout read so far ends in the middle of a line.
    in_line: bool,
}

impl Background {
    pub(crate) fn new(command: &mut Command) -> Self {
        Self {
            child: command.spawn().unwrap(),
            promise: Promise::new(command),
            in_line: false,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(i64::from(self.child.id())), signal).unwrap();
    }

    /// Writes to the process's stdin.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Writes to the process's stdin from another thread, then closes it.
    pub(crate) fn write_and_close(&mut self, bytes: &[u8]) {
        let mut stdin = self.child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        // A process may have a reason not to read all of it.
        thread::spawn(move || drop(stdin.write_all(&bytes)));
    }

    /// Writes line after line to the process's stdin until it exits.
    pub(crate) fn feed(&mut self, line: impl Fn(u64) -> String + Send + 'static) {
        let mut stdin = self.child.stdin.take().unwrap();
        thread::spawn(move || {
            let mut numbers = 0..;
            while stdin
                .write_all(line(numbers.next().unwrap()).as_bytes())
                .is_ok()
            {}
        });
    }

    /// Reads this many bytes of stdout.
    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut bytes).unwrap();
        self.in_line = bytes.last().is_some_and(|last| *last != b'\n');
        bytes
    }

    /// Reads one line of stdout, without the `\n`.
    pub(crate) fn read_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            match self.read(1).as_slice() {
                b"\n" => return line,
                byte => line.extend_from_slice(byte),
            }
        }
    }

    /// Reads one line of stderr, without the `\n`.
    pub(crate) fn read_stderr_line(&mut self) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            stderr.read_exact(&mut byte).unwrap();
            match byte {
                [b'\n'] => return String::from_utf8(line).unwrap(),
                [byte] => line.push(byte),
            }
        }
    }

    /// Returns how many bytes of stdout are unread, and the capacity of the pipe.
    pub(crate) fn unread(&self) -> (usize, usize) {
        let stdout = self.child.stdout.as_ref().unwrap();
        let waiting = rustix::io::ioctl_fionread(stdout).unwrap();
        let room = rustix::pipe::fcntl_getpipe_size(stdout).unwrap();
        (usize::try_from(waiting).unwrap(), room)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Closes stdin and waits for the process.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Waits for the process, up to the timeout of a test.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let stdout = self.child.stdout.take().map(reader);
        let stderr = self.child.stderr.take().map(reader);
        wait_until("the end of a process", || self.has_ended());
        let status = self.child.try_wait().unwrap().unwrap();
        let bytes = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
            reader.map(|r| r.join().unwrap()).unwrap_or_default()
        };
        let output = Output::new(status, bytes(stdout), bytes(stderr));
        if let Some(promise) = self.promise.take() {
            promise.check(output.code, &output.stdout, !self.in_line);
        }
        output
    }

    /// Kills the front and the supervisor of `run` before either can react to the death of the
    /// other.
    pub(crate) fn kill_both(&self) {
        kill_front_and_supervisor(self.child.id());
    }

    /// Kills the process and its supervisor, like the out-of-memory killer.
    pub(crate) fn kill(mut self) -> Output {
        self.kill_both();
        // The job may hold the test's pipes, so nothing is read.
        drop((self.child.stdout.take(), self.child.stderr.take()));
        self.end()
    }

    /// Kills the process and returns the rest of its stdout.
    pub(crate) fn kill_and_read(mut self) -> Vec<u8> {
        self.child.kill().unwrap();
        self.wait().stdout
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.has_ended() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn reader(mut pipe: impl std::io::Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Kills the process that was started as `runlog`, and its supervisor if it has one. Waits until
/// both are dead: a process holds its locks until it has exited.
pub(crate) fn kill_front_and_supervisor(front: u32) {
    let front_pid = pid_of(i64::from(front));
    kill_process(front_pid, Signal::STOP).ok();
    // Until then, it may fork a supervisor.
    wait_until("the front is stopped or dead", || {
        is_dead(front) || stat_fields(front).is_some_and(|fields| fields[0] == "T")
    });
    let supervisors = supervisors(front);
    for child in &supervisors {
        kill_process(pid_of(i64::from(*child)), Signal::KILL).ok();
    }
    kill_process(front_pid, Signal::KILL).ok();
    for pid in supervisors.into_iter().chain([front]) {
        wait_until_dead(pid);
    }
}

/// Waits until a process has exited; it may remain as a zombie.
pub(crate) fn wait_until_dead(pid: u32) {
    wait_until("the process is dead", || is_dead(pid));
}

/// Returns whether a process has exited. A zombie whose other threads have not exited yet holds its
/// files open.
pub(crate) fn is_dead(pid: u32) -> bool {
    stat_fields(pid).is_none_or(|fields| fields[0] == "Z" && matches!(&*fields[17], "0" | "1"))
}

/// Returns the fields of `/proc/PID/stat` from the state on; `None` if there is no such process.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Returns the children of a front that are `runlog` too.
pub(crate) fn supervisors(front: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{front}/task/{front}/children"));
    let list = list.unwrap_or_default();
    let pids = list.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.filter(|pid: &u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe"));
        exe.is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_runlog")))
    })
    .collect()
}

/// Converts a pid from the log.
pub(crate) fn pid_of(pid: i64) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Kills all processes whose working directory is `dir` or below it.
pub(super) fn kill_all_in(dir: &Path) {
    loop {
        let found: Vec<Pid> = processes_in(dir).collect();
        for pid in &found {
            kill_process(*pid, Signal::KILL).ok();
        }
        // A killed process may have forked before.
        if found.is_empty() {
            return;
        }
    }
}

/// Returns the processes whose working directory is `dir` or below it, without zombies.
pub(crate) fn processes_in(dir: &Path) -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let inside = entries.filter(move |entry| {
        // The directory of a process that has ended cannot be read.
        fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
    });
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    inside.filter_map(number).filter_map(Pid::from_raw)
}
