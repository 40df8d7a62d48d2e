//! The input and output of a job: passed through unchanged, and stored.

use std::collections::BTreeMap;
use std::fs::{File, read_dir};
use std::io::Read as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::env::{Background, TestEnv, wait_until};
use crate::support::process::supervisors;

/// Returns every byte value many times, without a pattern that aligns with a buffer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Returns the index of a job's output, one object per range.
fn index(env: &TestEnv, run: &str, job: &str) -> Vec<Value> {
    let path = env.run_dir(run).join(format!("jobs/{job}.out.idx"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[test]
fn stdin_and_stdout_pass_through_unchanged() {
    let env = TestEnv::new();
    let bytes = noise(3 << 20);
    let output = env.run_with(&["run", "--", "cat"], &bytes);
    assert_eq!(output.code, 0);
    assert!(output.stdout == bytes, "{} bytes came", output.stdout.len());
    assert!(env.captured(&env.only_run(), "cat") == bytes);
}

#[test]
fn stderr_passes_through_unchanged() {
    let env = TestEnv::new();
    let bytes = noise(1 << 20);
    let output = env.run_with(&["run", "--quiet", "--", "cat"], &bytes);
    assert_eq!(output.stdout, b"");
    let output = env.run_with(
        &["run", "--id-file", "id", "--", "sh", "-c", "cat >&2"],
        &bytes,
    );
    let run = std::fs::read_to_string(env.path("id")).unwrap();
    let head = format!("run_id={run}");
    assert!(
        output.stderr[head.len()..] == bytes,
        "{} bytes came",
        output.stderr.len()
    );
    assert_eq!(output.stdout, b"");
}

#[test]
fn index_maps_bytes_to_streams() {
    let env = TestEnv::new();
    // Each part waits until the previous one was passed through.
    let script = "echo one; read _; echo two >&2; read _; echo three";
    let mut job = env.spawn(&["run", "--", "sh", "-c", script]);
    let captured = |text: &str| {
        let runs = env.runs();
        runs.len() == 1 && env.captured(&runs[0], "sh") == text.as_bytes()
    };
    env.wait_for("job_started");
    wait_until("one", || captured("one\n"));
    job.write(b"\n");
    wait_until("two", || captured("one\ntwo\n"));
    job.write(b"\n");
    assert_eq!(job.end().code, 0);
    let run = env.only_run();
    assert_eq!(env.captured(&run, "sh"), b"one\ntwo\nthree\n");
    let index = index(&env, &run, "sh");
    let parts: Vec<_> = index
        .iter()
        .map(|e| (e["stream"].as_str().unwrap(), e["end"].as_u64().unwrap()))
        .collect();
    assert_eq!(parts, [("stdout", 4), ("stderr", 8), ("stdout", 14)]);
    assert!(index.iter().all(|e| e["ts"].is_string()));
}

#[test]
fn order_within_stream_is_kept() {
    let env = TestEnv::new();
    let script = "i=0; while [ $i -lt 2000 ]; do echo $i; echo $i >&2; i=$((i+1)); done";
    env.ok(&["run", "--", "sh", "-c", script]);
    let run = env.only_run();
    let all = env.captured(&run, "sh");
    let (mut from, mut stdout) = (0, Vec::new());
    for entry in index(&env, &run, "sh") {
        let end = usize::try_from(entry["end"].as_u64().unwrap()).unwrap();
        if entry["stream"] == "stdout" {
            stdout.extend_from_slice(&all[from..end]);
        }
        from = end;
    }
    assert_eq!(from, all.len());
    let expected = crate::support::checks::numbered(0..2000, |i| i.to_string());
    assert!(stdout == expected.as_bytes());
}

#[test]
fn job_end_counts_output_bytes() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "sh", "-c", "printf 12345; printf 123 >&2"]);
    let output = &env.event("job_completed")["output"];
    assert_eq!(
        *output,
        serde_json::json!({"stdout_bytes": 5, "stderr_bytes": 3, "captured_bytes": 8})
    );
}

