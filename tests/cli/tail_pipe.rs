//! `runlog tail --cursor-file` into pipes and sockets: the cursor advances only past lines that
//! the reader has read, whichever side dies.

use std::fs::{self, File};
use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::pipe::{SpliceFlags, splice, tee};
use rustix::process::Signal;

use crate::support::checks;
use crate::support::env::{Background, TestEnv, wait_until};

/// More bytes than a pipe, a socket and the write buffer hold together.
const MANY: usize = 3000;

/// Creates the open run `it` with this many notes. Returns its log too.
fn with_notes(notes: usize) -> (TestEnv, Vec<u8>) {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    let lines = checks::numbered(0..notes, |n| format!("{n:0100}"));
    env.run_with(
        &["emit", "--no-sync", "--run", "it", "--lines"],
        lines.as_bytes(),
    );
    let log = fs::read(env.log_path("it")).unwrap();
    (env, log)
}

/// Spawns `tail` of the run with the cursor file `cursors` and this stdout.
fn tail(env: &TestEnv, args: &[&str], stdout: impl Into<Stdio>) -> Background {
    let mut command = env.command(&["tail", "it", "--json", "--cursor-file", "cursors"]);
    Background::new(command.args(args).stdout(stdout).stdin(Stdio::null()))
}

/// Returns the lines that the next start prints.
fn rest(env: &TestEnv) -> Vec<u8> {
    env.ok(&["tail", "it", "--json", "--cursor-file", "cursors"])
        .stdout
}

/// Returns the start of the first line that is not complete within this many bytes.
fn first_unread(log: &[u8], read: usize) -> usize {
    let newline = log[..read].iter().rposition(|b| *b == b'\n');
    newline.map_or(0, |at| at + 1)
}

fn read_exactly(mut from: impl Read, bytes: usize) {
    from.read_exact(&mut vec![0; bytes]).unwrap();
}

/// Returns the sequence number of the event at the saved cursor.
fn saved(env: &TestEnv) -> Option<usize> {
    let cursor = fs::read_to_string(env.path("cursors")).unwrap_or_default();
    cursor.split(':').nth(6).map(|next| next.parse().unwrap())
}

#[test]
fn lines_unread_by_dead_reader_are_repeated() {
    let (env, log) = with_notes(MANY);
    let first = first_unread(&log, log.len() - 1);
    for read in [0, 1, 300, 5000, 70_000, 200_000, first, log.len() - 1] {
        for args in [&[][..], &["-f"]] {
            drop(fs::remove_file(env.path("cursors")));
            let (reader, writer) = pipe().unwrap();
            let tail = tail(&env, args, writer);
            read_exactly(&reader, read);
            drop(reader);
            let output = tail.wait();
            assert_eq!((output.code, output.stderr()), (0, String::new()));
            let again = &log[first_unread(&log, read)..];
            assert!(rest(&env) == again, "{read} bytes were read, {args:?}");
        }
    }
}

#[test]
fn fifo_is_treated_as_pipe() {
    let (env, log) = with_notes(MANY);
    assert_eq!(env.sh("mkfifo fifo").code, 0);
    // Opened for reading and writing, it does not block.
    let mut both = File::options();
    let reader = both.read(true).write(true).open(env.path("fifo")).unwrap();
    let writer = File::options().write(true).open(env.path("fifo")).unwrap();
    let tail = tail(&env, &[], writer);
    read_exactly(&reader, 100_000);
    drop(reader);
    assert_eq!(tail.wait().code, 0);
    assert!(rest(&env) == log[first_unread(&log, 100_000)..]);
}

#[test]
fn socket_lines_are_awaited_and_never_lost() {
    let (env, log) = with_notes(MANY);
    for read in [0, 300, 100_000] {
        drop(fs::remove_file(env.path("cursors")));
        let (reader, writer) = UnixStream::pair().unwrap();
        let tail = tail(&env, &[], std::os::fd::OwnedFd::from(writer));
        read_exactly(&reader, read);
        drop(reader);
        assert_eq!(tail.wait().code, 0);
        let again = rest(&env);
        assert!(log.ends_with(&again));
        let repeated = again.len() - (log.len() - first_unread(&log, read));
        assert!(again.len() >= log.len() - first_unread(&log, read));
        // The kernel reports only that the socket holds something.
        assert!(repeated <= 1 << 20, "{repeated}");
    }
    drop(fs::remove_file(env.path("cursors")));
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let tail = tail(&env, &[], std::os::fd::OwnedFd::from(writer));
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!(tail.wait().code, 0);
    assert!(all == log);
    assert_eq!(rest(&env), b"");
}

#[test]
fn spliced_data_is_read_but_peeked_data_is_not() {
    let (env, log) = with_notes(MANY);
    for is_taken in [true, false] {
        drop(fs::remove_file(env.path("cursors")));
        let (reader, writer) = pipe().unwrap();
        let (copy, into) = pipe().unwrap();
        let tail = tail(&env, &["-f"], writer);
        let mut moved = 0;
        while moved < 10_000 {
            let len = 10_000 - moved;
            let flags = SpliceFlags::empty();
            moved += if is_taken {
                splice(&reader, None, &into, None, len, flags).unwrap()
            } else {
                // A peek at waiting data starts at the same place each time.
                wait_until("enough waits", || waiting(&reader) >= len);
                tee(&reader, &into, len, flags).unwrap()
            };
        }
        drop((reader, copy));
        assert_eq!(tail.wait().code, 0);
        let read = if is_taken { moved } else { 0 };
        assert!(rest(&env) == log[first_unread(&log, read)..], "{is_taken}");
    }
}

