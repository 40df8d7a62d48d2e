//! Processes that a test starts, and how they ended.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::contract::Promise;
use crate::support::env::wait_until;

/// How a process ended and what it said.
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

    /// What `run_id=…` on stderr says.
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

/// A process that goes on beside the test and ends with it.
pub(crate) struct Background {
    child: Child,
    promise: Option<Promise>,
    /// What was read of its stdout ends in the middle of a line.
    in_line: bool,
}

impl Background {
    pub(crate) fn new(command: &mut Command) -> Self {
        Self {
            child: command.spawn().unwrap(),
            promise: Promise::of(command),
            in_line: false,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(i64::from(self.child.id())), signal).unwrap();
    }

    /// Writes to its stdin.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Writes all of this to its stdin beside the test, and closes it.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        let mut stdin = self.child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        // Who does not read all of it has a reason.
        thread::spawn(move || drop(stdin.write_all(&bytes)));
    }

    /// Writes line after line to its stdin for as long as it lives.
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

    /// Reads so many bytes of its stdout.
    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut bytes).unwrap();
        self.in_line = bytes.last().is_some_and(|last| *last != b'\n');
        bytes
    }

    /// Reads one line of its stdout, without the `\n`.
    pub(crate) fn read_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            match self.read(1).as_slice() {
                b"\n" => return line,
                byte => line.extend_from_slice(byte),
            }
        }
    }

    /// How many bytes of its stdout wait to be read, and how many can.
    pub(crate) fn unread(&self) -> (usize, usize) {
        let stdout = self.child.stdout.as_ref().unwrap();
        let waiting = rustix::io::ioctl_fionread(stdout).unwrap();
        let room = rustix::pipe::fcntl_getpipe_size(stdout).unwrap();
        (usize::try_from(waiting).unwrap(), room)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Closes its stdin and waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Waits for its end, within the patience of a test.
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
            promise.hold(output.code, &output.stdout, !self.in_line);
        }
        output
    }

    /// Kills it as the out-of-memory killer does.
    pub(crate) fn kill(mut self) -> Output {
        self.child.kill().unwrap();
        // The job may hold our pipes: nothing is read.
        drop((self.child.stdout.take(), self.child.stderr.take()));
        self.end()
    }

    /// Kills it and gives what was still to be read of its stdout.
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

/// The process of a pid as the log has it.
pub(crate) fn pid_of(pid: i64) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}