#[test]
fn quiet_stores_without_passthrough() {
    let env = TestEnv::new();
    let output = env.ok(&["run", "--quiet", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(
        (output.stdout(), output.stderr()),
        (String::new(), String::new())
    );
    assert_eq!(env.captured(&env.only_run(), "sh").len(), 8);
}

#[test]
fn no_capture_passes_through_without_storing() {
    let env = TestEnv::new();
    let output = env.ok(&["run", "--no-capture", "--", "echo", "hello"]);
    assert_eq!(output.stdout(), "hello\n");
    assert_eq!(env.captured(&env.only_run(), "echo"), b"");
    assert_eq!(env.event("job_submitted")["capture"], false);
}

#[test]
fn capture_limit_truncates_capture_not_output() {
    let env = TestEnv::new();
    let bytes = noise(300_000);
    let output = env.run_with(&["run", "--capture-limit", "64K", "--", "cat"], &bytes);
    assert_eq!(output.code, 0);
    assert!(output.stdout == bytes);
    let stored = env.captured(&env.only_run(), "cat");
    assert!(
        stored.len() <= 65536 && bytes.starts_with(&stored),
        "{}",
        stored.len()
    );
    let output = &env.event("job_completed")["output"];
    assert_eq!(output["stdout_bytes"], 300_000);
    assert_eq!(output["captured_bytes"], stored.len());
    assert!(output["truncated"].is_string(), "{output}");
}

#[test]
fn grandchild_holding_output_open_is_not_awaited() {
    for options in [&["run"][..], &["run", "--no-capture", "-q"]] {
        let env = TestEnv::new();
        let script =
            "(while test -d .omne && ! test -e stop; do sleep 0.01; done; echo late) & echo early";
        let mut job = env.spawn(&[options, &["--", "sh", "-c", script]].concat());
        wait_until("the end of the run", || job.has_ended());
        env.write("stop", "");
        let run = env.only_run();
        assert_eq!(env.types(&run).last().unwrap(), "run_closed");
        let stored = if options.len() == 1 { "early\n" } else { "" };
        assert_eq!(env.captured(&run, "sh"), stored.as_bytes());
    }
}

#[test]
fn closed_reader_ends_job() {
    let env = TestEnv::new();
    let output = env.sh(r#"{ "$RUNLOG" run -- yes; echo $? >code; } | head -n 2"#);
    assert_eq!(output.stdout(), "y\ny\n");
    assert_eq!(std::fs::read_to_string(env.path("code")).unwrap(), "141\n");
    assert_eq!(env.event("job_failed")["signal"], "SIGPIPE");
}

#[test]
fn closed_reader_ends_job_that_prints_nothing_more() {
    for (content, reader) in [("one\n", "head -n 1"), ("", "true")] {
        let env = TestEnv::new();
        env.write("followed", content);
        let script = format!(r#""$RUNLOG" run -- tail -f followed | {reader}"#);
        let mut job = Background::new(env.program("sh").args(["-c", &script]));
        wait_until("the end of the run", || job.has_ended());
        assert_eq!(job.end().stdout(), content);
        assert_eq!(env.event("job_failed")["signal"], "SIGPIPE");
    }
}

#[test]
fn closed_stdout_closes_only_that_stream() {
    let env = TestEnv::new();
    let script = "trap '' PIPE; while echo x; do :; done 2>/dev/null; echo still here >&2; exit 6";
    let mut child = env
        .command(&["run", "--", "sh", "-c", script])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(6));
    assert!(stderr.contains("still here\n"), "{stderr}");
}

#[test]
fn runlog_works_without_standard_streams() {
    let env = TestEnv::new();
    let output = env.sh(r#""$RUNLOG" run -- sh -c 'touch ran; exit 5' <&- >&- 2>&-"#);
    assert_eq!(output.code, 5);
    assert!(env.exists("ran"));
    assert_eq!(env.types(&env.only_run()).last().unwrap(), "run_closed");
}

#[test]
fn runlog_reads_no_stdin_of_its_own() {
    let env = TestEnv::new();
    let script = r#"printf 'one\ntwo\n' | { "$RUNLOG" run -q -- true; cat; }"#;
    assert_eq!(env.sh(script).stdout(), "one\ntwo\n");
}

#[test]
fn output_without_newline_is_passed_at_once() {
    let env = TestEnv::new();
    let mut job = env.spawn(&["run", "--", "sh", "-c", "printf prompt; read _; exit 3"]);
    assert_eq!(job.read(6), b"prompt");
    assert_eq!(job.end().code, 3);
}

#[test]
fn job_blocked_on_slow_reader_is_not_cut_off() {
    let env = TestEnv::new();
    let script = r#"mkfifo gate; "$RUNLOG" run -- sh -c 'seq 1 100000; touch done' | { while ! test -e read; do sleep 0.01; done; tail -n 1; }"#;
    let job = Background::new(env.program("sh").args(["-c", script]));
    env.wait_for("job_started");
    env.write("read", "");
    assert_eq!(job.end().stdout(), "100000\n");
    assert!(env.exists("done"));
}

#[test]
fn index_covers_output_waiting_for_slow_reader() {
    let env = TestEnv::new();
    // One write of more than the reader's pipe holds, even if it is enlarged.
    let script = "dd if=/dev/zero bs=3000000 count=1 status=none; read _";
    let job = env.spawn(&["run", "--run", "it", "--", "sh", "-c", script]);
    wait_until("the pipe is full", || {
        let (waiting, room) = job.unread();
        waiting == room
    });
    // The reader has read nothing yet, and runlog waits for it.
    job.kill();
    let captured = env.captured("it", "sh");
    assert!(captured.len() >= 64 << 10, "{}", captured.len());
    let told = env.ok(&["replay", "it", "--output", "--stream", "stdout"]);
    assert_eq!(told.stdout.len(), captured.len());
}

#[test]
fn id_file_contains_run_id() {
    let env = TestEnv::new();
    let output = env.ok(&["run", "--id-file", "id", "--", "true"]);
    let id = std::fs::read_to_string(env.path("id")).unwrap();
    assert_eq!(id, format!("{}\n", output.run_id()));
}

#[test]
fn unwritable_id_file_prevents_start() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--id-file", "missing/id", "--", "touch", "ran"]);
    assert_eq!(output.code, 125);
    assert!(!env.exists("ran"));
    assert_eq!(env.runs(), [""; 0]);
}

#[test]
fn full_disk_behind_stdout_does_not_harm_log() {
    let env = TestEnv::new();
    env.sh(r#""$RUNLOG" run -- echo hello >/dev/full"#);
    let run = env.only_run();
    assert_eq!(env.captured(&run, "echo"), b"hello\n");
    assert_eq!(env.types(&run).last().unwrap(), "run_closed");
}

/// Returns the sizes of the pipes of a process.
fn pipe_sizes(pid: u32) -> BTreeMap<PathBuf, usize> {
    let entries = read_dir(format!("/proc/{pid}/fd")).unwrap();
    let sizes = entries.filter_map(|entry| {
        let path = entry.unwrap().path();
        let target = std::fs::read_link(&path).ok()?;
        let is_pipe = target.to_str()?.starts_with("pipe:");
        let pipe = is_pipe.then(|| File::options().read(true).write(true).open(path))?;
        let size = rustix::pipe::fcntl_getpipe_size(pipe.ok()?).ok()?;
        Some((target, size))
    });
    sizes.collect()
}

#[test]
fn only_pipes_that_were_full_are_large() {
    let env = TestEnv::new();
    let script = "touch quiet; until test -e go; do sleep 0.01; done
        head -c 3000000 /dev/zero; touch loud; until test -e end; do sleep 0.01; done";
    let job = env.spawn(&["run", "-q", "--", "sh", "-c", script]);
    env.wait_for_file("quiet");
    let supervisor = supervisors(job.pid())[0];
    for pid in [job.pid(), supervisor] {
        let sizes = pipe_sizes(pid);
        assert!(sizes.values().all(|size| *size <= 64 << 10), "{sizes:?}");
    }
    env.write("go", "");
    env.wait_for_file("loud");
    // The job's pipe, and the one to the file.
    wait_until("two pipes are large", || {
        let sizes = pipe_sizes(supervisor);
        sizes.values().filter(|size| **size == 1 << 20).count() == 2
    });
    env.write("end", "");
    assert_eq!(job.wait().code, 0);
}