#[test]
fn tee_in_pipeline_receives_all() {
    let (env, log) = with_notes(MANY);
    let script = r#""$RUNLOG" tail it --json --cursor-file cursors | tee one | cat >two"#;
    assert_eq!(env.sh(script).stderr(), "");
    for copy in ["one", "two"] {
        assert!(fs::read(env.path(copy)).unwrap() == log, "{copy}");
    }
    assert_eq!(rest(&env), b"");
}

fn waiting(pipe: impl AsFd) -> usize {
    usize::try_from(ioctl_fionread(pipe).unwrap()).unwrap()
}

#[test]
fn cursor_is_saved_though_pipe_never_drains() {
    let (env, log) = with_notes(MANY);
    let (reader, writer) = pipe().unwrap();
    let _tail = tail(&env, &["-f"], writer);
    let mut events = 0;
    for line in log.split_inclusive(|b| *b == b'\n').take(200) {
        read_exactly(&reader, line.len());
        events += 1;
        if events % 50 == 0 {
            wait_until("it is saved", || saved(&env) == Some(events));
            assert!(waiting(&reader) > 0);
        }
    }
}

/// Returns how many times a process has gone to sleep.
fn sleeps(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let count = status
        .lines()
        .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn sleeping_reader_is_awaited_without_busy_loop() {
    let (env, log) = with_notes(100);
    let (mut reader, writer) = pipe().unwrap();
    let mut tail = tail(&env, &[], writer);
    wait_until("all of it waits", || waiting(&reader) == log.len());
    let (begun, before) = (Instant::now(), sleeps(tail.pid()));
    // A busy loop never sleeps. A loop with a short sleep reaches this number at once, even on
    // the slowest machine.
    wait_until("it slept", || sleeps(tail.pid()) >= before + 12);
    let slept = begun.elapsed();
    assert!(slept >= Duration::from_millis(250), "{slept:?}");
    assert!(!tail.has_ended());
    assert_eq!(saved(&env), None);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert!(all == log);
    let output = tail.wait();
    assert_eq!((output.code, output.stderr()), (0, String::new()));
    assert_eq!(rest(&env), b"");
}

#[test]
fn killed_tail_repeats_unread_lines() {
    let (env, log) = with_notes(100);
    for read in [0, 10_000] {
        drop(fs::remove_file(env.path("cursors")));
        let (reader, writer) = pipe().unwrap();
        let follower = tail(&env, &["-f"], writer);
        wait_until("all of it waits", || waiting(&reader) == log.len());
        read_exactly(&reader, read);
        let unread = first_unread(&log, read);
        let lines = log[..unread].split(|b| *b == b'\n').count() - 1;
        wait_until("it is saved", || saved(&env).unwrap_or(0) == lines);
        follower.kill();
        assert!(rest(&env) == log[unread..]);
    }
}

#[test]
fn signal_ends_wait_for_reader_and_keeps_cursor() {
    let (env, log) = with_notes(100);
    for args in [&[][..], &["-f"]] {
        drop(fs::remove_file(env.path("cursors")));
        let (reader, writer) = pipe().unwrap();
        let tail = tail(&env, args, writer);
        wait_until("all of it waits", || waiting(&reader) == log.len());
        read_exactly(&reader, 10_000);
        tail.signal(Signal::TERM);
        assert_eq!(tail.wait().code, 1000 + Signal::TERM.as_raw());
        assert!(rest(&env) == log[first_unread(&log, 10_000)..], "{args:?}");
    }
}

/// Reads the remaining data in a pipe without writers.
fn left(mut reader: PipeReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn signal_or_timeout_ends_on_full_pipe_between_lines() {
    let (env, log) = with_notes(MANY);
    for args in [&[][..], &["-f", "--timeout", "100ms"]] {
        let (reader, writer) = pipe().unwrap();
        let tail = tail(&env, args, writer);
        wait_until("something waits", || waiting(&reader) > 10_000);
        let code = if args.is_empty() {
            tail.signal(Signal::TERM);
            1000 + Signal::TERM.as_raw()
        } else {
            4
        };
        assert_eq!(tail.wait().code, code);
        let left = left(reader);
        assert!(log.starts_with(&left) && left.len() < log.len());
        assert_eq!(left.last(), Some(&b'\n'));
    }
    // The reader had read nothing of it.
    assert!(rest(&env) == log);
}

#[test]
fn unstored_batch_is_shipped_again() {
    let (env, log) = with_notes(10);
    env.executable(
        "ship",
        "#!/bin/sh\ncat \"$1\" >>shipped\nexit \"$(cat code)\"\n",
    );
    let batch = r#"
        touch ship.cursors && cp ship.cursors next.cursors &&
        "$RUNLOG" tail --all --json --cursor-file next.cursors >batch &&
        ./ship batch && mv next.cursors ship.cursors
    "#;
    for (code, shipped) in [(1, 1), (1, 2), (0, 3), (0, 3)] {
        env.write("code", code.to_string());
        assert_eq!(env.sh(batch).code, code);
        let all = fs::read(env.path("shipped")).unwrap();
        assert!(all == log.repeat(shipped), "{code} {shipped}");
    }
}

#[test]
fn follow_of_output_ends_with_its_reader() {
    let env = TestEnv::new();
    let mut job = env.spawn(&[
        "run",
        "-q",
        "--name",
        "srv",
        "--",
        "sh",
        "-c",
        "echo ready; cat",
    ]);
    env.wait_for("job_started");
    let output = env.sh("\"$RUNLOG\" tail -f srv --output | grep -m1 ready");
    assert_eq!(output.stdout(), "ready\n");
    assert!(!job.has_ended());
    job.kill();
}
